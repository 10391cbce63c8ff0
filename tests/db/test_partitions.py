from datetime import UTC, datetime

from comfylabel.db.partitions import count_strays, ensure_partitions, repair_partitions
from comfylabel.db.pool import Database

PARTITIONS = """
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'generations'::regclass order by 1
"""


async def partitions(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row[0] for row in await connection.fetch(PARTITIONS)]


async def test_months_are_made_once_and_ahead(database: Database) -> None:
    before = set(await partitions(database))
    async with database.transaction() as connection:
        made = await ensure_partitions(connection, datetime(2031, 11, 30, 23, 59, tzinfo=UTC))
    assert made == ["generations_203111", "generations_203112", "generations_203201"]
    async with database.transaction() as connection:
        assert await ensure_partitions(connection, datetime(2031, 11, 1, tzinfo=UTC)) == []
    assert set(await partitions(database)) - before == set(made)
    assert await _strays(database) == 0


async def _strays(database: Database) -> int:
    async with database.connection() as connection:
        return await count_strays(connection)


async def test_on_16(postgres_16: Database) -> None:
    async with postgres_16.transaction() as connection:
        await ensure_partitions(connection, datetime(2031, 11, 30, 23, 59, tzinfo=UTC))
        assert await repair_partitions(connection) == 0
    assert "generations_203112" in await partitions(postgres_16)
