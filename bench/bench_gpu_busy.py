"""Whether workers ever wait: 8 of them with one and with two jobs at a time, and 100 with one orchestrator."""

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from math import inf
from pathlib import Path

from bench.at_work import server_at_work
from bench.busy import busy_share
from bench.figure import Figure
from bench.generating import (
    Job,
    Made,
    make,
    operator,
    orchestrator_at_rest,
    prepare_task,
    register,
    simulated_workers,
    sized,
    text_to_image,
)

JOB_SECONDS = 1.0
JOBS_PER_WORKER = 60  # a minute: the second in which a task begins is a small part of it
SIDE = 64  # pixels; drawing and storing large pictures is another figure, and here it would take the GPUs' time


@dataclass(frozen=True, slots=True)
class Run:
    workers: int
    jobs: list[Job]
    made: Made

    @property
    def begun(self) -> float:
        return min(job.started for job in self.jobs if job.started)

    @property
    def last_sent(self) -> float:
        return max(job.posted for job in self.jobs)

    def share(self) -> float:
        of_worker: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for job in self.jobs:
            if job.started:
                of_worker[job.worker].append((job.started, job.ended or inf))
        assert len(of_worker) == self.workers, "a worker got nothing"
        return busy_share(of_worker.values(), self.begun, self.last_sent)

    def sentence(self) -> str:
        seconds = sum(job.ended - job.started for job in self.jobs if job.started and job.ended) / len(self.jobs)
        return (
            f"{len(self.jobs)} jobs of {seconds:.3f} s on average, {self.last_sent - self.begun:.1f} s from the first "
            f"start to the moment the last one was sent. {self.made.sentence(len(self.jobs))}"
        )


async def measure() -> list[Figure]:
    one, two = await _run(8, 1), await _run(8, 2)
    hundred, hundred_one = await _run(100, 2), await _run(100, 1)
    return [
        Figure(
            "gpu_busy_1", one.share(), "of the time", 1, ">= 0.97", lambda value, _: value >= 0.97,
            f"Share of the time that 8 simulated workers are at work, from their own logs, with "
            f"max_concurrent_jobs 1: {one.sentence()}",
        ),
        Figure(
            "gpu_busy_2", two.share(), "of the time", 1, ">= 0.995", lambda value, _: value >= 0.995,
            f"The same with max_concurrent_jobs 2, where the next job waits on the worker: {two.sentence()}",
        ),
        Figure(
            "gpu_busy_100", hundred.share(), "of the time", 1, ">= 0.95", lambda value, _: value >= 0.95,
            f"The same with 100 workers and one orchestrator process, max_concurrent_jobs 2: {hundred.sentence()}",
        ),
        Figure(
            "gpu_busy_100_1", hundred_one.share(), "of the time", 1, "reported", _always,
            f"100 workers with max_concurrent_jobs 1: {hundred_one.sentence()}",
        ),
    ]  # fmt: skip


async def _run(workers: int, max_concurrent_jobs: int) -> Run:
    """A task whose every image is a submission, on a fresh database."""
    jobs = sized(JOBS_PER_WORKER, 5) * workers
    with tempfile.TemporaryDirectory(prefix="comfylabel-bench-") as folder:
        async with server_at_work() as at_work, operator(at_work) as api:
            with simulated_workers(Path(folder), workers, job_seconds=JOB_SECONDS) as simulated:
                await register(api, simulated, max_concurrent_jobs=max_concurrent_jobs)
                graph = text_to_image(width=SIDE, height=SIDE)
                task_id = await prepare_task(api, graph, prompts=jobs // 2, seeds=2, max_batch_size=1)
                async with orchestrator_at_rest(at_work) as orchestrator:
                    made = await make(at_work, api, task_id, orchestrator, simulated)
                return Run(workers, simulated.jobs(), made)


def _always(*_: float) -> bool:
    return True
