"""Changes are heard when they are committed, and after an outage everybody is told to look again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.notifications import Change, Notifications, notify
from comfylabel.db.pool import Database
from tests.support.waiting import until


@dataclass
class Ear:
    changes: list[Change] = field(default_factory=list)
    times_back: int = 0

    def back(self) -> None:
        self.times_back += 1


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Ear]:
    ear = Ear()
    work = asyncio.create_task(Notifications(url, ear.changes.append, ear.back).run())
    try:
        await until(lambda: ear.times_back == 1)
        yield ear
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def say(database: Database, **ids: list[UUID]) -> None:
    async with database.transaction() as connection:
        await notify(connection, **ids)


@pytest.mark.postgres_16_too
async def test_what_is_committed_is_heard_once(database, database_url):
    task, worker, user = uuid4(), uuid4(), uuid4()
    async with listening(database_url) as ear:
        async with database.transaction() as connection:
            await notify(connection, tasks=[task, task], workers=[worker])
            await notify(connection, tasks=[task], users=[user])
            assert ear.changes == []
        await until(lambda: len(ear.changes) == 3)

    assert set(ear.changes) == {Change("task", task), Change("worker", worker), Change("user", user)}


async def test_what_is_rolled_back_is_not_heard(database, database_url):
    task = uuid4()
    async with listening(database_url) as ear:
        with pytest.raises(ZeroDivisionError):
            async with database.transaction() as connection:
                await notify(connection, tasks=[uuid4()])
                raise ZeroDivisionError
        await say(database, tasks=[task])
        await until(lambda: ear.changes)

    assert ear.changes == [Change("task", task)]


async def test_words_of_strangers_are_passed_over(database, database_url):
    task = uuid4()
    async with listening(database_url) as ear:
        for words in ("", "task", "task x", "moon 1", f"user{uuid4()}"):
            await database.pool.execute("select pg_notify('comfylabel', $1)", words)
        await say(database, tasks=[task])
        await until(lambda: ear.changes)

    assert ear.changes == [Change("task", task)]


async def test_a_line_that_is_cut_is_taken_up_again(database, database_url):
    async with listening(database_url) as ear:
        await database.pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query ilike 'listen%'"
        )
        await until(lambda: ear.times_back == 2)
        await say(database, tasks=[uuid4()])
        await until(lambda: ear.changes)


async def test_a_database_that_was_away_is_listened_to_again(tmp_path):
    postgres = EmbeddedPostgres(tmp_path / "postgres", options=("fsync=off",))
    url = await postgres.start()
    try:
        async with listening(url) as ear:
            await postgres.stop()
            await postgres.start()
            await until(lambda: ear.times_back == 2)
    finally:
        await postgres.stop()


async def test_a_database_that_takes_nobody_in_for_a_while_is_listened_to_again(database, database_url):
    """It is being restored, or has no connection left: a refusal, and no lost connection."""
    name = await database.pool.fetchval("select current_database()")
    async with listening(database_url) as ear, another(database_url, "postgres") as door:
        await door.execute(f'alter database "{name}" allow_connections false')
        with capture_logs() as told:
            await database.pool.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and query ilike 'listen%'"
            )
            await until(lambda: any(line["event"] == "live_updates_paused" for line in told))
        await door.execute(f'alter database "{name}" allow_connections true')
        await until(lambda: ear.times_back == 2)
        await say(database, tasks=[uuid4()])
        await until(lambda: ear.changes)


@asynccontextmanager
async def another(url: str, name: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url, database=name)
    try:
        yield connection
    finally:
        await connection.close()
