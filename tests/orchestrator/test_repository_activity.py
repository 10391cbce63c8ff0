"""What the recorder writes, and that it writes it once, whatever happens to the connection."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from comfylabel.comfy.graph import Bindings
from comfylabel.comfy.schemas import HistoryEntry
from comfylabel.db.notifications import Change, Notifications
from comfylabel.db.pool import AWAY
from comfylabel.orchestrator import activity_repository
from comfylabel.orchestrator.activity import Recorder, _Doubt
from comfylabel.orchestrator.schemas import Plan
from tests.support import rows
from tests.support.waiting import until


def plan_of(task: rows.TaskRows, **changes) -> Plan:
    values: dict[str, Any] = {
        "task_id": task.id, "prompt_id": task.prompts[0], "chunk": 0, "pilot_id": None,
        "workflow_id": task.workflow_id, "priority": 0, "graph": rows.GRAPH,
        "bindings": Bindings.from_json(rows.BINDINGS), "text": "", "seed": 1, "batch_size": 4,
    }  # fmt: skip
    return Plan(**values | changes)


def entry(number: int, began: float, ended: float, outcome="success") -> HistoryEntry:
    return HistoryEntry(outcome, number=number, began_at=began, ended_at=ended)


@pytest.fixture
async def task(database) -> rows.TaskRows:
    async with database.transaction() as connection:
        return await rows.add_task(connection, "RUNNING")


async def made(database, table: str):
    return [dict(row) for row in await database.pool.fetch(f"select * from {table}")]


async def test_what_ended_is_added_up(database, task):
    recorder = Recorder(database)
    for number, outcome in enumerate(["success", "success", "error"]):
        recorder.ended(
            plan_of(task), task.worker_id, entry(number, number * 2, number * 2 + 1.5, outcome), waiting_since=0
        )
    recorder.failed(task.worker_id, task.id, "execution_error")
    await recorder.flush()
    recorder.ended(plan_of(task), task.worker_id, entry(3, 6, 9), waiting_since=0)
    await recorder.flush()
    await recorder.flush()  # nothing new: nothing is written

    minutes = await made(database, "worker_minutes")
    assert sum(row["submissions"] for row in minutes) == 4
    assert sum(row["images"] for row in minutes) == 12
    assert sum(row["failures"] for row in minutes) == 1
    assert sum(row["busy_seconds"] for row in minutes) == 7.5
    (total,) = await made(database, "worker_totals")
    assert (total["submissions"], total["images"], total["busy_seconds"]) == (4, 12, 7.5)
    assert (total["gap_seconds"], total["gaps_1000"]) == (1.5, 3)
    assert await made(database, "worker_failures") == [
        {"worker_id": task.worker_id, "kind": "execution_error", "failures": 1}
    ]
    (pace,) = await made(database, "paces")
    assert (pace["width"], pace["height"], pace["images"]) == (1024, 1024, 12)
    assert pace["seconds_per_image"] == pytest.approx((1.5 + 1.5 + 3) / 12)


async def test_a_pilot_is_work_of_the_worker_and_no_progress_of_the_task(database, task):
    recorder = Recorder(database)
    recorder.ended(plan_of(task, pilot_id=uuid4()), task.worker_id, entry(0, 0, 61), waiting_since=0)
    await recorder.flush()

    minutes = await made(database, "worker_minutes")
    assert {row["images"] for row in minutes} == {0}
    assert sorted(row["busy_seconds"] for row in minutes) == [1, 60]
    assert (await made(database, "worker_totals"))[0]["images"] == 4
    assert len(await made(database, "paces")) == 1


async def test_newer_images_weigh_more_than_those_of_last_year(database, task):
    recorder = Recorder(database)
    for seconds in [1.0] * 200 + [9.0] * 50:
        recorder.ended(plan_of(task), task.worker_id, entry(0, 0, seconds * 4), waiting_since=0)
        await recorder.flush()

    (pace,) = await made(database, "paces")
    assert pace["images"] == 1000
    assert 8 < pace["seconds_per_image"] < 9


async def test_who_was_deleted_meanwhile_needs_no_figures(database, task):
    recorder = Recorder(database)
    recorder.ended(plan_of(task, task_id=uuid4(), workflow_id=uuid4()), task.worker_id, entry(0, 0, 1), waiting_since=0)
    recorder.ended(plan_of(task), uuid4(), entry(0, 0, 1), waiting_since=0)
    await recorder.flush()

    assert await made(database, "worker_minutes") == []
    assert [row["worker_id"] for row in await made(database, "worker_totals")] == [task.worker_id]


# In the middle of the commit, where nobody can know what became of it.
LOSE_THE_CONNECTION = """
create function lose_connection() returns trigger language plpgsql as $$
begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
create constraint trigger lose_connection after insert on worker_totals deferrable initially deferred
  for each row execute function lose_connection()
