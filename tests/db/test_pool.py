import asyncpg
import pytest

from comfylabel.db.pool import Database


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
