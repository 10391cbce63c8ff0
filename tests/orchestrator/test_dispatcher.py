"""Who waits for a slot and who gets it: the loop behind every submission, on real workers and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pgqueuer.models import Job

from comfylabel.comfy.graph import Bindings
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.db.jobs import _Queries
from comfylabel.db.pool import Connection, Database
from comfylabel.orchestrator import queue_gate, yielding
from comfylabel.orchestrator.dispatcher import Dispatcher
from comfylabel.orchestrator.picture import TaskNow
from comfylabel.orchestrator.process import Orchestrator
from comfylabel.orchestrator.schemas import Plan
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import QUICK, Line, running_orchestrator
from tests.support.rows import BINDINGS
from tests.support.waiting import until

# What must happen at once happens without the sweep.
UNSWEPT = replace(QUICK, sweep_seconds=3600)


async def test_a_wake_at_the_moment_of_stopping_does_not_keep_it_running():
    dispatcher = Dispatcher(None, None, poll_seconds=60)  # type: ignore[arg-type]  # nothing waits: neither is asked
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    dispatcher.wake()
    await asyncio.sleep(0)  # the wait is over, the loop has not gone on yet
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    running.cancel()
    assert done


def some_plan() -> Plan:
    return Plan(uuid4(), uuid4(), 0, None, uuid4(), 0, {}, Bindings.from_json(BINDINGS), "", 1, 1)


async def test_who_comes_while_the_picture_is_read_is_not_sent_away(monkeypatch):
    """Nothing was read of its task, and of who refuses its workflow: it waits for the next reading."""
    dispatcher = Dispatcher(None, None, poll_seconds=60)  # type: ignore[arg-type]  # the reading is stood in for
    known, late = some_plan(), some_plan()
    comers = [asyncio.create_task(dispatcher.admission(known, attempt=1))]

    async def refresh(_workflows: object, _tasks: object) -> dict[UUID, TaskNow]:
        comers.append(asyncio.create_task(dispatcher.admission(late, attempt=1)))
        await asyncio.sleep(0)
        return {known.task_id: TaskNow(0, is_wanted=True)}

    monkeypatch.setattr(dispatcher._picture, "refresh", refresh)
    await asyncio.sleep(0)
    await dispatcher._place()
    await asyncio.sleep(0)
    assert [request.plan for request in dispatcher._waiting] == [known, late]
    for comer in comers:
        comer.cancel()


def waiting(parts, task: str) -> int:
    return sum(request.task_id == UUID(task) for request in parts.dispatcher._waiting)


async def frozen_tasks(line: Line, *prompts: int) -> list[str]:
    """One of each size, of one workflow: what a worker can run of another is not known at once."""
    workflow, pool = await line.add_workflow(), await line.add_pool()
    tasks = [(await line.add_task(workflow, [pool], prompts=size, seeds=2))["id"] for size in prompts]
    for task in tasks:
        await line.call("POST", f"/api/tasks/{task}/freeze")
    return tasks


async def tasks_in_order(line: Line, *workers: Simulator) -> list[str]:
    """Of what was sent, in the order of the POSTs."""
    rows = await line.database.pool.fetch("select id, task_id from submissions")
    task_of = {str(row["id"]): str(row["task_id"]) for row in rows}
    log = sorted((entry for worker in workers for entry in worker.log), key=lambda entry: entry.queued)
    return [task_of[entry.id] for entry in log]


async def test_a_higher_priority_goes_first_however_many_of_a_lower_one_are_waiting(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        low, high = await frozen_tasks(line, 8, 3)
        await line.run(low)
        await until(lambda: len(simulator.log) == 1 and waiting(parts, low) >= 3)
        await line.call("PATCH", f"/api/tasks/{high}", json={"priority": 5})
        await line.run(high)
        await until(lambda: waiting(parts, high) == 3)
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(low))["state"] == "DONE"
        assert await tasks_in_order(line, simulator) == [low, *[high] * 3, *[low] * 7]


async def test_a_priority_that_changes_while_they_wait_counts_at_once(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        first, second = await frozen_tasks(line, 3, 2)
        await line.run(first)
        await until(lambda: len(simulator.log) == 1 and waiting(parts, first) == 2)
        await line.run(second)
        await until(lambda: waiting(parts, second) == 2)
        await line.call("PATCH", f"/api/tasks/{second}", json={"priority": 1})
        await until(lambda: {request.priority for request in parts.dispatcher._waiting} == {0, 1})
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(first))["state"] == "DONE"
        assert await tasks_in_order(line, simulator) == [first, second, second, first, first]


async def test_what_waits_is_let_go_when_its_task_is_paused(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        await until(lambda: len(simulator.log) == 1 and waiting(parts, task) == 2)
        await line.call("POST", f"/api/tasks/{task}/pause")
        await until(lambda: waiting(parts, task) == 0)
        await line.call("POST", f"/api/tasks/{task}/resume")
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_worker_whose_queue_does_not_answer_holds_back_no_other(api, monkeypatch):
    """The gate of the preferred worker stays shut for as long as the test wants."""
    line = await Line.of(api)
    look, answer, asked = queue_gate.look, asyncio.Event(), asyncio.Event()
    async with (
        running_simulator() as slow,
        running_simulator() as fast,
        running_orchestrator(api.settings, line.database.url),
    ):

        async def look_slowly(client, taken):
            if client._shown == slow.url:
                asked.set()
                await answer.wait()
            return await look(client, taken)

        monkeypatch.setattr(queue_gate, "look", look_slowly)
        await line.add_worker(slow.url, "a-slow", priority=9)
        await line.add_worker(fast.url, "b-fast")
        task = await line.frozen_task(prompts=6, seeds=2)
        await line.run(task)
        await asked.wait()
        await until(lambda: len(fast.log) == 5 and fast.log[-1].ended)
        assert not slow.log
        answer.set()
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, slow, fast)


async def test_nothing_but_pilots_is_sent_while_the_ingester_is_behind(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        await line.add_worker(simulator.url)
        is_behind = True
        parts.dispatcher._is_behind = lambda: is_behind
        mass = await line.frozen_task(prompts=2, seeds=2)
        pool = await line.add_pool("color")
        piloted = (await line.add_task(await line.add_workflow(name="autumn"), [pool], prompts=2, seeds=2))["id"]
        await line.run(mass)
        await until(lambda: waiting(parts, mass) == 2)
        assert len((await line.call("POST", f"/api/tasks/{piloted}/pilot"))["samples"]) == 10
        assert waiting(parts, mass) == 2
        is_behind = False
        parts.dispatcher.wake()
        assert (await line.until_ended(mass))["state"] == "DONE"


async def test_the_line_to_a_worker_that_has_moved_is_closed(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.1})
    async with (
        running_simulator() as old,
        running_simulator() as new,
        running_orchestrator(settings, line.database.url),
    ):
        worker = await line.add_worker(old.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await line.until_ended(task)
        await until(lambda: old.sockets._open)
        await line.call("PATCH", f"/api/workers/{worker}", json={"base_url": new.url})
        await until(lambda: not old.sockets._open)


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_reservation_never_passes_the_limit_whatever_the_picture_says(api, limit):
    """As if the picture were wrong all the time: free slots everywhere."""
    line = await Line.of(api)
    deepest = 0
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url) as parts:
        parts.dispatcher._picture.took = lambda *_: None  # type: ignore[method-assign]  # it never learns
        await line.add_worker(simulator.url, max_concurrent_jobs=limit)

        async def watch() -> None:
            nonlocal deepest
            while True:
                deepest = max(deepest, simulator.queue.remaining)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        task = await line.frozen_task(prompts=6, seeds=2)
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        watcher.cancel()
        await check_truth(line, task, simulator)
    assert deepest <= limit


class LosesAnAnswer:
    """A database whose answer to the first commit gets lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_lost = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self._database.transaction() as connection:
            yield connection
        if not self._is_lost:
            self._is_lost = True
            raise ConnectionResetError

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        return self._database.connection()


