"""Two orchestrator processes on one database: never past a worker's limit, every image once, whoever of them dies."""

import asyncio
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from comfylabel.comfy.simulator import Simulator, running_simulator
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import Line
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def orchestrators(api, count: int):
    """Processes of their own; killed at the end."""
    program = [sys.executable, "-m", "tests.support.dying_orchestrator", api.app.state.database.url]
    async with AsyncExitStack() as stack:
        processes = []
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(*program, str(api.settings.data_dir), cwd=ROOT)
            stack.push_async_callback(process.wait)
            stack.callback(_kill, process)
            processes.append(process)
        yield processes


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


@asynccontextmanager
async def deepest_queues(**simulators: Simulator):
    """The most that each held at once, looked at between any two things that this process does."""
    deepest: Counter[str] = Counter()

    async def watch() -> None:
        while True:
            for name, simulator in simulators.items():
                deepest[name] = max(deepest[name], simulator.queue.remaining)
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    try:
        yield deepest
    finally:
        watcher.cancel()


async def _owners(line: Line) -> set[str]:
    """Of the jobs that are picked: each process has an id of its own."""
    rows = await line.database.pool.fetch("select distinct queue_manager_id from pgqueuer where status = 'picked'")
    return {str(row["queue_manager_id"]) for row in rows}


async def _is_taken_over(line: Line, asleep: set[str]) -> bool:
    owners = await _owners(line)
    return bool(owners) and not owners & asleep


async def test_two_orchestrators_never_pass_a_limit_and_make_every_image_once(api):
    """The first sleeps for longer than its lease and wakes up as the second owner of jobs that both have."""
    line = await Line.of(api)
    async with (
        running_simulator(job_seconds=0.02) as one,
        running_simulator(job_seconds=0.02) as two,
        deepest_queues(one=one, two=two) as deepest,
        orchestrators(api, 1) as (first,),
    ):
        one.faults.hold_jobs = two.faults.hold_jobs = True
        await line.add_worker(one.url, "one", max_concurrent_jobs=2)
        await line.add_worker(two.url, "two", max_concurrent_jobs=3)
        task = await line.frozen_task(prompts=16, seeds=4, max_batch_size=2)
        await line.run(task)
        await until(lambda: len(one.log) + len(two.log) == 5)
        asleep = await _owners(line)
        first.send_signal(signal.SIGSTOP)
        async with orchestrators(api, 1):
            await until(lambda: _is_taken_over(line, asleep))
            first.send_signal(signal.SIGCONT)
            one.faults.hold_jobs = two.faults.hold_jobs = False
            assert (await line.until_ended(task))["state"] == "DONE"
            await check_truth(line, task, one, two)
    assert deepest["one"] <= 2
    assert deepest["two"] <= 3
    assert len(one.log) + len(two.log) == 32


async def test_another_one_goes_on_with_what_a_killed_one_had_begun(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, orchestrators(api, 2) as processes:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=4)
        task = await line.frozen_task(prompts=8, seeds=2)
        await line.run(task)
        await until(lambda: len(simulator.log) == 4)
        processes[0].kill()
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)
    assert len(simulator.log) == 8
