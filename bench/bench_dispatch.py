"""20k submissions to workers that need no time, against a bare loop of POST and history on the same workers."""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.at_work import server_at_work
from bench.figure import Figure
from bench.generating import (
    Graph,
    Made,
    Workers,
    make,
    operator,
    orchestrator_at_rest,
    prepare_task,
    register,
    simulated_workers,
    sized,
    text_to_image,
)

SUBMISSIONS = 20_000
WORKERS, AT_ONCE = 8, 2
SIDE = 64
BARE = Path(__file__).parent / "baselines" / "post_history.py"


async def measure() -> list[Figure]:
    count = sized(SUBMISSIONS, 200)
    graph = text_to_image(width=SIDE, height=SIDE)
    with tempfile.TemporaryDirectory(prefix="comfylabel-bench-") as folder:
        async with server_at_work() as at_work, operator(at_work) as api:
            with simulated_workers(Path(folder), WORKERS, job_seconds=0) as workers:
                await register(api, workers, max_concurrent_jobs=AT_ONCE)
                task_id = await prepare_task(api, graph, prompts=count, seeds=1, max_batch_size=1)
                before = await asyncio.to_thread(_bare_loops, workers, graph, count // 10)
                sent_before = len(workers.jobs())
                async with orchestrator_at_rest(at_work) as orchestrator:
                    made = await make(at_work, api, task_id, orchestrator, workers)
                posted = sorted(job.posted for job in workers.jobs())[sent_before:]
                after = await asyncio.to_thread(_bare_loops, workers, graph, count // 10)
    assert len(posted) == count, f"{len(posted)} POSTs for {count} images"
    bare = Rates(*(statistics.mean(pair) for pair in zip(before, after, strict=True)))
    return _figures(made, (count - 1) / (posted[-1] - posted[0]), bare, count)


class Rates(NamedTuple):
    """Submissions a second of bare loops."""

    fetching: float
    plain: float
    crowd: float


def _bare_loops(workers: Workers, graph: Graph, submissions: int) -> Rates:
    return Rates(
        _bare(workers, graph, submissions, fetch=True),
        _bare(workers, graph, submissions),
        _bare(workers, graph, submissions, loops=WORKERS * AT_ONCE),
    )


def _bare(workers: Workers, graph: Graph, submissions: int, *, loops: int = 1, fetch: bool = False) -> float:
    command = [sys.executable, str(BARE), *(["--fetch"] if fetch else []), str(submissions), str(loops), *workers.urls]
    ended = subprocess.run(command, input=json.dumps(graph).encode(), stdout=subprocess.PIPE, check=True)
    return submissions / float(json.loads(ended.stdout)["seconds"])


def _figures(made: Made, rate: float, bare: Rates, count: int) -> list[Figure]:
    return [
        Figure(
            "dispatch", rate, "submissions/s", bare.fetching, ">= 0.5", lambda _, ratio: ratio >= 0.5,
            f"{count} prompts of one {SIDE} x {SIDE} image to {WORKERS} simulated workers that need no time, {AT_ONCE} "
            "at once on each: from the first POST to the last, by the workers' own logs, every image fetched, checked "
            "and stored meanwhile; against a bare loop that POSTs one to the next of the same workers, reads the "
            "history until it is there and fetches the image, before and after. Without fetching that loop does "
            f"{bare.plain:.0f} a second, {WORKERS * AT_ONCE} of them at once {bare.crowd:.0f}. {made.sentence(count)}",
        ),
        Figure(
            "dispatch_cpu", 1000 * made.orchestrator_cpu / count, "ms", 10, "<= 10 ms", lambda value, _: value <= 10,
            f"CPU of the orchestrator process for each of them, from freeze to stored image; "
            f"{1000 * made.loop_cpu / count:.1f} ms of it in the thread of its event loop, the rest in those that "
            "check images and make thumbnails.",
        ),
    ]  # fmt: skip
