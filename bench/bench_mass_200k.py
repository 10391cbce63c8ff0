"""A task of 200k images on workers that need no time: does it go on as fast as it begins, in the same memory?"""

import asyncio
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
from bench.machine import Memory, tree_memory
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
    """`share`: of the images that are stored. `memory` of each of the product's processes, with their children."""

    share: float
    at: float
    memory: dict[str, Memory]

    @property
    def own(self) -> float:
        return sum(one.own for one in self.memory.values())

    @property
    def pss(self) -> float:
        return sum(one.pss for one in self.memory.values())

    @property
    def segments(self) -> float:
        return sum(one.segments for one in self.memory.values())

    def parts(self) -> str:
        return ", ".join(f"{name} {one.own:.0f} MB" for name, one in self.memory.items())


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
            memory = {name: await asyncio.to_thread(tree_memory, [pid]) for name, pid in self.processes.items()}
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
                # In bytes, as the server itself has reserved them when it started.
                segments = await at_work.database.pool.fetchval("select sum(allocated_size) from pg_shmem_allocations")
    return _figures(made, watch, prompts, float(segments) / 1e6)


def _processes(at_work: AtWork, orchestrator: int) -> dict[str, int]:
    assert at_work.postgres.pid
    return {"orchestrator": orchestrator, "API": at_work.pid, "PostgreSQL": at_work.postgres.pid}


def _figures(made: Made, watch: Watch, prompts: int, segments: float) -> list[Figure]:
    images = prompts * BATCH
    early, late = (_middle(watch.around(share)) for share in (0.1, 1))
    rates = [_rate(watch.around(tenth / 10), watch.around((tenth + 1) / 10), images) for tenth in range(10)]
    return [
        Figure(
            "mass_200k", images / made.seconds, "images/s", rates[1], "reported", _always,
            f"{prompts} submissions of {BATCH} images of {SIDE} x {SIDE} to {WORKERS} simulated workers that need no "
            f"time, {AT_ONCE} at once on each; {made.seconds:.0f} s in all; images/s in each tenth (the second is the "
            f"baseline): {', '.join(f'{rate:.0f}' for rate in rates)}. {made.sentence(prompts)}",
        ),
        Figure(
            "mass_200k_memory", late.own + segments, "MB", early.own + segments, "<= 1.2x",
            lambda _, ratio: ratio <= 1.2,
            f"Memory of all of the product's processes when the last of {images} images were stored ({late.parts()}), "
            f"against when a tenth of them were ({early.parts()}): what each has for itself (PSS without shared "
            f"memory), and both times the {segments:.0f} MB that PostgreSQL has reserved to share since it started, "
            f"whatever the task, and fills once: {late.segments:.0f} and {early.segments:.0f} MB of them were filled. "
            f"Counting only what was filled, {late.pss:.0f} against {early.pss:.0f} MB, "
            f"{late.pss / early.pss:.3f}x.",
        ),
    ]  # fmt: skip


def _rate(before: list[Sample], after: list[Sample], images: int) -> float:
    first, last = before[0], after[-1]
    return (last.share - first.share) * images / (last.at - first.at) if last.at > first.at else 0.0


def _middle(samples: list[Sample]) -> Sample:
    """By what the processes have for themselves."""
    return sorted(samples, key=lambda sample: sample.own)[len(samples) // 2]


def _always(*_: float) -> bool:
    return True
