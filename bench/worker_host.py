"""Simulated workers that share a process: a hundred Pythons would fill a small machine before they did anything.

python -m bench.worker_host COUNT JOB_SECONDS LOG_FOLDER    prints their addresses as JSON, then serves until stopped
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from comfylabel.comfy.simulator import running_simulator


async def serve(count: int, job_seconds: float, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                running_simulator(job_seconds=job_seconds, log_file=folder / f"{number}.jsonl")
            )
            for number in range(count)
        ]
        print(json.dumps([worker.url for worker in workers]), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
