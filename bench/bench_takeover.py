"""kill -9 of one of two orchestrators under load: how long its work lies, and whether any of it is done twice."""

import asyncio
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from uuid import UUID

from bench.at_work import AtWork, orchestrating, server_at_work
from bench.figure import Figure
from bench.generating import (
    Workers,
    operator,
    prepare_task,
    register,
    simulated_workers,
    sized,
    text_to_image,
    until_made,
)
from bench.machine import until_at_rest
from comfylabel.cli.api import Api

KILLS = 3
WORKERS, AT_ONCE, JOB_SECONDS = 8, 2, 1.0
PROMPTS, SEEDS = 360, 2  # each image a submission; more than are made while three processes die, one after the other
SIDE = 64
HELD = 4  # jobs that a process must have in hand when it is killed
LOOK_SECONDS = 0.05


@dataclass
class Found:
    held: list[int] = field(default_factory=list)  # jobs in the dead one's hands
    resumed: list[float] = field(default_factory=list)  # seconds until each of them was in a living one's
    killed_at: list[float] = field(default_factory=list)


async def measure() -> list[Figure]:
    found = Found()
    with tempfile.TemporaryDirectory(prefix="comfylabel-bench-") as folder:
        async with server_at_work() as at_work, operator(at_work) as api:
            with simulated_workers(Path(folder), WORKERS, job_seconds=JOB_SECONDS) as workers:
                await register(api, workers, max_concurrent_jobs=AT_ONCE)
                graph = text_to_image(width=SIDE, height=SIDE)
                prompts = sized(PROMPTS, 150)
                task_id = await prepare_task(api, graph, prompts=prompts, seeds=SEEDS, max_batch_size=1)
                await _kill_in_turns(at_work, api, task_id, found)
                return _figures(found, workers, prompts * SEEDS)


async def _kill_in_turns(at_work: AtWork, api: Api, task_id: str, found: Found) -> None:
    """There are always two, but for the time in which the next one starts."""
    known: set[UUID] = set()
    with ExitStack() as stack:
        first = await _started(at_work, stack)
        await api.post(f"/api/tasks/{task_id}/run")
        living = [(first, await _new_owner(at_work, known))]
        for _ in range(KILLS):
            second = await _started(at_work, stack)
            living.append((second, await _new_owner(at_work, known)))
            process, owner = living.pop(0)  # the older one
            await _kill(at_work, process, owner, found)
        await until_made(api, task_id)


async def _started(at_work: AtWork, stack: ExitStack) -> "Popen[bytes]":
    process = stack.enter_context(orchestrating(at_work))
    await asyncio.to_thread(until_at_rest, process.pid, most=0.5)  # it has work as soon as it can take some
    return process


async def _new_owner(at_work: AtWork, known: set[UUID]) -> UUID:
    """The name under which the process that was started last takes jobs, once it holds a few."""
    while True:
        rows = await at_work.database.pool.fetch(
            "select queue_manager_id as owner from pgqueuer where status = 'picked' group by 1 having count(*) >= $1",
            HELD,
        )
        new = {row["owner"] for row in rows} - known
        if new:
            assert len(new) == 1
            known |= new
            return new.pop()
        await asyncio.sleep(LOOK_SECONDS)


async def _kill(at_work: AtWork, process: "Popen[bytes]", owner: UUID, found: Found) -> None:
    """Return when all that it had in hand is in a living one's, or done."""
    process.kill()
    process.wait()
    killed, found_at = time.perf_counter(), time.time()
    rows = await at_work.database.pool.fetch(
        "select id from pgqueuer where status = 'picked' and queue_manager_id = $1", owner
    )
    held = [row["id"] for row in rows]
    assert held, "it had nothing in hand when it died"
    while await at_work.database.pool.fetchval(
        "select exists(select from pgqueuer where id = any($1) and (status = 'queued' or queue_manager_id = $2))",
        held, owner,
    ):  # fmt: skip
        await asyncio.sleep(LOOK_SECONDS)
    found.held.append(len(held))
    found.resumed.append(time.perf_counter() - killed)
    found.killed_at.append(found_at)


def _figures(found: Found, workers: Workers, jobs: int) -> list[Figure]:
    log = workers.jobs()
    posted_twice = sum(times - 1 for times in Counter(job.id for job in log).values())
    made = sum(job.outcome == "success" for job in log)
    kills = (
        f"{KILLS} kills, one after the other, of one of two processes with {WORKERS} workers, {AT_ONCE} jobs at once"
    )
    return [
        Figure(
            "takeover", max(found.resumed), "s", 15, "<= 15 s", lambda value, _: value <= 15,
            f"From kill -9 of an orchestrator until the last of the jobs in its hands ({_list(found.held)}) was in "
            f"those of the other, the longest of {kills}: {_list(round(one, 1) for one in found.resumed)} s. The other "
            f"went on meanwhile; no worker was without work for longer than {_longest_idle(workers, found):.1f} s.",
        ),
        Figure(
            "takeover_duplicates", posted_twice + made - jobs, "submissions", 0, "<= 0",
            lambda value, _: value <= 0 and made >= jobs,
            f"POSTs of an id that the worker had already, and images made beyond the {jobs} that were wanted, by the "
            f"workers' own logs of {len(log)} POSTs in {kills}.",
        ),
    ]  # fmt: skip


def _longest_idle(workers: Workers, found: Found) -> float:
    """Of any worker between two of its jobs, from the first kill on."""
    of_worker = defaultdict(list)
    for job in workers.jobs():
        if job.started and job.ended and job.ended > found.killed_at[0]:
            of_worker[job.worker].append((job.started, job.ended))
    return max(after[0] - before[1] for jobs in of_worker.values() for before, after in pairwise(sorted(jobs)))


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
