"""Pause, resume, priority, cancel, drain and an admin's interrupt, with workers at work and strangers beside us."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.generations import taking_back_repository
from comfylabel.orchestrator import fault_points
from comfylabel.orchestrator.cancelling import Canceller
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import NATIVE_GRAPH, QUICK, Line, running_orchestrator
from tests.support.waiting import until

pytestmark = pytest.mark.slow

# Whatever must happen at once happens without the sweep.
UNSWEPT = replace(QUICK, sweep_seconds=3600)


@pytest.fixture
def hooks() -> Iterator[None]:
    yield
    fault_points.clear()


async def generate_jobs(line: Line) -> int:
    count: int = await line.database.pool.fetchval("select count(*) from pgqueuer where entrypoint = 'generate'")
    return count


async def no_job_is_left(line: Line) -> bool:
    return await generate_jobs(line) == 0


async def budgets(line: Line) -> set[tuple[int, int]]:
    rows = await line.database.pool.fetch("select retries_used, losses from batches")
    return {(row["retries_used"], row["losses"]) for row in rows}


async def stranger(simulator: Simulator) -> str:
    """A job that is none of ours."""
    identity = str(uuid.uuid4())
    async with aiohttp.ClientSession() as session:
        await ComfyClient(session, simulator.url).submit(NATIVE_GRAPH, identity)
    return identity


# --------------------------------------------------------------------------------------------- pause and resume


async def test_a_pause_ends_what_runs_sends_nothing_new_and_a_resume_goes_on_at_once(api):
    """Two orchestrators, which have picked all the jobs before."""
    line = await Line.of(api)
    url = line.database.url
    async with (
        running_simulator() as simulator,
        running_orchestrator(api.settings, url, UNSWEPT),
        running_orchestrator(api.settings, url, UNSWEPT),
    ):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log)
        assert await generate_jobs(line) == 3
        assert await line.call("POST", f"/api/tasks/{task}/pause") == {"state": "RUNNING", "paused": True}
        simulator.faults.hold_jobs = False
        await until(lambda: no_job_is_left(line))
        paused = await line.progress(task)
        assert (paused["state"], paused["paused"], paused["done"], len(simulator.log)) == ("RUNNING", True, 2, 1)
        assert len((await line.call("GET", f"/api/tasks/{task}/batches"))["items"]) == 1  # what is there is labelled
        assert await line.call("POST", f"/api/tasks/{task}/resume") == {"state": "RUNNING", "paused": False}
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_pause_meets_what_has_its_slot_already(api, hooks):
    """Between the reservation and the POST."""
    line = await Line.of(api)
    paused = asyncio.Event()

    async def pause(point: str) -> None:
        if point == "after_reserve" and not paused.is_set():
            await line.call("POST", f"/api/tasks/{task}/pause")
            paused.set()

    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        fault_points.install(pause)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            await paused.wait()
            await until(lambda: no_job_is_left(line))
            assert not simulator.log
            assert await line.database.pool.fetchval("select count(*) from submissions") == 0
            await line.call("POST", f"/api/tasks/{task}/resume")
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_resume_that_meets_a_job_about_to_end_waits_for_no_sweep(api, hooks):
    """Its handler has read that the task is paused; its row still says that the chunk has a job."""
    line = await Line.of(api)
    resumed = asyncio.Event()

    async def resume(point: str) -> None:
        if point == "before_job_end" and not resumed.is_set():
            resumed.set()
            await line.call("POST", f"/api/tasks/{task}/resume")

    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await line.call("POST", f"/api/tasks/{task}/pause")
        fault_points.install(resume)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            await resumed.wait()
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_cancelled_or_finished_task_is_not_paused_any_more(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await line.call("POST", f"/api/tasks/{task}/pause")
        await line.call("POST", f"/api/tasks/{task}/cancel")
        assert (await line.progress(task))["paused"] is False


# ---------------------------------------------------------------------------------------------------- priority


async def test_a_priority_reaches_the_jobs_that_wait(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        changed = await line.call("PATCH", f"/api/tasks/{task}", json={"priority": 7})
        assert changed["priority"] == 7
        jobs = "select distinct priority from pgqueuer where entrypoint = 'generate'"
        assert [row["priority"] for row in await line.database.pool.fetch(jobs)] == [7]
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"


async def test_the_higher_priority_is_sent_first_whatever_was_there_before(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        workflow, pool = await line.add_workflow(), await line.add_pool()
        early, late = [(await line.add_task(workflow, [pool], prompts=4, seeds=1))["id"] for _ in range(2)]
        for task in (early, late):
            await line.call("POST", f"/api/tasks/{task}/freeze")
        await line.run(early)
        await until(lambda: simulator.log)
        await line.call("PATCH", f"/api/tasks/{late}", json={"priority": 5})
        await line.run(late)
        await until(lambda: len(parts.dispatcher._waiting) == 7)  # all but the one that runs
        simulator.faults.hold_jobs = False
        await line.until_ended(early)
        await line.until_ended(late)
        rows = await line.database.pool.fetch("select id, task_id from submissions")
        of_late = {str(row["id"]) for row in rows if row["task_id"] == UUID(late)}
    places = [place for place, entry in enumerate(simulator.log) if entry.id in of_late]
    assert places == [1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------------ cancel


async def test_a_late_cancel_leaves_the_run_that_was_begun_after_it_alone(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: simulator.log)
        await line.call("POST", f"/api/tasks/{task}/cancel")
        cancelled = await line.progress(task)
        assert (cancelled["state"], cancelled["running"], cancelled["pending"]) == ("FAILED", 0, 2)
        await line.database.pool.execute(_CANCEL_WHEN, "1 hour")
        await line.run(task)
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: len(simulator.log) == 2 and simulator.log[1].started)
            await line.database.pool.execute(_CANCEL_WHEN, "0")
            await until(lambda: _is_cancelled(line))
            simulator.faults.hold_jobs = False
            assert (await line.until_ended(task))["state"] == "DONE"
        assert [entry.outcome for entry in simulator.log] == ["interrupted", "success"]
        assert await budgets(line) == {(0, 0)}
        await check_truth(line, task, simulator)


_CANCEL_WHEN = "update pgqueuer set execute_after = now() + $1::text::interval where entrypoint = 'cancel'"


async def _is_cancelled(line: Line) -> bool:
    return not await line.database.pool.fetchval("select count(*) from pgqueuer where entrypoint = 'cancel'")


@pytest.mark.parametrize("version", ["0.3.40", "0.3.75", "0.28.1"])
async def test_a_cancel_deletes_ours_that_wait_and_stops_ours_that_run_where_the_worker_can(api, version):
    """A ComfyUI before 0.3.57 would interrupt whatever runs: there, ours is left to end."""
    line = await Line.of(api)
    can_stop_one = version != "0.3.40"
    async with (
        running_simulator(version=version) as simulator,
        running_orchestrator(api.settings, line.database.url, UNSWEPT),
    ):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        await until(lambda: len(simulator.log) == 2)
        foreign = await stranger(simulator)
        await line.call("POST", f"/api/tasks/{task}/cancel")
        await until(lambda: _is_cancelled(line))
        assert simulator.queue.remaining == (1 if can_stop_one else 2)
        assert [item[1] for item in simulator.queue.pending] == ([] if can_stop_one else [foreign])
        simulator.faults.hold_jobs = False
        await until(lambda: simulator.queue.remaining == 0)
        assert {entry.id: entry.outcome for entry in simulator.log}[foreign] == "success"
        assert sum(entry.outcome == "interrupted" for entry in simulator.log) == can_stop_one
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        assert await budgets(line) == {(0, 0)}
        await check_truth(line, task, simulator)


async def test_what_is_on_its_way_at_a_cancel_runs_for_nobody(api, hooks):
    """The cancel's order to the worker is done before the POST arrives there."""
    line = await Line.of(api)
    cancelled = asyncio.Event()

    async def cancel(point: str) -> None:
        if point == "before_post" and not cancelled.is_set():
            cancelled.set()
            await line.call("POST", f"/api/tasks/{task}/cancel")
            await until(lambda: _is_cancelled(line))

    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        fault_points.install(cancel)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            await cancelled.wait()
            await until(lambda: simulator.log and not simulator.queue.remaining)
            assert simulator.log[0].outcome in (None, "interrupted")


