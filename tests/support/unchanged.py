"""For tests of refusals: the error is half of the promise, the other half is that nothing was written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfylabel.db.pool import Connection, Database

# What authentication itself notes while it lets somebody in.
_BESIDE_THE_POINT = ("sessions", "api_tokens", "audit_events", "alembic_version")

_TABLES = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and c.relname <> all($1)
order by c.relname
"""


async def contents(connection: Connection) -> dict[str, str]:
    """One hash for each table over all of its rows."""
    tables = await connection.fetch(_TABLES, _BESIDE_THE_POINT)
    return {
        table: await connection.fetchval(
            f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
        )
        for (table,) in tables
    }


@asynccontextmanager
async def nothing_changes(database: Database) -> AsyncIterator[None]:
    async with database.connection() as connection:
        before = await contents(connection)
    yield
    async with database.connection() as connection:
        after = await contents(connection)
    changed = [table for table in after if after[table] != before[table]]
    assert not changed, f"rows changed in {', '.join(changed)}"
