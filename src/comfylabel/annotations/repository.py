"""SQL of labelling: tasks, answers and their history."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from comfylabel.annotations.answer import Answer, Kind
from comfylabel.annotations.schemas import LabelledTask, ReadyBatch, StoredAnnotation
from comfylabel.db.pool import Connection, Record

_TASK = "select id, state, overlap, blind, ab_test_id from tasks where id = $1"


async def task(connection: Connection, task_id: UUID) -> LabelledTask | None:
    row = await connection.fetchrow(_TASK, task_id)
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
AFTER_ALL = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))


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


# The task before the batch, as everybody who takes both does: the other order would be a deadlock.
HOLD_TASK = f"{_TASK} for key share"
LOCK_BATCH = """
select id, task_id, prompt_id, candidates, spam_at is not null as closed
from batches where id = $1 for no key update
"""


async def hold_task(connection: Connection, task_id: UUID) -> LabelledTask | None:
    row = await connection.fetchrow(HOLD_TASK, task_id)
    return LabelledTask(**row) if row else None


async def lock_batch(connection: Connection, batch_id: UUID) -> ReadyBatch | None:
    """Answers to one batch take turns, so that two of them never both see the last free place."""
    row = await connection.fetchrow(LOCK_BATCH, batch_id)
    return ReadyBatch(**row) if row else None


# In the order in which they wait for a place: see overlap.py.
ANSWERS = """
select id, user_id, kind, surplus, client_id from annotations
where batch_id = $1 order by surplus, updated_at, id
"""


async def answers_of(connection: Connection, batch_id: UUID) -> list[StoredAnnotation]:
    return [
        StoredAnnotation(row["id"], row["user_id"], Kind(row["kind"]), row["surplus"], row["client_id"])
        for row in await connection.fetch(ANSWERS, batch_id)
    ]


CLIENT_ID_ELSEWHERE = """
select exists (select from annotations where user_id = $1 and client_id = $2 and batch_id <> $3)
"""


async def client_id_used_elsewhere(connection: Connection, user_id: UUID, client_id: str, batch_id: UUID) -> bool:
    return bool(await connection.fetchval(CLIENT_ID_ELSEWHERE, user_id, client_id, batch_id))


_CLIENT_ID_REPLACED = """
select exists (select from annotation_history where annotation_id = $1 and answer ->> 'client_id' = $2)
"""


async def client_id_replaced(connection: Connection, annotation_id: UUID, client_id: str) -> bool:
    """Whether this answer once came under that id and was changed since: an outbox may send late."""
    return bool(await connection.fetchval(_CLIENT_ID_REPLACED, annotation_id, client_id))


CANDIDATES = """
select candidate_index, id from generations where batch_id = $1 and candidate_index = any($2::int[])
"""


async def candidates(connection: Connection, batch_id: UUID, indexes: Collection[int]) -> Mapping[int, UUID]:
    rows = await connection.fetch(CANDIDATES, batch_id, list(indexes))
    return {row["candidate_index"]: row["id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Filled:
    """An answer with all that is stored beside it."""

    answer: Answer
    chosen_generation_id: UUID | None
    rejected_generation_id: UUID | None
    surplus: bool
    slot_order: list[int] | None
    variant_key: str | None
    client_id: str | None
    elapsed_ms: int | None

    def arguments(self) -> tuple[Any, ...]:
        return (
            self.answer.kind,
            self.answer.chosen_index,
            self.answer.rejected_index,
            self.chosen_generation_id,
            self.rejected_generation_id,
            self.answer.kind is Kind.SPAM,
            self.surplus,
            self.slot_order,
            self.variant_key,
            self.client_id,
            self.elapsed_ms,
        )


# clock_timestamp, not now(): the time inside the lock, so that answers stand in the order of their turns.
_INSERT = """
insert into annotations (
  kind, chosen_index, rejected_index, chosen_generation_id, rejected_generation_id, spam, surplus,
  slot_order, variant_key, client_id, elapsed_ms,
  id, batch_id, task_id, prompt_id, user_id, created_at, updated_at)
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, turn, turn
from clock_timestamp() turn
"""


async def insert(connection: Connection, annotation_id: UUID, batch: ReadyBatch, user_id: UUID, filled: Filled) -> None:
    await connection.execute(
        _INSERT, *filled.arguments(), annotation_id, batch.id, batch.task_id, batch.prompt_id, user_id
    )


_KEEP_OLD = """
insert into annotation_history (id, annotation_id, answer)
select $1, a.id, to_jsonb(a) from annotations a where a.id = $2
"""
_REPLACE = """
update annotations set kind = $1, chosen_index = $2, rejected_index = $3, chosen_generation_id = $4,
  rejected_generation_id = $5, spam = $6, surplus = $7, slot_order = $8, variant_key = $9, client_id = $10,
  elapsed_ms = $11, updated_at = clock_timestamp()
where id = $12
"""


async def replace(connection: Connection, history_id: UUID, annotation_id: UUID, filled: Filled) -> None:
    await connection.execute(_KEEP_OLD, history_id, annotation_id)
    await connection.execute(_REPLACE, *filled.arguments(), annotation_id)


_COUNT_NOW = "update annotations set surplus = false where id = any($1)"


async def count_now(connection: Connection, annotation_ids: Collection[UUID]) -> None:
    await connection.execute(_COUNT_NOW, list(annotation_ids))


_CLOSE = "update batches set spam_at = now() where id = $1"
_REOPEN = "update batches set spam_at = null where id = $1"


async def set_closed(connection: Connection, batch_id: UUID, *, closed: bool) -> None:
    """A batch called spam leaves every queue; it comes back when that answer is taken back."""
    await connection.execute(_CLOSE if closed else _REOPEN, batch_id)
