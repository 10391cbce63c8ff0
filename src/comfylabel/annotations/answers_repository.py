"""SQL of answers: what bears on one, read under its batch's lock, and what it changes, written in one statement.

Whoever changes the answers of a batch updates the batch's row in the same transaction, also when `taken` comes out the
same: see HOLD.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from comfylabel.annotations.answer import Answer, Kind
from comfylabel.annotations.schemas import Held, LabelledBatch, LabelledTask, PastAnswer, StoredAnnotation, Use
from comfylabel.db.pool import Connection, Record

# --- reading

# The task before the batch, as everybody who takes both does: the other order would be a deadlock.
#
# A statement that waits for a lock gets the newest version of the row it locks, but everything else as it was when the
# statement began: without the answers of those that it waited for. `current` says whether that happened: the batch as
# it was then is the batch that is locked now. It saves a round trip to all who did not have to wait.
#
# Answers in the order in which they wait for a place: see overlap.py.
LOCKED = """
task as materialized (
  select id, state, overlap, blind, ab_test_id from tasks where id = $1 for key share
), batch as materialized (
  select b.id, b.task_id, b.prompt_id, b.candidates, b.taken, b.spam_at is not null as closed, b.xmin as version
  from task cross join batches b where b.id = $2 for no key update of b
)
"""
HOLD = f"""
with {LOCKED}
select (task.id, task.state, task.overlap, task.blind, task.ab_test_id) as task,
  case when batch.id is not null then
    (batch.id, batch.task_id, batch.prompt_id, batch.candidates, batch.taken, batch.closed) end as batch,
  batch.version is not distinct from (select xmin from batches where id = $2) as current,
  array(select (id, user_id, kind, surplus, client_id) from annotations
        where batch_id = $2 order by surplus, updated_at, id) as answers,
  array(select (candidate_index, id) from generations
        where batch_id = $2 and candidate_index = any($5::int[])) as images,
  (select variant_key from ab_assignments where test_id = task.ab_test_id and user_id = $3) as variant,
  array(
    select (false, batch_id, id, client_id) from annotations where user_id = $3 and client_id = $4
    union all
    select (false, batch_id, annotation_id, client_id) from annotation_history where user_id = $3 and client_id = $4
    union all
    select (true, batch_id, annotation_id, client_id) from annotation_history where user_id = $3 and undone_by = $4
  ) as uses
from task left join batch on true
"""
_INT4_MAX = 2**31 - 1


async def hold(
    connection: Connection,
    *,
    task_id: UUID,
    batch_id: UUID,
    user_id: UUID,
    client_id: str | None,
    images: Collection[int | None] = (),
) -> Held | None:
    """Answers to one batch take turns, so that two of them never both see the last free place.

    `images`: candidate indexes, whatever they are. None when there is no such task.
    """
    asked = [index for index in images if index is not None and 0 <= index <= _INT4_MAX]
    arguments = (task_id, batch_id, user_id, client_id, asked)
    row = await connection.fetchrow(HOLD, *arguments)
    if row is not None and not row["current"]:
        row = await connection.fetchrow(HOLD, *arguments)  # the lock is ours by now: nothing can change any more
    return _held(row) if row is not None else None


def _held(row: Record) -> Held:
    return Held(
        task=LabelledTask(*row["task"]),
        batch=LabelledBatch(*row["batch"]) if row["batch"] else None,
        answers=[
            StoredAnnotation(answer_id, user_id, Kind(kind), surplus, client_id)
            for answer_id, user_id, kind, surplus, client_id in row["answers"]
        ],
        images=dict(row["images"]),
        variant=row["variant"],
        uses=[Use(*use) for use in row["uses"]],
    )


FIND = """
select task_id, batch_id, id as annotation_id, false as undone from annotations where user_id = $1 and client_id = $2
union all
select b.task_id, h.batch_id, h.annotation_id, h.undone_by is not null
from annotation_history h join batches b on b.id = h.batch_id where h.user_id = $1 and h.client_id = $2
limit 1
"""


async def find(connection: Connection, user_id: UUID, client_id: str) -> PastAnswer | None:
    """The person's answer that came under this client_id, also one that was replaced or undone since."""
    row = await connection.fetchrow(FIND, user_id, client_id)
    return PastAnswer(**row) if row else None


