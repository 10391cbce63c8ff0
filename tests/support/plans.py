"""How PostgreSQL would run a statement of ours on a crowded database, whatever the values are."""

from typing import Any

from comfylabel.db.pool import Connection


async def plan(connection: Connection, sql: str, *arguments: Any, settings: str | None = None) -> str:
    """The generic plan: what a prepared statement runs from its sixth execution on.

    `settings`: calls of set_config that the statement's own transaction begins with.
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
        if settings:
            await connection.execute(f"select {settings}")
        values = f"({', '.join(literals)})" if literals else ""
        lines = await connection.fetch(f"explain (costs off) execute planned{values}")
    finally:
        await transaction.rollback()
        await connection.execute("deallocate planned")  # not all: asyncpg keeps statements of its own
    return "\n".join(line[0] for line in lines)
