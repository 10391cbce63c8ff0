"""A program that owns an embedded PostgreSQL until it is killed: what the tests kill.

python owner_program.py DATA_DIR
"""

import asyncio
import sys
from pathlib import Path

from comfylabel.db.embedded import EmbeddedPostgres


async def main() -> None:
    server = EmbeddedPostgres(Path(sys.argv[1]), options=["fsync=off"])
    url = await server.start()
    sys.stdout.write(f"{url} {server.pid}\n")
    sys.stdout.flush()
    await server.watch()


asyncio.run(main())
