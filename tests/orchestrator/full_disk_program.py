"""Ingests one image onto a full disk, then again with room, and prints what happened.

python full_disk_program.py tmpfs|file_size_limit store|spool DIRECTORY WORKER_URL OUTPUT_IMAGE
"""

import asyncio
import json
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from comfylabel.comfy.client import ComfyClient, worker_session
from comfylabel.comfy.schemas import OutputImage
from comfylabel.orchestrator.ingest import Ingester, IngestLimits
from comfylabel.storage.keys import image_key
from comfylabel.storage.store import ObjectStore, StoreUnavailable

DISK_BYTES = 1_000_000
FILE_BYTES = 8_000


def key_for(sha256: str, extension: str) -> str:
    return image_key(UUID(int=7), date(2026, 11, 22), sha256, extension)


def fill(disk: str, folder: Path) -> None:
    if disk == "tmpfs":
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=True)
        filler, left = folder / "filler", FILE_BYTES
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            with filler.open("rb+") as file:
                file.truncate(filler.stat().st_size - left)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, resource.RLIM_INFINITY))


def make_room(disk: str, folder: Path) -> None:
    if disk == "tmpfs":
        (folder / "filler").unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def files(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and path.name != "filler"]


async def main(disk: str, full: str, directory: Path, url: str, output: OutputImage) -> dict[str, Any]:
    folders = {"store": directory / "full-objects", "spool": directory / "full-spool"}
    fill(disk, folders[full])
    store = ObjectStore.open(str(folders["store"]))
    ingester = Ingester(store, folders["spool"], IngestLimits(2**22, concurrency=1, in_memory_bytes=FILE_BYTES // 2))
    told: dict[str, Any] = {}
    async with worker_session() as session:
        client = ComfyClient(session, url)
        try:
            await ingester.ingest(client, output, key_for)
        except StoreUnavailable as error:
            told |= {"error": type(error).__name__, "status": error.status, "code": error.code, "words": error.message}
        images = [path for path in files(folders["store"]) if ".png" in path]
        told |= {"images_after_failure": images, "spooled": files(folders["spool"])}
        make_room(disk, folders[full])
        await ingester.ingest(client, output, key_for)
    told["stored_later"] = len(files(folders["store"]))
    return told


if __name__ == "__main__":
    _, disk, full, directory, url, image = sys.argv
    print(json.dumps(asyncio.run(main(disk, full, Path(directory), url, OutputImage(**json.loads(image))))))  # noqa: T201 - what the test reads
