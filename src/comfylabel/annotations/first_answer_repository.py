"""SQL of the ordinary answer, which nearly all are: the first one to its batch, in one round trip.

It locks as every answer does and stores only where nothing has to be weighed: the batch is open and as it was when the
statement began (see answers_repository.HOLD), nobody has answered it, the client_id is new, the images are there, the
variant is known. Anything else is left to be looked at: then it stores nothing and says so.
"""

from collections.abc import Collection
from uuid import UUID

from comfylabel.annotations.answer import Answer
from comfylabel.annotations.answers_repository import LOCKED
from comfylabel.annotations.schemas import NewAnnotation
from comfylabel.db.pool import Connection

# The answer takes the place of the person's lease, or a free one: with nobody else's answer there, it counts.
STORE = f"""
with {LOCKED}, image as materialized (
  select candidate_index, id from generations where batch_id = $2 and candidate_index = any($5::int[])
), ordinary as materialized (
  select batch.id, batch.task_id, batch.prompt_id, assigned.variant_key
  from task cross join batch
  left join ab_assignments assigned on assigned.test_id = task.ab_test_id and assigned.user_id = $3
  where task.state = any($6) and batch.task_id = task.id and not batch.closed
    and batch.candidates = coalesce($7, batch.candidates)
    and batch.version = (select xmin from batches where id = $2)
    and (select count(*) from image) = cardinality($5::int[])
    and (task.ab_test_id is null or assigned.variant_key is not null)
    and not exists (select from annotations where batch_id = $2)
    and not exists (select from annotations where user_id = $3 and client_id = $4)
    and not exists (select from annotation_history where user_id = $3 and client_id = $4)
    and not exists (select from annotation_history where user_id = $3 and undone_by = $4)
), lease as (
  delete from leases using ordinary where batch_id = ordinary.id and user_id = $3 returning true
), inserted as (
  insert into annotations (
    id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, rejected_index, chosen_generation_id,
    rejected_generation_id, variant_key, client_id, slot_order, elapsed_ms, created_at, updated_at)
  select $8, id, task_id, prompt_id, $3, $9, $10, $11, (select id from image where candidate_index = $10),
    (select id from image where candidate_index = $11), variant_key, $4, $12, $13, turn, turn
  from ordinary cross join clock_timestamp() turn
), changed as (
  update batches b set taken = b.taken + 1 - (select count(*) from lease) from ordinary
  where b.id = ordinary.id returning b.task_id
)
insert into labellers (task_id, user_id, answered) select task_id, $3, 1 from changed
on conflict (task_id, user_id) do update set
  answered = labellers.answered + 1, seen_at = greatest(labellers.seen_at, clock_timestamp())
returning true
"""


async def store(
    connection: Connection,
    annotation_id: UUID,
    user_id: UUID,
    *,
    given: NewAnnotation,
    answer: Answer,
    labelled_states: Collection[str],
) -> bool:
    """`answer` is a choice or a tie. Of `given`, a slot_order is right for as many candidates as it names."""
    stored = await connection.fetchval(
        STORE,
        given.task_id,
        given.batch_id,
        user_id,
        given.client_id,
        [index for index in (answer.chosen_index, answer.rejected_index) if index is not None],
        list(labelled_states),
        len(given.slot_order) if given.slot_order is not None else None,
        annotation_id,
        answer.kind,
        answer.chosen_index,
        answer.rejected_index,
        given.slot_order,
        given.elapsed_ms,
    )
    return bool(stored)
