"""What starting can cost at best: import fastapi and asyncpg, start a bare PostgreSQL, connect. Prints "ready".

python bare_start.py POSTGRES_BIN_DIR DATA_DIR SOCKET_DIR [PREFIX...]
"""

import asyncio
import subprocess
import sys

import asyncpg
import fastapi

assert fastapi.__version__


async def main(binaries: str, data: str, sockets: str, prefix: list[str]) -> None:
    process = subprocess.Popen(
        [*prefix, f"{binaries}/postgres", "-D", data, "-k", sockets, "-c", "listen_addresses="],
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                connection = await asyncpg.connect(host=sockets, user="postgres", database="postgres")
                break
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.005)
        print("ready", flush=True)
        await connection.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
