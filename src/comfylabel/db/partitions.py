"""The monthly partitions of `generations`. Bounds are month starts as UUIDv7: the primary key stays `(id)`.

`generations_default` catches a row of a month that has no partition: nothing is lost, but then PostgreSQL
refuses to make that month. `repair_partitions` moves such strays where they belong.
"""

from datetime import UTC, datetime

import asyncpg
import structlog

from comfylabel.db.ids import uuid7_floor, uuid7_time
from comfylabel.db.pool import Connection

_log = structlog.get_logger()

# Two replicas that start together make the same months. The number only has to be ours.
_LOCK = "select pg_advisory_xact_lock(1668246892)"

_PARTITION_EXISTS = "select to_regclass($1) is not null"


async def ensure_partitions(connection: Connection, now: datetime, months_ahead: int = 2) -> list[str]:
    """Make the month of `now` and the ones after it; the names of those that were missing and could be made.

    A month whose rows are in the default partition cannot be made: that takes `repair_partitions`, which
    locks the table, and so is an admin's choice.
    """
    made = []
    async with connection.transaction():
        await connection.execute(_LOCK)
        month = _month_of(now)
        for _ in range(months_ahead + 1):
            if not await connection.fetchval(_PARTITION_EXISTS, _name(month)):
                try:
                    async with connection.transaction():
                        await _create(connection, month)
                    made.append(_name(month))
                except asyncpg.CheckViolationError:
                    _log.warning("partition_needs_repair", partition=_name(month))
            month = _next(month)
    return made


_COUNT_STRAYS = "select count(*) from generations_default"


async def count_strays(connection: Connection) -> int:
    count: int = await connection.fetchval(_COUNT_STRAYS)
    return count


# `min(uuid)` is younger than PostgreSQL 16.
_FIRST_STRAY = "select id from generations_default order by id limit 1"

# A row that annotations point at cannot leave the default partition and come back under its foreign keys,
# so they are taken away and put back, checked, in the same transaction.
_FOREIGN_KEYS = """
select conrelid::regclass::text as child, quote_ident(conname) as name,
  pg_get_constraintdef(oid) as definition
from pg_constraint
where contype = 'f' and confrelid = 'generations'::regclass and conparentid = 0
order by 1, 2
"""

_TAKE_OUT = """
with moved as (delete from generations_default where id >= $1 and id < $2 returning *)
insert into moving_generations select * from moved
"""


async def repair_partitions(connection: Connection) -> int:
    """Move every stray into a partition of its month; how many there were. Locks `generations` meanwhile."""
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute("lock table generations in access exclusive mode")
        strays = await count_strays(connection)
        if strays == 0:
            return 0
        foreign_keys = await connection.fetch(_FOREIGN_KEYS)
        for key in foreign_keys:
            await connection.execute(f"alter table {key['child']} drop constraint {key['name']}")
        await connection.execute("create temporary table moving_generations (like generations) on commit drop")
        while (first := await connection.fetchval(_FIRST_STRAY)) is not None:
            month = _month_of(uuid7_time(first))
            await connection.execute(_TAKE_OUT, uuid7_floor(month), uuid7_floor(_next(month)))
            await _create(connection, month)
        await connection.execute("insert into generations select * from moving_generations")
        for key in foreign_keys:
            await connection.execute(f"alter table {key['child']} add constraint {key['name']} {key['definition']}")
    return strays


async def _create(connection: Connection, month: datetime) -> None:
    lower, upper = uuid7_floor(month), uuid7_floor(_next(month))
    await connection.execute(
        f"create table {_name(month)} partition of generations for values from ('{lower}') to ('{upper}')"
    )


def _name(month: datetime) -> str:
    return f"generations_{month:%Y%m}"


def _month_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
