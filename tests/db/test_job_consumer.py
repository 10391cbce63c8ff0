"""What becomes of jobs whose handler raises or is broken off: none is lost, none is in the way of another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from comfylabel.db import jobs
from comfylabel.db.jobs import Handler, JobConsumer, PlannedJob, drain_job, enqueue, generate_job, pause_before
from comfylabel.db.pool import Database
from tests.support.waiting import until


@asynccontextmanager
async def consuming(url: str, **handlers: Handler) -> AsyncIterator[None]:
    consumer = JobConsumer(url, handlers, lease=timedelta(seconds=60))  # type: ignore[arg-type]
    work = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def add(database: Database, *planned: PlannedJob) -> None:
    async with database.transaction() as connection:
        await enqueue(connection, planned)


def endless(begun: asyncio.Event) -> Handler:
    async def handle(_: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    return handle


async def test_what_a_stop_breaks_off_is_anybodys_at_once(database, database_url):
    begun = asyncio.Event()
    await add(database, drain_job(uuid4()))
    async with consuming(database_url, drain=endless(begun)):
        await begun.wait()
    row = await database.pool.fetchrow("select status, queue_manager_id, attempts from pgqueuer")
    assert tuple(row) == ("queued", None, 0)


async def test_what_another_has_taken_over_is_not_put_back(database, database_url):
    """Frozen for longer than its lease, and told to stop when it wakes up."""
    begun, owner = asyncio.Event(), uuid4()
    await add(database, drain_job(uuid4()))
    async with consuming(database_url, drain=endless(begun)):
        await begun.wait()
        await database.pool.execute("update pgqueuer set queue_manager_id = $1", owner)
    row = await database.pool.fetchrow("select status, queue_manager_id from pgqueuer")
    assert tuple(row) == ("picked", owner)


async def test_a_job_that_fails_is_tried_again_and_hurts_no_other(database, database_url, monkeypatch):
    """Also when what is to be said of it holds signs that the database refuses."""
    monkeypatch.setattr(jobs, "_FIRST_PAUSE", timedelta(milliseconds=1))
    tries, done = 0, 0

    async def drain(_: dict[str, Any]) -> None:
        nonlocal tries
        tries += 1
        raise ValueError("\x00 and \ud800")

    async def generate(_: dict[str, Any]) -> None:
        nonlocal done
        done += 1

    async def left() -> list[str]:
        return [row["entrypoint"] for row in await database.pool.fetch("select entrypoint from pgqueuer")]

    async def only_the_poisoned_is_left() -> bool:
        return await left() == ["drain"]

    others = [generate_job(uuid4(), uuid4(), 0, 0) for _ in range(3)]
    await add(database, drain_job(uuid4()), *others)
    with capture_logs() as logs:
        async with consuming(database_url, drain=drain, generate=generate):
            await until(only_the_poisoned_is_left)
            await until(lambda: tries >= 3)
    assert done == 3
    assert await left() == ["drain"]
    told = [entry["tries"] for entry in logs if entry["event"] == "job_failed"]
    assert told[:3] == [1, 2, 3]


async def test_an_error_of_the_database_ends_no_handler(database, database_url, monkeypatch):
    """Whatever PgQueuer is told when it looks for jobs, it looks again, and who is at work goes on."""
    monkeypatch.setattr(jobs, "_PAUSE_AWAY", 0.01)
    begun, second, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def generate(_: dict[str, Any]) -> None:
        begun.set()
        await second.wait()
        ended.set()

    async def drain(_: dict[str, Any]) -> None:
        second.set()

    await add(database, generate_job(uuid4(), uuid4(), 0, 0))
    with capture_logs() as logs:
        async with consuming(database_url, generate=generate, drain=drain):
            await begun.wait()
            await database.pool.execute("alter table pgqueuer rename column execute_after to later")
            await until(lambda: any(entry["event"] == "jobs_paused" for entry in logs))
            await database.pool.execute("alter table pgqueuer rename column later to execute_after")
            await add(database, drain_job(uuid4()))
            await ended.wait()


@pytest.mark.parametrize(("tries", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (10**9, 300)])
def test_the_pause_doubles_up_to_five_minutes(tries, seconds):
    assert pause_before(tries) == timedelta(seconds=seconds)