async def test_a_reservation_whose_commit_was_not_answered_is_given_back_at_once(api):
    """Not by the sweep: until then a worker with one slot would stand still."""
    line = await Line.of(api)
    async with (
        running_simulator() as simulator,
        running_orchestrator(api.settings, line.database.url, UNSWEPT) as parts,
    ):
        parts.dispatcher._database = LosesAnAnswer(parts.database)  # type: ignore[assignment]
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


@asynccontextmanager
async def picks_nothing(monkeypatch: pytest.MonkeyPatch, *parts: Orchestrator) -> AsyncIterator[None]:
    """While the block runs these look for no jobs: so it is known who gets them."""
    dequeue, asleep = _Queries.dequeue, {one.process_id for one in parts}

    async def look(self: _Queries, *args: Any, queue_manager_id: UUID, **options: Any) -> list[Job]:
        if queue_manager_id in asleep:
            return []
        return await dequeue(self, *args, queue_manager_id=queue_manager_id, **options)

    monkeypatch.setattr(_Queries, "dequeue", look)
    yield
    asleep.clear()


def knows_of_others(parts: Orchestrator) -> bool:
    """And that the worker can run it."""
    picture = parts.dispatcher._picture
    workflows = {one.workflow_id for one in picture.elsewhere}
    return bool(workflows) and all(
        picture.knows(workflow) and workflow not in seat.refuses
        for workflow in workflows
        for seat in picture.seats(lambda _: False)
    )