async def test_what_is_being_fetched_at_a_cancel_is_kept(api, hooks):
    """The worker has ended it: its slot is free, its images come."""
    line = await Line.of(api)
    cancelled = asyncio.Event()

    async def cancel(point: str) -> None:
        if point == "before_put" and not cancelled.is_set():
            cancelled.set()
            await line.call("POST", f"/api/tasks/{task}/cancel")

    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        fault_points.install(cancel)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            await cancelled.wait()
            await until(lambda: no_job_is_left(line))
        progress = await line.progress(task)
    assert (progress["state"], progress["done"], progress["running"]) == ("FAILED", 2, 0)
    assert progress["ready_batches"] == 1


async def test_an_order_whose_handler_failed_is_given_again(api, monkeypatch):
    line = await Line.of(api)
    withdraw, faults = Canceller.withdraw, 2

    async def withdraws_or_fails(self: Canceller, *arguments: Any) -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise RuntimeError("a fault of ours")
        await withdraw(self, *arguments)

    monkeypatch.setattr(Canceller, "withdraw", withdraws_or_fails)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log)
        await line.call("POST", f"/api/tasks/{task}/cancel")
        await until(lambda: _is_cancelled(line))
    assert faults == 0


# ------------------------------------------------------------------------------------------------------- drain


async def _drained(line: Line, worker: UUID) -> Any:
    return await line.call("POST", f"/api/workers/{worker}/drain")


async def _held(line: Line, name: str) -> int:
    held: int = next(row["held"] for row in await line.call("GET", "/api/workers") if row["name"] == name)
    return held


