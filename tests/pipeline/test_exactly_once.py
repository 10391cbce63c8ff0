"""K x N images, each made by the seed that its row records, none twice: whatever a worker does, whatever is killed."""

import asyncio
import signal
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.orchestrator.fault_points import FaultPoint
from tests.support.pipeline import NATIVE_GRAPH, QUICK, Line, running_orchestrator
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


async def check_truth(line: Line, task: str, *workers: Simulator, posts_may_repeat: bool = False) -> None:
    """Against the workers' own logs, by code that shares nothing with the product."""
    rows = await line.images(task)
    made = {
        (entry.id, image.batch_index): (image.prompt, image.seed, image.digests.clean)
        for worker in workers
        for entry in worker.log
        for image in entry.images
    }
    for row in rows:
        assert row["state"] == "done", row["state"]
        recorded = (row["text"], row["seed_value"], row["checksum"])
        assert made[str(row["submission_id"]), row["batch_index"]] == recorded
    sent = Counter(entry.id for worker in workers for entry in worker.log)
    if not posts_may_repeat:
        assert max(sent.values()) == 1, "a submission was POSTed twice"
    assert len({(row["prompt_id"], row["position"]) for row in rows}) == len(rows)
    assert len({row["checksum"] for row in rows}) == len(rows), "two rows hold the same image"
    progress = await line.progress(task)
    assert (progress["done"], progress["pending"], progress["running"], progress["failed"]) == (len(rows), 0, 0, 0)
    assert progress["ready_batches"] == len({row["batch_id"] for row in rows})
    left = await line.database.pool.fetchval("select count(*) from submissions where ended_at is null")
    assert left == 0, "a submission was never ended"


# ------------------------------------------------------------------------------------------------ what workers do


async def _run_with(
    api, simulator: Simulator, *, prompts: int = 3, seeds: int = 4, **metadata: Any
) -> tuple[Line, str]:
    line = await Line.of(api)
    await line.add_worker(simulator.url, max_concurrent_jobs=2)
    task = await line.frozen_task(prompts=prompts, seeds=seeds, max_batch_size=2, **metadata)
    await line.run(task)
    return line, task


@pytest.mark.parametrize("fault", ["queued_but_500", "queued_but_cut", "queued_but_silent", "refused_500"])
async def test_a_post_without_a_clear_answer_is_looked_up_before_it_is_sent_again(api, fault):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        setattr(simulator.faults, fault, 2)
        line, task = await _run_with(api, simulator)
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)
    assert len({entry.id for entry in simulator.log}) == 6


