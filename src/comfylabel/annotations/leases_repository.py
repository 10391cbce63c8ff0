"""SQL of leases: who is at work, what they hold, and which batch is free for whom.

`batches.taken` = answers that count + leases; whoever changes either changes it too, with the batch's row locked. Locks
are taken in one order: task, labellers (one's own; others' by `skip locked` only), batches, leases. Nothing here waits
for a batch while it holds a row of labellers, because an answer holds its batch and waits for that row.

All of it runs through connections that plan by index (db/pool.py): a plan from before an import looked as good.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comfylabel.annotations.batches_repository import of_person
from comfylabel.annotations.hints import Place
from comfylabel.annotations.schemas import LabelledTask
from comfylabel.annotations.share import IDLE, LEASE, Held
from comfylabel.db.pool import Connection, Record

_TASK_COLUMNS = "id, state, overlap, blind, ab_test_id"

# The task before the person's row, as everybody who takes both does.
ENTER = f"""
with task as materialized (
  select {_TASK_COLUMNS} from tasks where id = $1 for key share
), me as (
  insert into labellers (task_id, user_id, seen_at) select id, $2, clock_timestamp() from task where state = any($3)
  on conflict (task_id, user_id) do update set seen_at = greatest(labellers.seen_at, clock_timestamp())
)
select {_TASK_COLUMNS} from task
"""


async def enter(
    connection: Connection, task_id: UUID, user_id: UUID, labelled_states: Collection[str]
) -> LabelledTask | None:
    """A contact, now; whatever else this person does in the task waits until the transaction ends."""
    row = await connection.fetchrow(ENTER, task_id, user_id, list(labelled_states))
    return _task(row) if row else None


def _task(row: Record) -> LabelledTask:
    return LabelledTask(row["id"], row["state"], row["overlap"], row["blind"], row["ab_test_id"])


@dataclass(frozen=True, slots=True)
class Look:
    """A task as one person finds it. `held` in the order of leasing; `gone` hold leases that have run out."""

    answered: int
    seen_at: datetime | None
    active: int
    gone: list[UUID]
    held: list[Held]
    open: int


def _not_answered(batch: str) -> str:
    return f"(select a.id from annotations a where {of_person('a', batch, '$2')}) is null"


# A subquery where a join would do, and `offset 0`, keep the planner from reading a whole table in place of a few rows.
LOOK = f"""
select people.*, mine.*,
  case when $4 then (
    select count(*) from batches
    where task_id = $1 and ready_at is not null and spam_at is null and taken < $3
  ) + (
    select count(distinct l.batch_id) from leases l
    where l.task_id = $1 and (select taken >= $3 and spam_at is null from batches where id = l.batch_id)
  ) end as open
