"""What keeping images can cost at best: download, SHA-256, decode, the same three smaller WebPs, write; no database.

python ingest.py FOLDER AT_ONCE < addresses    one address a line; prints its seconds and CPU
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"  # one image per thread

import aiohttp
import pyvips
import uvloop

SIDES = (1024, 640, 256)
pyvips.cache_set_max(0)


def keep(data: bytes, folder: Path) -> None:
    name = hashlib.sha256(data).hexdigest()
    image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    (folder / f"{name}.png").write_bytes(data)
    for side in SIDES:
        image = image.thumbnail_image(side, height=side, size="down").copy_memory()
        (folder / f"{name}.{side}.webp").write_bytes(image.webpsave_buffer(Q=80, effort=0, keep="none"))


async def main(folder: Path, at_once: int, addresses: list[str]) -> None:
    async with aiohttp.ClientSession() as http:

        async def work() -> None:
            while addresses:
                async with http.get(addresses.pop()) as answer:
                    await asyncio.to_thread(keep, await answer.read(), folder)

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(at_once)))
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))
