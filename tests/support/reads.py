"""What the statements of one connection read, counted by PostgreSQL: rows and blocks, which no busy machine changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from comfylabel.db.pool import Connection, Database


@dataclass
class Reads:
    """Of one table: rows read from end to end, rows found by an index, blocks of its indexes, blocks of its own."""

    scanned: int
    fetched: int
    index_blocks: int
    blocks: int

    def since(self, before: "Reads") -> "Reads":
        return Reads(
            self.scanned - before.scanned,
            self.fetched - before.fetched,
            self.index_blocks - before.index_blocks,
            self.blocks - before.blocks,
        )


_READS = """
select coalesce(t.seq_tup_read, 0), coalesce(t.idx_tup_fetch, 0),
  coalesce(i.idx_blks_read, 0) + coalesce(i.idx_blks_hit, 0),
  coalesce(i.heap_blks_read, 0) + coalesce(i.heap_blks_hit, 0)
from pg_stat_user_tables t join pg_statio_user_tables i using (relid) where t.relname = $1
"""


@asynccontextmanager
async def counted(database: Database, table: str) -> AsyncIterator[Reads]:
    """`database` has one connection. What its statements read of `table` meanwhile."""
    async with database.connection() as connection:
        before = await _reads(connection, table)
    reads = Reads(0, 0, 0, 0)
    yield reads
    async with database.connection() as connection:
        found = (await _reads(connection, table)).since(before)
    reads.__dict__.update(found.__dict__)


async def _reads(connection: Connection, table: str) -> Reads:
    await connection.execute("select pg_stat_force_next_flush()")
    row = await connection.fetchrow(_READS, table)
    assert row is not None
    return Reads(*row)
