"""What a process that died or slept had sent is known by looking, and nothing is sent twice."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.orchestrator import fault_points, submission_life
from comfylabel.orchestrator.clock import clock
from tests.pipeline.test_exactly_once import check_truth
from tests.pipeline.test_two_orchestrators import deepest_queues, orchestrators
from tests.support.pipeline import QUICK, Line, loop_graph, running_orchestrator
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


async def test_what_the_worker_has_needs_no_patience(api):
    """Killed between the worker's answer and our note of it: the next owner sees it there, and does not wait until the
    POST must have ended, which here would be after two hours.
    """
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        program = [sys.executable, "-m", "tests.support.dying_orchestrator", line.database.url]
        process = await asyncio.create_subprocess_exec(
            *program, str(api.settings.data_dir), "after_answer", "1", cwd=ROOT
        )
        assert await process.wait() == -signal.SIGKILL
        patient = replace(QUICK, patience=replace(QUICK.patience, post=3600.0))
        async with running_orchestrator(api.settings, line.database.url, patient):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_process_that_slept_before_its_post_looks_first(api, monkeypatch):
    """Frozen for an hour between the note and the POST: another may have sent the same meanwhile."""
    line = await Line.of(api)
    asleep = 0.0

    async def sleep_once(point: str) -> None:
        nonlocal asleep
        if point == "before_post" and not asleep:
            asleep = 3600.0

    monkeypatch.setattr(submission_life, "clock", lambda: clock() + asleep)
    fault_points.install(sleep_once)
    try:
        async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
            await line.add_worker(simulator.url)
            task = await line.frozen_task(prompts=1, seeds=2)
            await line.run(task)
            assert (await line.until_ended(task))["state"] == "DONE"
            await check_truth(line, task, simulator)
            assert _looked_before_sending(simulator)
    finally:
        fault_points.clear()


def _looked_before_sending(simulator: Simulator) -> bool:
    requests = [path for _, path in simulator.requests]
    return requests.index(f"/history/{simulator.log[0].id}") < requests.index("/prompt")


@pytest.mark.timeout(300)
async def test_two_replicas_under_load_never_pass_a_limit(api):
    """Both place the same tasks on the same workers all the time."""
    line = await Line.of(api)
    async with (
        running_simulator() as one,
        running_simulator() as two,
        running_simulator() as three,
        deepest_queues(one=one, two=two, three=three) as deepest,
        orchestrators(api, 2),
    ):
        for limit, worker in enumerate((one, two, three), 1):
            await line.add_worker(worker.url, f"gpu-{limit}", max_concurrent_jobs=limit)
        task = await line.frozen_task(prompts=20, seeds=4, graph=loop_graph())
        await line.run(task)
        assert (await line.until_ended(task, 200))["state"] == "DONE"
        await check_truth(line, task, one, two, three)
    assert (deepest["one"], deepest["two"] <= 2, deepest["three"] <= 3) == (1, True, True)
    assert len(one.log) + len(two.log) + len(three.log) == 80


async def test_what_ran_out_of_memory_waits_for_another_worker_that_is_only_busy(api):
    """Elsewhere exists, and is full: that is no reason to try the same again."""
    line = await Line.of(api)
    async with (
        running_simulator() as small,
        running_simulator() as large,
        running_orchestrator(api.settings, line.database.url) as parts,
    ):
        small.faults.out_of_memory_above = 100
        large.faults.hold_jobs = True
        await line.add_worker(large.url, "a-large", priority=1)
        await line.add_worker(small.url, "b-small")
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        await until(lambda: large.log and any(request.avoid for request in parts.dispatcher._waiting))
        large.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, small, large)
    assert (len(small.log), len(large.log)) == (1, 2)
