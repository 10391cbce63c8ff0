"""Keeping images of 1024 x 1024 as they come from workers, against the bare pipeline on the same files."""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.at_work import AtWork, server_at_work
from bench.figure import Figure
from bench.generating import (
    Made,
    Workers,
    make,
    operator,
    orchestrator_at_rest,
    prepare_task,
    register,
    saved_images,
    simulated_workers,
    sized,
    text_to_image,
)
from bench.pictures import draw_pngs
from comfylabel.cli.api import Api
from comfylabel.settings import Settings

SIDE = 1024
DISTINCT = 32
BATCH = 4
PROMPTS = 100
TURNS = 3
WORKERS = 4
AT_ONCE = int(Settings.model_fields["ingest_concurrency"].default)  # images, of both
BARE = Path(__file__).parent / "baselines" / "ingest.py"


@dataclass(frozen=True, slots=True)
class Bare:
    rate: float
    cpu: float  # seconds an image


async def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="comfylabel-bench-") as name:
        folder = Path(name)
        draw_pngs(folder / "pictures", DISTINCT)
        async with server_at_work() as at_work, operator(at_work) as api:
            with simulated_workers(folder, WORKERS, job_seconds=0, pictures=folder / "pictures") as workers:
                await register(api, workers, max_concurrent_jobs=2)
                async with orchestrator_at_rest(at_work) as orchestrator:
                    return [await _in_turns(at_work, api, workers, orchestrator, folder)]


async def _in_turns(at_work: AtWork, api: Api, workers: Workers, orchestrator: int, folder: Path) -> Figure:
    prompts = sized(PROMPTS, 10)
    images, graph = prompts * BATCH, text_to_image(width=SIDE, height=SIDE)
    made: list[Made] = []
    bare: list[Bare] = []
    for turn in range(TURNS):
        task_id = await prepare_task(
            api, graph, prompts=prompts, seeds=BATCH, max_batch_size=BATCH, name=f"turn {turn}"
        )
        made.append(await make(at_work, api, task_id, orchestrator, workers))
        addresses = saved_images(workers)[-images:]
        bare.append(await asyncio.to_thread(_bare, folder / f"bare-{turn}", addresses))
    return _figure(made, bare, images)


def _bare(folder: Path, addresses: list[str]) -> Bare:
    folder.mkdir()
    command = [sys.executable, str(BARE), str(folder), str(AT_ONCE)]
    ended = subprocess.run(command, input="\n".join(addresses).encode(), stdout=subprocess.PIPE, check=True)
    told = json.loads(ended.stdout)
    return Bare(len(addresses) / told["seconds"], told["cpu"] / len(addresses))


def _figure(made: list[Made], bare: list[Bare], images: int) -> Figure:
    rate = statistics.median(images / turn.seconds for turn in made)
    cpu = 1000 * statistics.median(turn.orchestrator_cpu / images for turn in made)
    bare_cpu = 1000 * statistics.median(turn.cpu for turn in bare)
    return Figure(
        "ingest", rate, "images/s", statistics.median(turn.rate for turn in bare), ">= 0.8",
        lambda _, ratio: ratio >= 0.8,
        f"Median of {TURNS} runs of {images // BATCH} submissions of {BATCH} images of {SIDE} x {SIDE}, 1.6 MB each, "
        "from the call that runs the task until all are stored, checked and in the database; against downloading the "
        f"same files, SHA-256, decoding, the same three smaller WebPs and writing them, {AT_ONCE} at a time in both, "
        f"in turns. The orchestrator took {cpu:.1f} ms of CPU an image, the bare pipeline {bare_cpu:.1f}. Of the last "
        f"run: {made[-1].cpu}.",
    )  # fmt: skip
