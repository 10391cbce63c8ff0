"""SQL on prompts and their seeds: the plan of a task in DRAFT, and reading it ever after."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from comfylabel.db.pool import Connection, Record
from comfylabel.errors import WrongState
from comfylabel.tasks.schemas import Prompt, Seed

# What the guards of the schema raise: a prompt or a seed of a frozen task was to be changed.
FROZEN_SQLSTATE = "CL001"

_COLUMNS = """
p.id, p.position, p.text, p.variables, p.edited,
  (select array_agg(s.id order by s.position) from seeds s where s.prompt_id = p.id) as seed_ids,
  (select array_agg(s.seed_value order by s.position) from seeds s where s.prompt_id = p.id) as seed_values
"""


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """The database's own refusal to change what is frozen, as the API says it."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if error.sqlstate != FROZEN_SQLSTATE:
            raise
        raise WrongState("The task is frozen: its prompts and seeds cannot change.") from error


# --- reading

_PAGE = f"""
select {_COLUMNS} from prompts p where p.task_id = $1 and p.position > $2 order by p.position limit $3
"""
BEFORE_FIRST = -1
# A prompt may have 1000 seeds: what bounds the memory of a page is their number (some 20 MB as Python objects).
MAX_SEEDS_A_PAGE = 100_000


def page_limit(limit: int, seeds_per_prompt: int) -> int:
    """How many prompts a page may hold when `limit` are asked for; at least one."""
    return max(1, min(limit, MAX_SEEDS_A_PAGE // seeds_per_prompt))


async def page(connection: Connection, task_id: UUID, after_position: int, limit: int) -> list[Prompt]:
    rows = await connection.fetch(_PAGE, task_id, after_position, limit)
    return [_prompt(row) for row in rows]


_IN_ORDER = f"select {_COLUMNS} from prompts p where p.task_id = $1 order by p.position"


async def in_order(connection: Connection, task_id: UUID, seeds_per_prompt: int) -> AsyncIterator[Prompt]:
    """All of them through a cursor, for a transaction that has locked the task."""
    async for row in connection.cursor(_IN_ORDER, task_id, prefetch=page_limit(1000, seeds_per_prompt)):
        yield _prompt(row)


_ONE = f"select {_COLUMNS} from prompts p where p.task_id = $1 and p.id = $2"


async def one(connection: Connection, task_id: UUID, prompt_id: UUID) -> Prompt | None:
    row = await connection.fetchrow(_ONE, task_id, prompt_id)
    return _prompt(row) if row else None


_BY_ID = f"select {_COLUMNS} from prompts p where p.id = any($1)"


async def by_id(connection: Connection, prompt_ids: Iterable[UUID]) -> dict[UUID, Prompt]:
    """Those that exist."""
    rows = await connection.fetch(_BY_ID, list(prompt_ids))
    return {row["id"]: _prompt(row) for row in rows}


# Prompts of one task share their graph, so the text's length alone orders them (tasks/cost.py has the rule).
_HEAVIEST = f"""
select {_COLUMNS} from prompts p where p.task_id = $1 order by length(p.text) desc, p.position limit $2
"""


async def heaviest(connection: Connection, task_id: UUID, limit: int) -> list[Prompt]:
    rows = await connection.fetch(_HEAVIEST, task_id, limit)
    return [_prompt(row) for row in rows]


# --- writing


async def copy_prompts(
    connection: Connection, rows: AsyncIterator[tuple[UUID, UUID, int, str, dict[str, Any]]]
) -> None:
    """`rows`: (id, task_id, position, text, variables), streamed."""
    await connection.copy_records_to_table(
        "prompts", records=rows, columns=("id", "task_id", "position", "text", "variables")
    )


async def copy_seeds(connection: Connection, rows: AsyncIterator[tuple[UUID, UUID, int, int]]) -> None:
    """`rows`: (id, prompt_id, position, seed_value), streamed."""
    await connection.copy_records_to_table("seeds", records=rows, columns=("id", "prompt_id", "position", "seed_value"))


_NEXT_POSITION = "select coalesce(max(position) + 1, 0) from prompts where task_id = $1"


async def next_position(connection: Connection, task_id: UUID) -> int:
    position: int = await connection.fetchval(_NEXT_POSITION, task_id)
    return position


_INSERT = "insert into prompts (id, task_id, position, text, variables, edited) values ($1, $2, $3, $4, $5, $6)"

_INSERT_SEEDS = """
insert into seeds (id, prompt_id, position, seed_value)
select id, $1, number - 1, seed_value from unnest($2::uuid[], $3::bigint[]) with ordinality as s(id, seed_value, number)
"""


async def insert(connection: Connection, task_id: UUID, prompt: Prompt) -> None:
    await connection.execute(_INSERT, prompt.id, task_id, prompt.position, prompt.text, prompt.variables, prompt.edited)
    await connection.execute(
        _INSERT_SEEDS, prompt.id, [seed.id for seed in prompt.seeds], [seed.value for seed in prompt.seeds]
    )


_CHANGE = "update prompts set text = coalesce($2, text), edited = true where id = $1"

_CHANGE_SEEDS = """
update seeds set seed_value = s.seed_value
from unnest($2::bigint[]) with ordinality as s(seed_value, number)
where seeds.prompt_id = $1 and seeds.position = s.number - 1
"""


async def change(connection: Connection, prompt_id: UUID, *, text: str | None, seeds: Sequence[int] | None) -> None:
    await connection.execute(_CHANGE, prompt_id, text)
    if seeds is not None:
        await connection.execute(_CHANGE_SEEDS, prompt_id, list(seeds))


# The pictures that a pilot made of the prompt point at it; they void with the edit. Other generations exist only
# after freeze.
_DELETE_PILOT_IMAGES = "delete from generations where task_id = $1 and prompt_id = $2 and pilot"

_DELETE = "delete from prompts where task_id = $1 and id = $2"


async def delete(connection: Connection, task_id: UUID, prompt_id: UUID) -> None:
    """With its seeds."""
    await connection.execute(_DELETE_PILOT_IMAGES, task_id, prompt_id)
    await connection.execute(_DELETE, task_id, prompt_id)


def _prompt(row: Record) -> Prompt:
    seeds = zip(row["seed_ids"] or (), row["seed_values"] or (), strict=True)
    return Prompt(
        row["id"],
        row["position"],
        row["text"],
        row["variables"],
        row["edited"],
        tuple(Seed(seed_id, value) for seed_id, value in seeds),
    )
