import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from comfylabel.db.pool import AWAY, Database


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


async def test_a_transaction_by_index_ends_with_all_that_it_set(database_url: str):
    database = await Database.connect(database_url, max_size=1)
    said: list[str] = []
    async with database.pool.acquire() as connection:
        connection.add_query_logger(lambda record: said.append(record.query))
    async with database.transaction_by_index() as connection:
        assert await connection.fetchval("show enable_seqscan") == "off"
        await connection.execute("create table made (id int)")
    async with database.connection() as connection:
        assert await connection.fetchval("show enable_seqscan") == "on"
        assert await connection.fetchval("select to_regclass('made')") is not None
    await database.close()

    assert len(said) == 6  # its own begin and commit, and the four above


@pytest.mark.parametrize("way", [Database.transaction, Database.transaction_by_index])
async def test_what_failed_leaves_no_transaction_open(database_url: str, way: Callable[[Database], Any]):
    database = await Database.connect(database_url, max_size=1)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with way(database) as connection:
            await connection.execute("create table half_done (id int)")
            await connection.execute("select 1 / 0")
    async with database.connection() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("select to_regclass('half_done')") is None
    await database.close()


@pytest.mark.parametrize("way", [Database.transaction, Database.transaction_by_index])
async def test_who_is_cancelled_leaves_no_transaction_open(database_url: str, way: Callable[[Database], Any]):
    database = await Database.connect(database_url, max_size=1)
    began = asyncio.Event()

    async def wait_for_ever() -> None:
        async with way(database) as connection:
            began.set()
            await connection.execute("select pg_sleep(1000)")

    waiting = asyncio.create_task(wait_for_ever())
    await began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with database.connection() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("select 1") == 1
    await database.close()


@pytest.mark.parametrize("way", [Database.transaction, Database.transaction_by_index])
async def test_a_connection_that_dies_in_a_transaction_is_replaced(database_url: str, way: Callable[[Database], Any]):
    database = await Database.connect(database_url, max_size=1)
    with pytest.raises(AWAY):
        async with way(database) as connection:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")
    async with database.connection() as connection:
        assert await connection.fetchval("select 1") == 1
    await database.close()
