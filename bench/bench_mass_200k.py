"""A task of 200k images on workers that need no time: does it go on as fast as it begins, in the same memory?"""

import asyncio
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.at_work import AtWork, server_at_work
from bench.figure import Figure
from bench.generating import (
    Made,
    make,
    operator,
    orchestrator_at_rest,
    prepare_task,
    progress,
    register,
    simulated_workers,
    sized,
    text_to_image,
)
from bench.machine import tree_pss
from comfylabel.cli.api import Api
from comfylabel.settings import Settings

IMAGES = 200_000
BATCH = int(Settings.model_fields["max_workflow_batch_size"].default)  # as large as is allowed
SIDE = 64
WORKERS, AT_ONCE = 8, 2
SAMPLE_SECONDS = 1.0
NEAR = 0.02  # of all images: the samples around a tenth, and before the end, that count


@dataclass(frozen=True, slots=True)
class Sample:
    """`share`: of the images that are stored. MB of each of the product's processes, with their children."""

    share: float
    at: float
    memory: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.memory.values())


@dataclass(slots=True)
class Watch:
    """Samples while the task runs, until cancelled."""

    api: Api
    task_id: str
    processes: dict[str, int]
    samples: list[Sample] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            counts = await progress(self.api, self.task_id)
            memory = {name: await asyncio.to_thread(tree_pss, [pid]) for name, pid in self.processes.items()}
            self.samples.append(Sample(counts["done"] / counts["total"], time.perf_counter(), memory))
            await asyncio.sleep(SAMPLE_SECONDS)

    def around(self, share: float) -> list[Sample]:
        near = [sample for sample in self.samples if abs(sample.share - share) <= NEAR]
        return near or [min(self.samples, key=lambda sample: abs(sample.share - share))]


async def measure() -> list[Figure]:
    prompts = sized(IMAGES // BATCH, 50)
    with tempfile.TemporaryDirectory(prefix="comfylabel-bench-") as folder:
        async with server_at_work() as at_work, operator(at_work) as api:
            with simulated_workers(Path(folder), WORKERS, job_seconds=0) as workers:
                await register(api, workers, max_concurrent_jobs=AT_ONCE)
                graph = text_to_image(width=SIDE, height=SIDE)
                task_id = await prepare_task(api, graph, prompts=prompts, seeds=BATCH, max_batch_size=BATCH)
                async with orchestrator_at_rest(at_work) as orchestrator:
                    watch = Watch(api, task_id, _processes(at_work, orchestrator))
                    watching = asyncio.create_task(watch.run())
                    made = await make(at_work, api, task_id, orchestrator, workers)
                    watching.cancel()
                    with suppress(asyncio.CancelledError):
                        await watching
    return _figures(made, watch, prompts)


def _processes(at_work: AtWork, orchestrator: int) -> dict[str, int]:
    assert at_work.postgres.pid
    return {"orchestrator": orchestrator, "API": at_work.pid, "PostgreSQL": at_work.postgres.pid}


def _figures(made: Made, watch: Watch, prompts: int) -> list[Figure]:
    images = prompts * BATCH
    early, late = watch.around(0.1), watch.around(1)
    rates = [_rate(watch.around(share), watch.around(share + 0.1), images) for share in (0.1, 0.9)]
    return [
        Figure(
            "mass_200k", images / made.seconds, "images/s", rates[0], "reported", _always,
            f"{prompts} submissions of {BATCH} images of {SIDE} x {SIDE} to {WORKERS} simulated workers that need no "
            f"time, {AT_ONCE} at once on each; {made.seconds:.0f} s in all, {rates[0]:.0f} images/s in the second "
            f"tenth (the baseline) and {rates[1]:.0f} in the last. {made.sentence(prompts)}",
        ),
        Figure(
            "mass_200k_memory", _median(late), "MB", _median(early), "<= 1.2x", lambda _, ratio: ratio <= 1.2,
            f"Memory (sum of PSS) of all of the product's processes when the last of {images} images were stored "
            f"({_parts(late)}), against when a tenth of them were ({_parts(early)}).",
        ),
    ]  # fmt: skip


def _rate(before: list[Sample], after: list[Sample], images: int) -> float:
    first, last = before[0], after[-1]
    return (last.share - first.share) * images / (last.at - first.at) if last.at > first.at else 0.0


def _median(samples: list[Sample]) -> float:
    return statistics.median(sample.total for sample in samples)


def _parts(samples: list[Sample]) -> str:
    middle = sorted(samples, key=lambda sample: sample.total)[len(samples) // 2]
    return ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in middle.memory.items())


def _always(*_: float) -> bool:
    return True