async def test_a_higher_priority_goes_first_although_another_process_has_its_jobs(api, monkeypatch):
    """The one with the lower priority is the first to know of each slot that becomes free."""
    monkeypatch.setattr(yielding, "LONGEST", 60)
    line = await Line.of(api)
    url = line.database.url
    async with (
        running_simulator() as simulator,
        running_orchestrator(api.settings, url) as first,
        running_orchestrator(api.settings, url) as second,
    ):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        low, high = await frozen_tasks(line, 6, 3)
        async with picks_nothing(monkeypatch, second):
            await line.run(low)
            await until(lambda: len(simulator.log) == 1 and waiting(first, low) >= 3)
        async with picks_nothing(monkeypatch, first):
            await line.call("PATCH", f"/api/tasks/{high}", json={"priority": 5})
            await line.run(high)
            await until(lambda: waiting(second, high) == 3 and knows_of_others(first))
            simulator.faults.hold_jobs = False
            assert (await line.until_ended(high))["state"] == "DONE"
        assert (await line.until_ended(low))["state"] == "DONE"
        assert (await tasks_in_order(line, simulator))[:4] == [low, *[high] * 3]


async def test_a_pilot_goes_first_although_another_process_has_its_job(api, monkeypatch):
    monkeypatch.setattr(yielding, "LONGEST", 60)
    line = await Line.of(api)
    url = line.database.url
    async with (
        running_simulator() as simulator,
        running_orchestrator(api.settings, url) as first,
        running_orchestrator(api.settings, url) as second,
    ):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        mass = await line.frozen_task(prompts=20, seeds=2)
        pool = await line.add_pool("color")
        piloted = (await line.add_task(await line.add_workflow(name="autumn"), [pool], prompts=2, seeds=2))["id"]
        async with picks_nothing(monkeypatch, second):
            await line.run(mass)
            await until(lambda: len(simulator.log) == 1 and waiting(first, mass) >= 3)
        async with picks_nothing(monkeypatch, first):
            await line.call("POST", f"/api/tasks/{piloted}/pilot", status=202, headers={"prefer": "respond-async"})
            await until(lambda: waiting(second, piloted) == 1 and knows_of_others(first))
            simulator.faults.hold_jobs = False
            await until(lambda: len(simulator.log) > 1)
        order = await tasks_in_order(line, simulator)
        assert order[:2] == [mass, piloted]
