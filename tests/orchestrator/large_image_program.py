"""Ingests an image of 200 MB while little more memory may be taken than before, and prints what came of it.

python large_image_program.py DIRECTORY
"""

import asyncio
import json
import re
import resource
import sys
from datetime import date
from pathlib import Path
from uuid import UUID

import pyvips
from aiohttp import web

from comfylabel.comfy.client import ComfyClient, worker_session
from comfylabel.comfy.schemas import OutputImage
from comfylabel.orchestrator.ingest import Ingester, IngestLimits
from comfylabel.storage.keys import image_key
from comfylabel.storage.store import ObjectStore

SIDE = 8192  # x 3 bytes, not compressed
ALLOWED_BYTES = 80 * 2**20  # the stacks of a few threads are 8 MB each


def key_for(sha256: str, extension: str) -> str:
    return image_key(UUID(int=7), date(2026, 11, 22), sha256, extension)


def draw(path: Path, side: int) -> None:
    pyvips.Image.black(side, side, bands=3).cast("uchar").copy(interpretation="srgb").pngsave(str(path), compression=0)


def data_bytes() -> int:
    """As RLIMIT_DATA counts: what is not a file and can be written."""
    [kilobytes] = re.findall(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


async def main(directory: Path) -> dict[str, int]:
    for name, side in (("small.png", 1100), ("large.png", SIDE)):
        draw(directory / name, side)

    async def view(request: web.Request) -> web.FileResponse:
        return web.FileResponse(directory / request.query["filename"])

    app = web.Application()
    app.router.add_get("/view", view)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    limits = IngestLimits(2**28, concurrency=1, budget_bytes=2**24, in_memory_bytes=2**20)
    ingester = Ingester(ObjectStore.open(str(directory / "objects")), directory / "spool", limits)
    async with worker_session() as session:
        client = ComfyClient(session, f"http://{host}:{port}")
        await ingester.ingest(client, OutputImage("small.png"), key_for)  # what is loaded and started once
        allowed = data_bytes() + ALLOWED_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.RLIM_INFINITY))
        stored = await ingester.ingest(client, OutputImage("large.png"), key_for)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await runner.cleanup()
    return {
        "bytes": stored.bytes,
        "allowed": ALLOWED_BYTES,
        "stored": files(directory / "objects") - 4,
        "spooled": files(directory / "spool"),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))  # noqa: T201 - what the test reads