# --- writing


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is at which batch, and what it changes there: by how much the answers that count, and `closed`."""

    batch: LabelledBatch
    user_id: UUID
    counted: int
    closed: bool

    def arguments(self) -> tuple[Any, ...]:
        return (self.batch.id, self.batch.task_id, self.user_id, self.counted, self.closed)


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


def _turn(*changes: str, answered: int) -> str:
    """One statement: the changes, what they change of the batch, and last the person's own row.

    Last, because `next` holds that row while it looks for batches. Reading from `changed` is what makes it last.
    `lease` is one of the changes and says how many leases of the batch come (or go: -1 each).
    """
    return f"""
with {",".join(changes)}, changed as (
  update batches set taken = taken + $4 + (select coalesce(sum(lease.change), 0)::int from lease),
    spam_at = case when $5 then coalesce(spam_at, now()) end
  where id = $1 returning true
)
insert into labellers (task_id, user_id, answered) select $2, $3, greatest({answered}, 0) from changed
on conflict (task_id, user_id) do update set
  answered = labellers.answered + {answered}, seen_at = greatest(labellers.seen_at, clock_timestamp())
"""


# Nobody needs to judge a batch that was closed.
_LEASE_GONE = """
lease as (delete from leases where batch_id = $1 and ($5 or user_id = $3) returning -1 as change)
"""
_LEASE_BACK = """
lease as (
  insert into leases (batch_id, user_id, task_id) select $1, $3, $2 where $9
  on conflict do nothing returning 1 as change
)
"""
_KEPT = """
kept as (
  insert into annotation_history (id, annotation_id, batch_id, user_id, client_id, undone_by, answer)
  select $7, id, batch_id, user_id, client_id, {undone_by}, to_jsonb(annotations) from annotations where id = $6
)
"""

# clock_timestamp, not now(): the time inside the lock, so that answers stand in the order of their turns.
_INSERTED = """
inserted as (
  insert into annotations (
    batch_id, task_id, user_id, id, prompt_id, kind, chosen_index, rejected_index, chosen_generation_id,
    rejected_generation_id, spam, surplus, slot_order, variant_key, client_id, elapsed_ms, created_at, updated_at)
  select $1, $2, $3, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, turn, turn
  from clock_timestamp() turn
)
"""
INSERT = _turn(_LEASE_GONE, _INSERTED, answered=1)


async def insert(connection: Connection, turn: Turn, annotation_id: UUID, filled: Filled) -> None:
    await connection.execute(INSERT, *turn.arguments(), annotation_id, turn.batch.prompt_id, *filled.arguments())


_REPLACED = """
replaced as (
  update annotations set kind = $8, chosen_index = $9, rejected_index = $10, chosen_generation_id = $11,
    rejected_generation_id = $12, spam = $13, surplus = $14, slot_order = $15, variant_key = $16, client_id = $17,
    elapsed_ms = $18, updated_at = clock_timestamp()
  where id = $6
)
"""
REPLACE = _turn(_LEASE_GONE, _KEPT.format(undone_by="null"), _REPLACED, answered=0)


async def replace(connection: Connection, turn: Turn, annotation_id: UUID, history_id: UUID, filled: Filled) -> None:
    await connection.execute(REPLACE, *turn.arguments(), annotation_id, history_id, *filled.arguments())


WITHDRAW = _turn(
    _LEASE_BACK,
    _KEPT.format(undone_by="$8"),
    "withdrawn as (delete from annotations where id = $6)",
    answered=-1,
)


async def withdraw(
    connection: Connection, turn: Turn, annotation_id: UUID, history_id: UUID, *, undone_by: str, lease: bool
) -> None:
    """What was said goes to the history; with `lease` the person holds the batch again."""
    await connection.execute(WITHDRAW, *turn.arguments(), annotation_id, history_id, undone_by, lease)


_COUNT_NOW = "update annotations set surplus = false where id = any($1)"


async def count_now(connection: Connection, annotation_ids: Collection[UUID]) -> None:
    await connection.execute(_COUNT_NOW, list(annotation_ids))
