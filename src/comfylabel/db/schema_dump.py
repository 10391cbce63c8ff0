"""What the migrations make, as one SQL file to read: `python -m comfylabel.db.schema_dump > schema.sql`.

The partitions of `generations` are left out: the months depend on the day, and all are like their parent.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from comfylabel.db.embedded import EmbeddedPostgres, wheel_binaries
from comfylabel.db.migrate import migrate

_HEADER = "-- Made by `make schema` from migrations/; a test compares them. Change the migrations, not this file.\n"


def dump(url: str) -> str:
    """pg_dump's words about this database, without what differs from run to run."""
    program = wheel_binaries().directory / "pg_dump"
    options = ("--schema-only", "--no-owner", "--no-privileges", "--exclude-table=generations_*")
    output = subprocess.run((program, *options, url), check=True, capture_output=True, text=True).stdout  # noqa: S603 - a program of ours
    noise = r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)?\n"
    return _HEADER + re.sub(r"\n(?=(CREATE|ALTER) )", "\n\n", re.sub(noise, "", output, flags=re.MULTILINE))


async def _print_schema() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", options=["fsync=off"])
        url = await server.start()
        try:
            await asyncio.to_thread(migrate, url)
            sys.stdout.write(await asyncio.to_thread(dump, url))
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(_print_schema())
