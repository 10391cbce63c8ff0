"""SQL of labelling: its tasks, and where an image came from."""

from datetime import datetime
from uuid import UUID

from comfylabel.annotations.hints import AFTER_ALL
from comfylabel.annotations.schemas import LabelledTask
from comfylabel.db.pool import Connection, Record

_TASK = "select id, state, overlap, blind, ab_test_id from tasks where id = $1"


async def task(connection: Connection, task_id: UUID) -> LabelledTask | None:
    row = await connection.fetchrow(_TASK, task_id)
    return LabelledTask(**row) if row else None


HOLD_TASK = f"{_TASK} for key share"


async def hold_task(connection: Connection, task_id: UUID) -> LabelledTask | None:
    """The task stays as it is until the transaction ends. Before any batch: the other order would be a deadlock."""
    row = await connection.fetchrow(HOLD_TASK, task_id)
    return LabelledTask(**row) if row else None


# Counting walks one index per task and no row of another.
_LABELLING_ITEM = """
select t.id as task_id, t.state, t.notes, w.name as workflow, t.blind, t.created_at,
       x.name as ab_test,
       t.target_prompts as batches,
       (select count(*) from batches b where b.task_id = t.id and b.ready_at is not null) as ready_batches,
       coalesce((select answered from labellers l where l.task_id = t.id and l.user_id = $1), 0) as done_by_me
from tasks t join workflows w on w.id = t.workflow_id left join ab_tests x on x.id = t.ab_test_id
"""
LABELLING_ONE = f"{_LABELLING_ITEM} where t.id = $2"


async def labelling_task(connection: Connection, user_id: UUID, task_id: UUID) -> Record | None:
    return await connection.fetchrow(LABELLING_ONE, user_id, task_id)


# Only tasks that hold something to judge.
LABELLING = f"""
{_LABELLING_ITEM}
where t.state in ('RUNNING', 'DONE', 'FAILED') and (t.created_at, t.id) < ($2, $3)
  and exists (select from batches b where b.task_id = t.id and b.ready_at is not null)
order by t.created_at desc, t.id desc limit $4
"""


async def labelling_tasks(
    connection: Connection, user_id: UUID, position: tuple[datetime, UUID] | None, limit: int
) -> list[Record]:
    at, task_id = position or AFTER_ALL
    return await connection.fetch(LABELLING, user_id, at, task_id, limit)


_GENERATION = """
select g.id, g.task_id, g.batch_id, g.prompt_id, p.text as prompt, g.pilot, g.state, g.candidate_index,
       g.width, g.height, g.bytes, g.checksum as sha256, g.image_uri, g.thumbnail_uri, g.preview_uri,
       g.seed_value as seed, g.batch_index, g.batch_size, g.worker_id, w.name as worker, g.submission_id,
       g.metadata, g.created_at, t.blind
from generations g
join prompts p on p.id = g.prompt_id
join tasks t on t.id = g.task_id
left join workers w on w.id = g.worker_id
where g.id = $1
"""


async def generation(connection: Connection, generation_id: UUID) -> Record | None:
    return await connection.fetchrow(_GENERATION, generation_id)
