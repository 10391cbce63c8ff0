"""Simulated workers that share a process: a hundred Pythons would fill a small machine before they did anything.

python -m bench.worker_host COUNT JOB_SECONDS LOG_FOLDER [PICTURES]

prints their addresses as JSON, then serves until stopped; instead of what they draw, the files of folder PICTURES.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import uvloop

from comfylabel.comfy.simulator import running_simulator
from comfylabel.comfy.simulator.files import Folders, StoredFile


class Prepared(Folders):
    """Drawing a large picture costs as much as keeping it: a worker's GPU does not do that on our processors."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._contents = cycle([file.read_bytes() for file in sorted(folder.iterdir())])
        self._chosen: dict[StoredFile, bytes] = {}

    async def read(self, file: StoredFile) -> bytes:
        return self._chosen.setdefault(file, next(self._contents))


async def serve(count: int, job_seconds: float, logs: Path, pictures: Path | None) -> None:
    async with AsyncExitStack() as stack:
        urls = []
        for number in range(count):
            log = logs / f"{number}.jsonl"
            worker = await stack.enter_async_context(running_simulator(job_seconds=job_seconds, log_file=log))
            if pictures:
                worker.folders = worker.executor.folders = Prepared(pictures)
            urls.append(worker.url)
        print(json.dumps(urls), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), given))
