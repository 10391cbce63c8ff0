"""SQL of freeze and of what follows it: the rows of the plan, made inside the database from prompts and seeds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.plan import milliseconds

# Whole milliseconds: the ids of the task's generations carry them.
_NOW = "select date_trunc('milliseconds', now())"


async def now(connection: Connection) -> datetime:
    """The transaction's time."""
    moment: datetime = await connection.fetchval(_NOW)
    return moment


_FREEZE = """
update tasks set state = $2, frozen_at = $3, batch_size = $4, frozen_snapshot = $5, digest = $6, updated_at = now()
where id = $1
"""


async def freeze(
    connection: Connection,
    task_id: UUID,
    *,
    state: TaskState,
    frozen_at: datetime,
    batch_size: int,
    frozen_snapshot: Mapping[str, Any],
    digest: str,
) -> None:
    await connection.execute(_FREEZE, task_id, state, frozen_at, batch_size, frozen_snapshot, digest)


def _uuid7_sql(milliseconds_hex: str, digest: str) -> str:
    """SQL of a UUIDv7 whose random bits are those of `digest` (hex): the same as plan.generation_id."""
    variant = f"translate(substr({digest}, 4, 1), '0123456789abcdef', '89ab89ab89ab89ab')"
    return f"({milliseconds_hex} || '7' || substr({digest}, 1, 3) || {variant} || substr({digest}, 5, 15))::uuid"


_INSERT_BATCHES = f"""
insert into batches (id, task_id, prompt_id, position, total)
select {_uuid7_sql("$2", "d.digest")}, p.task_id, p.id, p.position, $3
from prompts p
cross join lateral (select encode(sha256(convert_to(p.id::text || ':batch', 'UTF8')), 'hex') as digest) d
where p.task_id = $1
order by p.position
"""

# A chunk is sent with the seed of its first image; all its rows record that seed.
_INSERT_GENERATIONS = f"""
insert into generations (id, task_id, prompt_id, seed_id, batch_id, position, chunk, seed_value, batch_index,
  batch_size, metadata)
select {_uuid7_sql("$2", "image.digest")}, $1, image.prompt_id, first.id, image.batch_id, image.position,
  image.position / $4, first.seed_value, image.position % $4, least($4, $3 - image.position / $4 * $4), $5
from (
  select b.prompt_id, b.id as batch_id, b.position as prompt_position, s.position,
    encode(sha256(convert_to(b.prompt_id::text || ':' || s.position, 'UTF8')), 'hex') as digest
  from batches b join seeds s on s.prompt_id = b.prompt_id
  where b.task_id = $1
) image
join seeds first on first.prompt_id = image.prompt_id and first.position = image.position / $4 * $4
order by image.prompt_position, image.position
"""


async def insert_plan(
    connection: Connection,
    task_id: UUID,
    *,
    frozen_at: datetime,
    seeds_per_prompt: int,
    batch_size: int,
    metadata: Mapping[str, Any],
) -> None:
    """One batch a prompt, one generation an image. A second call meets the primary keys."""
    milliseconds_hex = f"{milliseconds(frozen_at):012x}"
    await connection.execute(_INSERT_BATCHES, task_id, milliseconds_hex, seeds_per_prompt)
    await connection.execute(_INSERT_GENERATIONS, task_id, milliseconds_hex, seeds_per_prompt, batch_size, metadata)


# --- running again

# In the order in which everybody locks several of them: images that were made before a cancel are still being stored.
# What is under way may fail yet; nothing is sent while the task is locked.
_LOCK_BATCHES = """
select from batches
where task_id = $1 and done < total
  and (failed > 0 or running > 0 or reason is not null or retries_used > 0 or losses > 0)
order by id for no key update
"""

# Counted, not set to nothing: an image that fails while this waits (what was under way at a cancel) stays failed.
_RETRY_FAILED = """
with retried as (
  update generations set state = 'pending', submission_id = null, worker_id = null, retries_used = 0, updated_at = now()
  where task_id = $1 and state = 'failed' and not pilot returning batch_id)
update batches b set failed = failed - r.images
from (select batch_id, count(*)::int as images from retried group by batch_id) r where b.id = r.batch_id
"""

# A batch without a missing image is done: nothing of it changes. `ready_at` stays: readiness comes once and for good.
_NEW_BUDGET = """
update batches set retries_used = 0, losses = 0, reason = case when failed > 0 then reason end
where task_id = $1 and done < total and (reason is not null or retries_used > 0 or losses > 0)
"""

# Ordered, because the planner would rather read the table for the first match than open an index.
_HAS_MISSING = "select true from batches where task_id = $1 and done < total order by task_id, position limit 1"


async def has_missing_images(connection: Connection, task_id: UUID) -> bool:
    return bool(await connection.fetchval(_HAS_MISSING, task_id))


async def retry_failed(connection: Connection, task_id: UUID) -> None:
    """What failed is pending again, with a new budget of retries. With the task locked."""
    await connection.execute(_LOCK_BATCHES, task_id)
    await connection.execute(_RETRY_FAILED, task_id)
    await connection.execute(_NEW_BUDGET, task_id)