async def test_a_drain_takes_back_what_waits_and_keeps_what_runs(api):
    line = await Line.of(api)
    async with (
        running_simulator() as one,
        running_simulator() as two,
        running_orchestrator(api.settings, line.database.url, UNSWEPT),
    ):
        one.faults.hold_jobs = True
        worker = await line.add_worker(one.url, "one", max_concurrent_jobs=3)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        await until(lambda: len(one.log) == 3 and one.queue.running)
        runs = one.log[0].id
        foreign = await stranger(one)
        await line.add_worker(two.url, "two")
        shown = await _drained(line, worker)
        assert (shown["enabled"], shown["held"]) == (False, 3)
        await until(lambda: len(two.log) == 2 and all(entry.outcome for entry in two.log))
        assert [item[1] for item in one.queue.pending] == [foreign]
        assert one.queue.is_running(runs)
        assert await _held(line, "one") == 1
        one.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await until(lambda: one.log[-1].outcome)
        assert await _held(line, "one") == 0
        assert [entry.outcome for entry in one.log] == ["success", None, None, "success"]
        assert await budgets(line) == {(0, 0)}
        await check_truth(line, task, one, two)
        events = "select subject from audit_events where action = 'worker_drained'"
        assert [row["subject"] for row in await line.database.pool.fetch(events)] == ["one"]


async def test_a_drain_that_dies_half_way_loses_nothing(api, monkeypatch):
    """Deleted on the worker, not yet taken back in the rows, and nobody there any more."""
    line = await Line.of(api)
    deleted, named = asyncio.Event(), taking_back_repository.named

    async def never_comes(*_: Any) -> None:
        deleted.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(taking_back_repository, "named", never_comes)
    async with running_simulator() as one, running_simulator() as two:
        one.faults.hold_jobs = True
        worker = await line.add_worker(one.url, "one", max_concurrent_jobs=3)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: len(one.log) == 3 and one.queue.running)
            await _drained(line, worker)
            await deleted.wait()
        monkeypatch.setattr(taking_back_repository, "named", named)
        assert one.queue.remaining == 1
        await line.add_worker(two.url, "two")
        one.faults.hold_jobs = False
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        assert await budgets(line) == {(0, 0)}
        await check_truth(line, task, one, two)


async def test_what_has_its_slot_already_is_not_sent_to_a_drained_worker(api, hooks):
    line = await Line.of(api)
    drained = asyncio.Event()

    async def drain(point: str) -> None:
        if point == "after_reserve" and not drained.is_set():
            drained.set()
            await _drained(line, worker)

    async with running_simulator() as one, running_simulator() as two:
        worker = await line.add_worker(one.url, "one", priority=1)
        await line.add_worker(two.url, "two")
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        fault_points.install(drain)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            assert (await line.until_ended(task))["state"] == "DONE"
        assert (len(one.log), len(two.log)) == (0, 2)
        await check_truth(line, task, one, two)


async def test_a_worker_that_was_enabled_again_is_not_drained_any_more(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        simulator.faults.hold_jobs = True
        worker = await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        await until(lambda: len(simulator.log) == 2)
        await line.database.pool.execute("update workers set enabled = false")
        await _drained(line, worker)
        await line.call("PATCH", f"/api/workers/{worker}", json={"enabled": True})
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


# ---------------------------------------------------------------------------------------- an admin's interruption


async def test_what_an_admin_interrupts_is_made_again(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        simulator.faults.hold_jobs = True
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log and simulator.log[0].started)
        queue = await line.call("GET", f"/api/workers/{worker}/queue")
        (running,) = queue["running"]
        assert (running["ours"], running["task_id"]) == (True, task)
        body = {"submission_id": running["id"]}
        assert (await line.call("POST", f"/api/workers/{worker}/interrupt", json=body))["was_running"] is True
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        assert [entry.outcome for entry in simulator.log] == ["interrupted", "success"]
        assert await budgets(line) == {(0, 1)}
        await check_truth(line, task, simulator)


# ------------------------------------------------------------------------------------------------ behind a proxy


async def test_a_task_is_made_behind_a_proxy_that_asks_for_headers(api):
    line = await Line.of(api)
    headers = {"CF-Access-Client-Id": "abc.access", "CF-Access-Client-Secret": "hunter2-hunter2"}
    async with (
        running_simulator(required_headers=headers) as simulator,
        running_orchestrator(api.settings, line.database.url),
    ):
        await line.add_worker(simulator.url, headers=headers)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)
        assert simulator.log[0].client_id


async def test_a_key_that_is_changed_while_a_job_runs_does_not_cost_the_job(api):
    """Whoever follows it asks with the new one."""
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.2})
    async with (
        running_simulator(required_headers={"X-Key": "old"}) as simulator,
        running_orchestrator(settings, line.database.url),
    ):
        simulator.faults.hold_jobs = True
        worker = await line.add_worker(simulator.url, headers={"X-Key": "old"})
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log and simulator.log[0].started is not None)
        simulator.required_headers["X-Key"] = "new"
        await line.call("PATCH", f"/api/workers/{worker}", json={"headers": {"X-Key": "new"}})
        await asyncio.sleep(QUICK.patience.worker_lost + 1)
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        assert [entry.outcome for entry in simulator.log] == ["success"]
        assert await budgets(line) == {(0, 0)}
