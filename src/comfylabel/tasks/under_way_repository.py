"""SQL on what of tasks is under way on workers."""

from collections.abc import Sequence
from uuid import UUID

from comfylabel.db.pool import Connection

_HELD = """
select worker_id, count(*)::int as held from submissions
where task_id = $1 and ended_at is null and pilot_id is null group by worker_id
"""


async def held_by_workers(connection: Connection, task_id: UUID) -> dict[UUID, int]:
    """Worker id -> submissions of the task there that have not ended."""
    return {row["worker_id"]: row["held"] for row in await connection.fetch(_HELD, task_id)}


_WITHOUT_OPEN = """
select t.id from unnest($1::uuid[]) t (id)
where not exists (select from submissions s where s.task_id = t.id and s.ended_at is null and s.pilot_id is null)
"""


async def without_open_submissions(connection: Connection, task_ids: Sequence[UUID]) -> set[UUID]:
    """Those of which no image is under way any more."""
    return {row["id"] for row in await connection.fetch(_WITHOUT_OPEN, task_ids)}
