"""All SQL on `variable_pools`."""

import uuid
from collections.abc import Sequence
from typing import Any

from comfylabel.db.pool import Connection, Record
from comfylabel.errors import InvalidField
from comfylabel.variable_pools.schemas import VariablePool, VariablePoolRow

_INSERT_FIRST = """
insert into variable_pools (id, name, version, mode, items) values ($1, $2, 1, $3, $4)
on conflict (name, version) do nothing
returning id, name, version, mode, cardinality(items) as item_count, created_at
"""


async def insert_first(
    connection: Connection, *, pool_id: uuid.UUID, name: str, mode: str, items: Sequence[str]
) -> VariablePoolRow | None:
    """Version 1 of a new pool; None when the name is taken."""
    row = await connection.fetchrow(_INSERT_FIRST, pool_id, name, mode, items)
    return _row(row) if row else None


_LOCK_NAME = "select id from variable_pools where name = $1 and version = 1 for update"

_INSERT_NEXT = """
insert into variable_pools (id, name, version, mode, items)
select $1, $2, max(version) + 1, $3, $4 from variable_pools where name = $2
returning id, name, version, mode, cardinality(items) as item_count, created_at
"""


async def insert_next(
    connection: Connection, *, pool_id: uuid.UUID, name: str, mode: str, items: Sequence[str]
) -> VariablePoolRow:
    """The next version of the pool `name`; two at once come one after the other."""
    await connection.execute(_LOCK_NAME, name)
    return _row(await connection.fetchrow(_INSERT_NEXT, pool_id, name, mode, items))


_GET_ROW = """
select id, name, version, mode, cardinality(items) as item_count, created_at from variable_pools where id = $1
"""


async def get_row(connection: Connection, pool_id: uuid.UUID) -> VariablePoolRow | None:
    row = await connection.fetchrow(_GET_ROW, pool_id)
    return _row(row) if row else None


_GET = "select id, name, version, mode, items from variable_pools where id = $1"


async def get(connection: Connection, pool_id: uuid.UUID) -> VariablePool | None:
    row = await connection.fetchrow(_GET, pool_id)
    return _pool(row) if row else None


_ITEMS = "select items[$2::int + 1 : $2::int + $3::int] from variable_pools where id = $1"


async def items(connection: Connection, pool_id: uuid.UUID, *, start: int, limit: int) -> list[str]:
    found: list[str] = await connection.fetchval(_ITEMS, pool_id, start, limit)
    return found


_LIST_NEWEST = """
select id, name, version, mode, cardinality(items) as item_count, created_at
from variable_pools as pool
where not exists (select from variable_pools where name = pool.name and version > pool.version)
  and ($1::text is null or (name, version) > ($1, $2))
order by name, version
limit $3
"""

_LIST_VERSIONS = """
select id, name, version, mode, cardinality(items) as item_count, created_at
from variable_pools
where name = $4 and ($1::text is null or (name, version) > ($1, $2))
order by name, version
limit $3
"""


async def list_rows(
    connection: Connection, *, name: str | None, after: tuple[str, int] | None, limit: int
) -> list[VariablePoolRow]:
    """The newest version of every pool, or all versions of the pool `name`."""
    position = after or (None, None)
    if name is None:
        rows = await connection.fetch(_LIST_NEWEST, *position, limit)
    else:
        rows = await connection.fetch(_LIST_VERSIONS, *position, limit, name)
    return [_row(row) for row in rows]


_NEWEST_BY_NAME = """
select id, name, version, mode, items from variable_pools where name = $1 order by version desc limit 1
"""


async def resolve(connection: Connection, refs: Sequence[str]) -> list[VariablePool]:
    """The pools that `variable_pool_ids` names, in that order; an id means that version, a name its newest."""
    pools: list[VariablePool] = []
    for position, ref in enumerate(refs):
        path = f"variable_pool_ids[{position}]"
        pool = await _by_id_or_name(connection, ref)
        if pool is None:
            raise InvalidField(path, f"names no variable pool: {ref!r}")
        if any(other.name == pool.name for other in pools):
            raise InvalidField(path, f"names the pool {pool.name!r} a second time")
        pools.append(pool)
    return pools


async def _by_id_or_name(connection: Connection, ref: str) -> VariablePool | None:
    if "\x00" in ref:
        return None
    try:
        by_id = await get(connection, uuid.UUID(ref))
    except ValueError:
        by_id = None
    if by_id is not None:
        return by_id
    row = await connection.fetchrow(_NEWEST_BY_NAME, ref)
    return _pool(row) if row else None


def _pool(row: Record) -> VariablePool:
    values: dict[str, Any] = dict(row)
    return VariablePool(**values | {"items": tuple(values["items"])})


def _row(row: Record | None) -> VariablePoolRow:
    assert row is not None
    return VariablePoolRow(**dict(row))
