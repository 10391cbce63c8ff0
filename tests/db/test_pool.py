import asyncio
import os
import signal

import asyncpg
import pytest

from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import Unavailable
from tests.support.waiting import until


async def test_a_connection_goes_back_without_a_word_to_the_server(database_url: str):
    """asyncpg's own reset would be one more round trip for every request."""
    database = await Database.connect(database_url, max_size=1)
    said: list[str] = []
    async with database.pool.acquire() as connection:
        connection.add_query_logger(lambda record: said.append(record.query))
    async with database.transaction() as connection:
        await connection.execute("set local statement_timeout = '7s'")
    async with database.connection() as connection:
        assert await connection.fetchval("show statement_timeout") == "0"
    await database.close()

    assert said == ["BEGIN;", "set local statement_timeout = '7s'", "COMMIT;", "show statement_timeout"]


@pytest.mark.parametrize(("by_index", "scans"), [(False, "on"), (True, "off")])
async def test_a_pool_by_index_never_plans_to_read_a_table_from_end_to_end(database_url: str, by_index, scans):
    database = await Database.connect(database_url, max_size=1, by_index=by_index)
    for _ in range(2):  # also after it was given back
        async with database.connection() as connection:
            assert await connection.fetchval("show enable_seqscan") == scans
            assert await connection.fetchval("""select '{"a": 1}'::jsonb""") == {"a": 1}
    await database.close()


async def test_what_failed_leaves_no_transaction_open(database_url: str):
    database = await Database.connect(database_url, max_size=1)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.transaction() as connection:
            await connection.execute("create table half_done (id int)")
            await connection.execute("select 1 / 0")
    async with database.connection() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("select to_regclass('half_done')") is None
    await database.close()


async def test_who_is_cancelled_leaves_no_transaction_open(database_url: str):
    database = await Database.connect(database_url, max_size=1)

    async def wait_for_ever() -> None:
        async with database.transaction() as connection:
            await connection.execute("select pg_sleep(1000)")

    waiting = asyncio.create_task(wait_for_ever())
    await _until_it_sleeps(database_url)  # PostgreSQL forgets a cancellation that comes before its statement
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with database.connection() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("select 1") == 1
    await database.close()


async def _until_it_sleeps(database_url: str) -> None:
    watcher = await asyncpg.connect(database_url)
    asleep = (
        "select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())"
    )
    while not await watcher.fetchval(asleep):
        pass
    await watcher.close()


async def test_a_connection_that_dies_in_a_transaction_is_replaced(database_url: str):
    database = await Database.connect(database_url, max_size=1)
    with pytest.raises(AWAY):
        async with database.transaction() as connection:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")
    async with database.connection() as connection:
        assert await connection.fetchval("select 1") == 1
    await database.close()


async def test_a_server_without_a_connection_left_is_away(tmp_path):
    postgres = EmbeddedPostgres(
        tmp_path / "postgres",
        options=("fsync=off", "max_connections=3", "superuser_reserved_connections=0", "max_wal_senders=0"),
    )
    url = await postgres.start()
    taken = []
    try:
        with pytest.raises(AWAY):
            while True:
                taken.append(await asyncpg.connect(url))
    finally:
        for connection in taken:
            await connection.close()
        await postgres.stop()


async def test_a_database_that_is_away_is_said_in_words(tmp_path):
    with pytest.raises(Unavailable, match="The database does not answer: "):
        await Database.connect(f"postgresql:///postgres?host={tmp_path}")


async def test_it_closes_although_the_server_says_nothing_any_more(tmp_path, monkeypatch):
    """Whoever is told to stop stops, be the server frozen while somebody waits for its answer."""
    monkeypatch.setattr("comfylabel.db.pool._CLOSE_SECONDS", 0.2)
    postgres = EmbeddedPostgres(tmp_path / "postgres", options=("fsync=off",))
    database = await Database.connect(await postgres.start(), max_size=1)
    async with database.connection() as connection:
        server = await connection.fetchval("select pg_backend_pid()")
    os.kill(server, signal.SIGSTOP)
    try:
        asking = asyncio.create_task(database.pool.execute("select 1"))
        await until(lambda: database.pool.get_idle_size() == 0)
        asking.cancel()
        async with asyncio.timeout(20):
            await database.close()
            with pytest.raises(asyncio.CancelledError):
                await asking
    finally:
        os.kill(server, signal.SIGCONT)
        await postgres.stop()
