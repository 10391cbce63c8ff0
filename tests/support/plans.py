"""How PostgreSQL would run a statement of ours on a crowded database, whatever the values are."""

from typing import Any

from comfylabel.db.pool import PLAN_BY_INDEX, Connection


async def plan(connection: Connection, sql: str, *arguments: Any, by_index: bool = False) -> str:
    """The generic plan: what a prepared statement runs from its sixth execution on.

    `by_index`: as the pool of labelling plans.
    """
    prepared = await connection.prepare(sql)
    literals = []
    for argument, parameter in zip(arguments, prepared.get_parameters(), strict=True):
        text = await connection.fetchval(f"select quote_nullable(($1::{parameter.name})::text)", argument)
        literals.append(f"{text}::{parameter.name}")
    await connection.execute(f"prepare planned as {sql}")
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("set local plan_cache_mode = force_generic_plan")
        for setting in PLAN_BY_INDEX if by_index else ():
            await connection.execute(f"set local {setting} = off")
        values = f"({', '.join(literals)})" if literals else ""
        lines = await connection.fetch(f"explain (costs off) execute planned{values}")
    finally:
        await transaction.rollback()
        await connection.execute("deallocate planned")  # not all: asyncpg keeps statements of its own
    return "\n".join(line[0] for line in lines)
