"""What storing a plan can cost at best: COPY of the same rows, made before, from a file in PostgreSQL's binary form."""

from pathlib import Path

import asyncpg


async def copy_rows(url: str, files: dict[str, Path]) -> None:
    """`files`: the rows of each table, in the order in which they must come; one transaction."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for table, file in files.items():
                await connection.copy_to_table(table, source=file, format="binary")
    finally:
        await connection.close()