from (
  select coalesce(max(answered) filter (where user_id = $2), 0) as answered,
         max(seen_at) filter (where user_id = $2) as seen_at,
         count(*) filter (where seen_at > now() - $5::interval) as active,
         coalesce(array_agg(user_id) filter (where seen_at <= now() - $5::interval and user_id <> $2 and exists (
           select from leases l where l.task_id = p.task_id and l.user_id = p.user_id)), '{{}}') as gone
  from labellers p where task_id = $1
) people cross join (
  select coalesce(array_agg(l.batch_id order by l.created_at, b.ready_at, b.id), '{{}}') as held,
         coalesce(array_agg(b.good order by l.created_at, b.ready_at, b.id), '{{}}') as good
  from leases l cross join lateral (
    select id, ready_at, ready_at is not null and spam_at is null and taken <= $3
           and {_not_answered("batches.id")} as good
    from batches where id = l.batch_id offset 0
  ) b
  where l.task_id = $1 and l.user_id = $2
) mine
"""


async def look(connection: Connection, task: LabelledTask, user_id: UUID, open_batches: int | None) -> Look:
    """Counts the open batches unless told how many there are."""
    row = await connection.fetchrow(LOOK, task.id, user_id, task.overlap, open_batches is None, LEASE)
    assert row is not None
    held = [Held(batch_id, good) for batch_id, good in zip(row["held"], row["good"], strict=True)]
    counted = row["open"] if open_batches is None else open_batches
    return Look(row["answered"], row["seen_at"], row["active"], row["gone"], held, counted)


# What is deleted is counted, not what was read: a lease may have been answered between the two.
_FREED = """
update batches set taken = taken - freed.leases
from (select batch_id, count(*) as leases from deleted group by batch_id) freed
where batches.id = freed.batch_id returning batches.id
"""

GIVE_BACK = f"""
with locked as materialized (
  select id from batches where id = any($3) order by id for no key update skip locked
), deleted as (
  delete from leases where task_id = $1 and user_id = $2 and batch_id = any(array(select id from locked))
  returning batch_id
)
{_FREED}
"""


async def give_back(connection: Connection, task_id: UUID, user_id: UUID, batch_ids: Collection[UUID]) -> bool:
    """But for those that somebody is answering just now: they are given back the next time."""
    return bool(await connection.fetch(GIVE_BACK, task_id, user_id, list(batch_ids)))


# Whoever of them comes back just now has their row locked, or has a new seen_at.
RECLAIM = f"""
with gone as materialized (
  select user_id from labellers
  where task_id = $1 and user_id = any($2) and seen_at <= now() - $3::interval
  order by user_id for no key update skip locked
), locked as materialized (
  select id from batches
  where id = any(array(
    select batch_id from leases where task_id = $1 and user_id = any(array(select user_id from gone))))
  order by id for no key update skip locked
), deleted as (
  delete from leases
  where task_id = $1 and user_id = any(array(select user_id from gone)) and batch_id = any(array(select id from locked))
  returning batch_id
)
{_FREED}
"""


async def reclaim(connection: Connection, task_id: UUID, gone: Collection[UUID]) -> bool:
    """Free what those people held; whether there was any."""
    return bool(await connection.fetch(RECLAIM, task_id, list(gone), LEASE))


_FREE_FOR_ME = f"""
  and ready_at is not null and spam_at is null and {_not_answered("batches.id")}
  and (select l.batch_id from leases l where {of_person("l", "batches.id", "$2")}) is null
"""
_LEASE_PICKED = """
leased as (
  insert into leases (batch_id, user_id, task_id) select id, $2, $1 from picked
)
update batches set taken = taken + 1 from picked where batches.id = picked.id
"""

TAKE_NAMED = f"""
with picked as materialized (
  select id from batches where id = any($3) and task_id = $1 and taken < $4 {_FREE_FOR_ME}
  order by array_position($3, id) limit $5 for no key update skip locked
), {_LEASE_PICKED} returning batches.id
"""


async def take_named(
    connection: Connection, task: LabelledTask, user_id: UUID, batch_ids: Collection[UUID], most: int
) -> list[UUID]:
    """Those of `batch_ids` that are free for this person, up to `most`, are now theirs."""
    rows = await connection.fetch(TAKE_NAMED, task.id, user_id, list(batch_ids), task.overlap, most)
    return [row["id"] for row in rows]


# The highest level first: what others have begun is finished before something new is begun. A level is one range of
# the index batches_free, and a mark is where in it to begin. Written (taken, ...) > (...) and not `taken = ...`: a scan
# begins at what is equal, whatever the mark; and then batches_ready gives the same order, so that a plan may go through
# everything that was labelled.
def _picked(lock: str) -> str:
    return f"""
  select free.id, free.taken as level, free.ready_at
  from unnest($4::int[], $5::timestamptz[], $6::uuid[]) as start (level, at, id)
  cross join lateral (
    select id, taken, ready_at from batches
    where task_id = $1 and (taken, ready_at, id) > (start.level, start.at, start.id) and taken <= start.level
      {_FREE_FOR_ME}
    order by taken, ready_at, id limit $3 {lock}
  ) free limit $3