"""


async def test_a_connection_lost_in_the_commit_loses_no_figure(database, task):
    await database.pool.execute(LOSE_THE_CONNECTION)
    recorder = Recorder(database)
    recorder.ended(plan_of(task), task.worker_id, entry(0, 0, 1), waiting_since=0)
    with pytest.raises(AWAY):
        await recorder.flush()
    recorder.ended(plan_of(task), task.worker_id, entry(5, 5, 6), waiting_since=0)
    await database.pool.execute("drop trigger lose_connection on worker_totals")
    await until(lambda: written(recorder))

    assert [row["images"] for row in await made(database, "worker_totals")] == [8]


async def written(recorder: Recorder) -> bool:
    with suppress(*AWAY):
        await recorder.flush()
        return True
    return False


async def test_an_answer_lost_after_the_commit_writes_nothing_twice(database, task):
    recorder = Recorder(database)
    recorder.ended(plan_of(task), task.worker_id, entry(0, 0, 1), waiting_since=0)
    figures = recorder._figures
    async with database.transaction() as connection:
        transaction = await activity_repository.transaction_id(connection)
        await activity_repository.add(connection, figures)
    recorder = Recorder(database)
    recorder._doubt = _Doubt(transaction, figures)
    recorder.ended(plan_of(task), task.worker_id, entry(5, 5, 6), waiting_since=0)
    await recorder.flush()

    assert [row["images"] for row in await made(database, "worker_totals")] == [8]


async def test_a_task_that_is_being_frozen_holds_up_its_figures_and_loses_none(database, task):
    recorder = Recorder(database)
    recorder.ended(plan_of(task), task.worker_id, entry(0, 0, 1), waiting_since=0)
    async with database.transaction() as connection:
        await connection.execute("select from tasks for update")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await recorder.flush()
    assert await written(recorder)

    assert [row["images"] for row in await made(database, "worker_totals")] == [4]


async def test_the_last_second_is_written_at_a_stop(database, task):
    recorder = Recorder(database)
    work = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)  # begun
    recorder.ended(plan_of(task), task.worker_id, entry(0, 0, 1), waiting_since=0)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work

    assert [row["images"] for row in await made(database, "worker_totals")] == [4]


async def test_who_changed_is_told_once_with_the_figures(database, database_url, task):
    heard: list[Change] = []
    listening = asyncio.Event()
    line = asyncio.create_task(Notifications(database_url, heard.append, listening.set).run())
    await listening.wait()
    recorder = Recorder(database)
    for number in range(5):
        recorder.sent(task.worker_id, task.id)
        recorder.ended(plan_of(task), task.worker_id, entry(number, number, number + 1), waiting_since=0)
    await recorder.flush()
    await until(lambda: len(heard) >= 2)
    line.cancel()

    assert heard == [Change("task", task.id), Change("worker", task.worker_id)]


async def test_what_happened_a_week_ago_is_forgotten(database, task):
    await database.pool.execute(
        "insert into worker_minutes (worker_id, task_id, minute) values ($1, $2, now() - interval '6 days'),"
        " ($1, $2, now() - interval '8 days')",
        task.worker_id,
        task.id,
    )
    async with database.transaction() as connection:
        await activity_repository.forget_old_minutes(connection)

    assert len(await made(database, "worker_minutes")) == 1


async def test_minutes_become_hours_and_come_to_the_same(database, task):
    await database.pool.execute(
        """insert into worker_minutes (worker_id, task_id, minute, submissions, images, failures, busy_seconds)
           select $1, $2, date_trunc('minute', now()) - make_interval(mins => ago), 1, 4, ago % 2, 1.5
           from generate_series(0, 599) ago""",
        task.worker_id,
        task.id,
    )
    for _ in range(2):
        async with database.transaction() as connection:
            await activity_repository.forget_old_minutes(connection)
        rows = await made(database, "worker_minutes")
        assert sum(row["submissions"] for row in rows) == 600
        assert sum(row["images"] for row in rows) == 2400
        assert sum(row["failures"] for row in rows) == 300
        assert sum(row["busy_seconds"] for row in rows) == 900
        by_the_hour = [row for row in rows if row["submissions"] > 1]
        assert 6 <= len(by_the_hour) <= 8
        assert 120 <= len(rows) - len(by_the_hour) <= 181  # the last two hours, and what began of a third