async def test_a_restart_that_forgets_queue_and_history_loses_no_image(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.hold_jobs = True
        line, task = await _run_with(api, simulator)
        await until(lambda: len(simulator.log) == 2)
        simulator.faults.hold_jobs = False
        await simulator.restart()
        ended = await line.until_ended(task)
        assert (ended["state"], sum(prompt["retries_used"] for prompt in ended["per_prompt"])) == ("DONE", 0)
        await check_truth(line, task, simulator)


async def test_a_prompt_that_was_running_in_three_losses_is_given_up(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.hold_jobs = True
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        for losses in range(3):
            await until(lambda: len(simulator.log) == losses + 1 and simulator.log[-1].started)  # noqa: B023 - awaited within the round
            await simulator.restart()
        ended = await line.until_ended(task)
    assert (ended["state"], ended["failed"]) == ("FAILED", 2)
    assert ended["per_prompt"][0]["retries_used"] == 0


async def test_a_prompt_that_waited_behind_others_is_not_blamed_for_losses(api):
    """Four crashes, each while a stranger's job runs and ours waits: one more than a guilty prompt survives."""
    async with (
        running_simulator() as simulator,
        aiohttp.ClientSession() as session,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        simulator.faults.hold_jobs = True
        stranger = ComfyClient(session, simulator.url)
        await stranger.submit(NATIVE_GRAPH, str(uuid.uuid4()))
        line = await Line.of(api)
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        for losses in range(4):
            await until(lambda: len(simulator.log) == 2 * losses + 2)  # noqa: B023 - awaited within the round
            ours = simulator.log[-1].id
            # The third look at the history came after a look at the queue.
            await until(lambda: sum(path.endswith(ours) for _, path in simulator.requests) >= 3)  # noqa: B023 - awaited within the round
            await simulator.crash()
            await stranger.submit(NATIVE_GRAPH, str(uuid.uuid4()))
        simulator.faults.hold_jobs = False
        ended = await line.until_ended(task)
        assert (ended["state"], ended["done"]) == ("DONE", 2)
        await check_truth(line, task, simulator)


@pytest.mark.parametrize("fault", ["truncated_images", "not_images", "cut_images", "huge_images"])
async def test_a_broken_download_is_fetched_again_from_the_worker(api, fault):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        setattr(simulator.faults, fault, 2)
        line, task = await _run_with(api, simulator, prompts=1)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["per_prompt"][0]["retries_used"]) == ("DONE", 0)
        await check_truth(line, task, simulator)


async def test_images_that_stay_broken_are_made_again_three_times_and_then_given_up(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.not_images = -1
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["failed"], ended["per_prompt"][0]["retries_used"]) == ("FAILED", 2, 3)
        assert ended["per_prompt"][0]["reason"]
        assert len(simulator.log) == 4

        simulator.faults.not_images = 0
        await line.run(task)  # a new budget for what is missing
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_failing_prompt_is_isolated_and_run_again_touches_nothing_that_is_done(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.execution_errors = 10  # the prompts take turns: the tenth is the fourth failure of one of them
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["done"], ended["failed"]) == ("DONE", 4, 2)
        done = [row for row in await line.images(task) if row["state"] == "done"]
        await line.run(task)
        assert (await line.until_ended(task))["done"] == 6
        await check_truth(line, task, simulator)
        after = {row["id"]: row for row in await line.images(task)}
        assert all(after[row["id"]]["updated_at"] == row["updated_at"] for row in done)


async def test_a_stuck_worker_thread_ends_at_the_deadline(api):

    hasty = replace(QUICK, patience=replace(QUICK.patience, deadline=1.0))
    async with (
        running_simulator() as stuck,
        running_simulator() as well,
        running_orchestrator(api.settings, api.app.state.database.url, hasty),
    ):
        stuck.faults.stuck = True
        line = await Line.of(api)
        await line.add_worker(stuck.url, "a-stuck", priority=1)
        await line.add_worker(well.url, "b-well")
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["done"]) == ("DONE", 4)
        await check_truth(line, task, stuck, well)


async def test_a_missing_model_sends_the_work_to_another_worker(api):
    async with (
        running_simulator() as poor,
        running_simulator() as rich,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        line = await Line.of(api)
        await line.add_worker(poor.url, "a-poor", priority=9)
        rich_id = await line.add_worker(rich.url, "b-rich")
        task = await line.frozen_task(prompts=2, seeds=2)
        poor.faults.missing_models = {"sdxl-simulated.safetensors"}
        await line.run(task)
        ended = await line.until_ended(task)
        assert sum(prompt["retries_used"] for prompt in ended["per_prompt"]) == 0
        assert {row["worker_id"] for row in await line.images(task)} == {rich_id}
        await check_truth(line, task, poor, rich)


async def test_a_worker_that_goes_silent_hands_its_work_to_another_and_its_late_result_is_ignored(api):
    async with (
        running_simulator() as silent,
        running_simulator() as other,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        silent.faults.hold_jobs = True
        line = await Line.of(api)
        await line.add_worker(silent.url, "a-silent", priority=9)
        await line.add_worker(other.url, "b-other")
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        await until(lambda: silent.log)
        silent.faults.proxy = "502"
        assert (await line.until_ended(task))["state"] == "DONE"
        silent.faults.proxy, silent.faults.hold_jobs = None, False
        await until(lambda: silent.log[0].outcome)
        await check_truth(line, task, silent, other)


async def test_cancel_withdraws_ours_and_leaves_the_strangers_jobs_alone(api):

    async with (
        running_simulator() as simulator,
        aiohttp.ClientSession() as session,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        simulator.faults.hold_jobs = True
        line, task = await _run_with(api, simulator)
        await until(lambda: len(simulator.log) == 2)
        foreign = str(uuid.uuid4())
        await ComfyClient(session, simulator.url).submit(NATIVE_GRAPH, foreign)
        await line.call("POST", f"/api/tasks/{task}/cancel")
        await until(lambda: simulator.queue.remaining == 1)
        progress = await line.progress(task)
        assert (progress["state"], progress["running"]) == ("FAILED", 0)
        simulator.faults.hold_jobs = False
        await until(lambda: simulator.log[-1].outcome == "success")
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


# --------------------------------------------------------------------------------------------------- what is killed


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", get_args(FaultPoint))
async def test_kill_9_at_each_point_loses_nothing_and_doubles_nothing(api, record_property, point):
    """Three orchestrators die at this point, one after the other; a fourth ends the task."""
    async with running_simulator() as simulator:
        line, task = await _run_with(api, simulator, prompts=4)
        url, kills = line.database.url, 0
        for passes in (1, 2, 3):
            process = await asyncio.create_subprocess_exec(*_orchestrator(url, api, point, passes), cwd=ROOT)
            kills += await process.wait() == -signal.SIGKILL
        assert kills == 3
        async with running_orchestrator(api.settings, url):
            assert (await line.until_ended(task, 120))["state"] == "DONE"
        await check_truth(line, task, simulator)
        record_property("kills", f"{point}: {kills} kills, {len(simulator.log)} POSTs, 16 images, 0 duplicates")


@pytest.mark.timeout(300)
async def test_kill_9_between_the_post_and_its_answer(api):
    """The worker has queued it and says nothing: that is where the process dies."""
    async with running_simulator() as simulator:
        line, task = await _run_with(api, simulator, prompts=4)
        for _ in range(3):
            simulator.faults.queued_but_silent = 1
            seen = len(simulator.log)
            process = subprocess.Popen(_orchestrator(line.database.url, api), cwd=ROOT)
            await until(lambda: len(simulator.log) > seen and not simulator.faults.queued_but_silent, 60)  # noqa: B023 - awaited within the round
            process.kill()
            process.wait()
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task, 120))["state"] == "DONE"
        await check_truth(line, task, simulator)


def _orchestrator(url: str, api, *doom: object) -> list[str]:
    program = [sys.executable, "-m", "tests.support.dying_orchestrator", url, str(api.settings.data_dir)]
    return [*program, *(str(part) for part in doom)]