"""


TAKE = f"""
with picked as materialized ({_picked("for no key update skip locked")}), {_LEASE_PICKED}
returning batches.id, batches.ready_at, picked.level
"""


@dataclass(frozen=True, slots=True)
class Free:
    batch_id: UUID
    level: int
    place: Place


async def take(
    connection: Connection, task_id: UUID, user_id: UUID, most: int, *, levels: Sequence[int], starts: Sequence[Place]
) -> list[Free]:
    """Up to `most` batches that were free for this person and are now theirs, in the order in which to work."""
    rows = await connection.fetch(TAKE, task_id, user_id, most, list(levels), *_columns(starts))
    return sorted((Free(r["id"], r["level"], (r["ready_at"], r["id"])) for r in rows), key=_turn)


PEEK = _picked("")


async def peek(
    connection: Connection, task_id: UUID, user_id: UUID, most: int, *, levels: Sequence[int], starts: Sequence[Place]
) -> list[Free]:
    """What `take` would take if nobody else were at work."""
    rows = await connection.fetch(PEEK, task_id, user_id, most, list(levels), *_columns(starts))
    return [Free(r["id"], r["level"], (r["ready_at"], r["id"])) for r in rows]


def _columns(starts: Sequence[Place]) -> tuple[list[datetime], list[UUID]]:
    return [at for at, _ in starts], [batch_id for _, batch_id in starts]


def _turn(free: Free) -> tuple[int, Place]:
    return -free.level, free.place


# The furthest first: what somebody would come to last. An active person's row has a newer seen_at, or is locked.
TAKE_OVER = """
with idle as materialized (
  select user_id from labellers p
  where task_id = $1 and user_id <> $2 and seen_at <= now() - $3::interval
    and (select count(*) from leases l where l.task_id = p.task_id and l.user_id = p.user_id) > $4
  order by user_id for no key update skip locked
), spare as (
  select user_id, batch_id, place from idle cross join lateral (
    select l.batch_id, row_number() over (order by l.created_at, b.ready_at, b.id) as place
    from leases l cross join lateral (select id, ready_at from batches where id = l.batch_id offset 0) b
    where l.task_id = $1 and l.user_id = idle.user_id
  ) ranked where place > $4
), locked as materialized (
  select id from batches
  where id = any(array(select batch_id from spare)) and taken <= $5 {free_for_me}
  order by (select max(place) from spare where batch_id = batches.id) desc, ready_at desc, id desc
  limit $6 for no key update skip locked
), moved as (
  delete from leases using (
    select locked.id as batch_id, (select user_id from spare where batch_id = locked.id order by place desc limit 1)
    from locked
  ) from_whom
  where leases.batch_id = from_whom.batch_id and leases.user_id = from_whom.user_id
  returning leases.batch_id
), mine as (
  insert into leases (batch_id, user_id, task_id) select batch_id, $2, $1 from moved
)
select batch_id from moved
""".replace("{free_for_me}", _FREE_FOR_ME)


async def take_over(
    connection: Connection, task: LabelledTask, user_id: UUID, their_share: int, most: int
) -> list[UUID]:
    """What people without contact hold beyond their share: a lease changes hands, and `taken` stays as it is."""
    rows = await connection.fetch(TAKE_OVER, task.id, user_id, IDLE, their_share, task.overlap, most)
    return [row["batch_id"] for row in rows]


# A batch that is being made is open, or has an open submission.
TO_COME = f"""
select exists (select from batches where task_id = $1 and done + failed + running < total)
    or exists (select from submissions where task_id = $1 and ended_at is null) as to_come,
  exists (
    select from leases l where l.task_id = $1 and l.user_id <> $2
      and (select spam_at from batches where id = l.batch_id) is null
      and {_not_answered("l.batch_id")}
  ) as held_by_others
"""


async def to_come(connection: Connection, task: LabelledTask, user_id: UUID) -> bool:
    """Whether a batch may still become free for this person: one that is being made, or that somebody else holds."""
    row = await connection.fetchrow(TO_COME, task.id, user_id)
    assert row is not None
    return bool(row["held_by_others"] or (task.state == "RUNNING" and row["to_come"]))


# Waits for its batches in one order, and for the person's row last: as an answer does.
RELEASE = f"""
with locked as materialized (
  select b.id from batches b
  where b.id = any(array(
    select batch_id from leases where task_id = $1 and user_id = $2 and ($3::uuid[] is null or batch_id = any($3))))
  order by b.id for no key update
), deleted as (
  delete from leases where task_id = $1 and user_id = $2 and batch_id = any(array(select id from locked))
  returning batch_id
)
{_FREED}
"""
SEEN = "update labellers set seen_at = greatest(seen_at, clock_timestamp()) where task_id = $1 and user_id = $2"


async def release(connection: Connection, task_id: UUID, user_id: UUID, batch_ids: Collection[UUID] | None) -> int:
    """None: all of theirs in the task. How many that were."""
    given = None if batch_ids is None else list(batch_ids)
    released = await connection.fetch(RELEASE, task_id, user_id, given)
    await connection.execute(SEEN, task_id, user_id)
    return len(released)


_READY_IN_TASK = "select exists (select from batches where id = $1 and task_id = $2 and ready_at is not null)"


async def is_ready(connection: Connection, task_id: UUID, batch_id: UUID) -> bool:
    return bool(await connection.fetchval(_READY_IN_TASK, batch_id, task_id))
