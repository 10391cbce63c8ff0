"""SQL on the counters of batches: never a count over generations."""

from collections.abc import Sequence
from uuid import UUID

from comfylabel.db.pool import Connection, Record
from comfylabel.generations.progress import Counts, FailureReason, PromptProgress, Totals

_TOTALS = """
select task_id, coalesce(sum(total), 0)::bigint as total, coalesce(sum(done), 0)::bigint as done,
  coalesce(sum(running), 0)::bigint as running, coalesce(sum(failed), 0)::bigint as failed,
  count(*) as prompts, count(*) filter (where done = total) as whole_prompts,
  count(*) filter (where failed > 0) as failed_prompts, count(ready_at) as ready_batches
from batches where task_id = any($1) group by task_id
"""


async def totals(connection: Connection, task_ids: Sequence[UUID]) -> dict[UUID, Totals]:
    """Of the frozen ones: a task in DRAFT has no batches."""
    rows = await connection.fetch(_TOTALS, task_ids)
    return {
        row["task_id"]: Totals(
            _counts(row), row["prompts"], row["whole_prompts"], row["failed_prompts"], row["ready_batches"]
        )
        for row in rows
    }


# So much of a prompt's text tells which one it is; ten thousand whole ones would be a heavy answer to poll.
TEXT_SHOWN = 300

_PAGE = f"""
select b.prompt_id, b.position, left(p.text, {TEXT_SHOWN}) as text, b.total, b.done, b.running, b.failed,
  b.retries_used, b.reason
from (
  select * from batches where task_id = $1 and position > $2 and (failed > 0 or not $4::boolean)
  order by position limit $3
) b join prompts p on p.id = b.prompt_id order by b.position
"""


async def page(
    connection: Connection, task_id: UUID, after_position: int, limit: int, *, only_failed: bool = False
) -> list[PromptProgress]:
    """`only_failed`: those with an image that was given up."""
    rows = await connection.fetch(_PAGE, task_id, after_position, limit, only_failed)
    return [
        PromptProgress(row["prompt_id"], row["position"], row["text"], _counts(row), row["retries_used"], row["reason"])
        for row in rows
    ]


_UNTOUCHED = f"""
select id, position, left(text, {TEXT_SHOWN}) from prompts where task_id = $1 and position > $2
order by position limit $3
"""


async def untouched_page(
    connection: Connection, task_id: UUID, after_position: int, limit: int
) -> list[tuple[UUID, int, str]]:
    """(id, position, beginning of the text) in a task that has no batches yet."""
    return [tuple(row) for row in await connection.fetch(_UNTOUCHED, task_id, after_position, limit)]


_REASONS = """
select reason, count(*) as prompts from batches
where task_id = $1 and failed > 0 group by reason order by prompts desc, reason limit $2
"""


async def reasons(connection: Connection, task_id: UUID, limit: int) -> list[FailureReason]:
    """Why images failed, the most frequent first."""
    rows = await connection.fetch(_REASONS, task_id, limit)
    return [FailureReason(row["reason"], row["prompts"]) for row in rows]


def _counts(row: Record) -> Counts:
    return Counts(row["total"], row["done"], row["running"], row["failed"])
