import asyncio
from pathlib import Path

import asyncpg
import psycopg
import pytest

from comfylabel.db.migrate import current, migrate, newest
from comfylabel.db.schema_dump import dump

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_url(database_url: str):
    """A database without any table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return database_url


@pytest.mark.postgres_16_too
async def test_an_empty_database_becomes_current(empty_url: str) -> None:
    assert await current(empty_url) is None
    await asyncio.to_thread(migrate, empty_url)
    assert await current(empty_url) == newest()
    await asyncio.to_thread(migrate, empty_url)  # again: nothing to do
    assert await current(empty_url) == newest()


@pytest.mark.postgres_16_too
async def test_several_migrate_at_once_and_one_does_it(empty_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate, empty_url) for _ in range(4)))
    assert await current(empty_url) == newest()


async def test_a_busy_table_stops_a_migration_within_seconds_and_nothing_is_half_done(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migrations set a lock_timeout: a migration that waits must not make every request behind it wait."""
    blocker = await asyncpg.connect(empty_url)
    async with blocker.transaction():
        await blocker.execute("create table users ()")  # the name is taken by a transaction that does not end
        with pytest.raises(Exception, match="lock timeout"):
            await asyncio.to_thread(migrate, empty_url)
        await blocker.execute("drop table users")
    await blocker.close()
    assert await current(empty_url) is None
    await asyncio.to_thread(migrate, empty_url)
    assert await current(empty_url) == newest()


def test_schema_sql_is_what_the_migrations_make(database_url: str) -> None:
    assert dump(database_url) == (ROOT / "schema.sql").read_text(), "run `make schema`"
