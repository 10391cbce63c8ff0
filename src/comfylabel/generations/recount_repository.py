"""SQL that compares the counters of batches and labellers with the rows they count. Both change in one transaction, so
any difference that one statement sees is a fault.
"""

from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.notifications import notify
from comfylabel.db.pool import Connection


@dataclass(frozen=True, slots=True)
class WrongCounter:
    """Numbers are (total, done, failed, running, candidates, taken)."""

    batch_id: UUID
    task_id: UUID
    stored: tuple[int, ...]
    counted: tuple[int, ...]


# The candidates of a batch are counted once it is ready. Its places are taken by answers that count and by leases.
_COUNTED = """
select b.id as batch_id, b.task_id,
  array[b.total, b.done, b.failed, b.running, coalesce(b.candidates, 0), b.taken] as stored,
  array[g.total, g.done, g.failed, g.running, case when b.ready_at is null then 0 else g.candidates end,
    (select count(*)::int from annotations where batch_id = b.id and not surplus and kind <> 'skip')
    + (select count(*)::int from leases where batch_id = b.id)] as counted
from batches b cross join lateral (
  select count(*)::int as total,
    count(*) filter (where state = 'done')::int as done,
    count(*) filter (where state = 'failed')::int as failed,
    count(*) filter (where state = 'running')::int as running,
    count(candidate_index)::int as candidates
  from generations where batch_id = b.id
) g
"""

_WRONG = f"select * from ({_COUNTED} where b.task_id = $1) c where stored <> counted order by batch_id"


async def wrong_counters(connection: Connection, task_id: UUID) -> list[WrongCounter]:
    rows = await connection.fetch(_WRONG, task_id)
    return [WrongCounter(row["batch_id"], row["task_id"], tuple(row["stored"]), tuple(row["counted"])) for row in rows]


_TASKS_WITH_BATCHES = """
select id, (select count(*) from batches where task_id = tasks.id) as batches
from tasks where state <> 'DRAFT' order by id
"""


async def tasks_with_batches(connection: Connection) -> list[tuple[UUID, int]]:
    return [(row["id"], row["batches"]) for row in await connection.fetch(_TASKS_WITH_BATCHES)]


# Whoever changes an image changes its batch's counter in the same transaction, relative to what stands there: with the
# row locked, what the next statement counts is what they will add to.
_LOCK = "select id from batches where id = any ($1) order by id for update"

_REPAIR = f"""
update batches set total = c.counted[1], done = c.counted[2], failed = c.counted[3], running = c.counted[4],
  candidates = case when ready_at is null then null else c.counted[5] end, taken = c.counted[6]
from ({_COUNTED} where b.id = any ($1)) c
where batches.id = c.batch_id and c.stored <> c.counted
"""


_TOUCH = "update tasks set updated_at = now() where id = $1"


async def touch(connection: Connection, task_id: UUID) -> None:
    """First of all, tasks before batches: whoever remembers the numbers of a task that has ended counts them anew."""
    await connection.execute(_TOUCH, task_id)
    await notify(connection, tasks=[task_id])


async def repair_counters(connection: Connection, batch_ids: list[UUID]) -> int:
    """Inside a transaction; how many were still wrong."""
    await connection.execute(_LOCK, batch_ids)
    status = await connection.execute(_REPAIR, batch_ids)
    return int(status.split()[-1])


@dataclass(frozen=True, slots=True)
class WrongLabeller:
    """How many batches of a task a person has answered."""

    task_id: UUID
    user_id: UUID
    stored: int
    counted: int


_COUNTED_ANSWERS = """
select user_id, coalesce(l.answered, 0) as stored, coalesce(a.answers, 0) as counted
from (select user_id, answered from labellers where task_id = $1) l
full join (select user_id, count(*)::int as answers from annotations where task_id = $1 group by user_id) a
using (user_id)
"""
_WRONG_LABELLERS = f"select * from ({_COUNTED_ANSWERS}) c where stored <> counted order by user_id"


async def wrong_labellers(connection: Connection, task_id: UUID) -> list[WrongLabeller]:
    return [WrongLabeller(task_id, *row) for row in await connection.fetch(_WRONG_LABELLERS, task_id)]


# An answer touches its person's row last: whoever holds these rows sees every answer that these numbers count.
_LOCK_LABELLERS = """
insert into labellers (task_id, user_id) select $1, unnest($2::uuid[]) as user_id order by user_id
on conflict (task_id, user_id) do update set answered = labellers.answered
"""
_REPAIR_LABELLERS = f"""
update labellers set answered = c.counted from ({_COUNTED_ANSWERS}) c
where labellers.task_id = $1 and labellers.user_id = c.user_id and c.user_id = any ($2) and c.stored <> c.counted
"""


async def repair_labellers(connection: Connection, task_id: UUID, user_ids: list[UUID]) -> int:
    """Inside a transaction; how many were still wrong."""
    await connection.execute(_LOCK_LABELLERS, task_id, user_ids)
    status = await connection.execute(_REPAIR_LABELLERS, task_id, user_ids)
    return int(status.split()[-1])


_PARTITIONS = """
select c.relname as name, c.reltuples::bigint as rows
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'generations'::regclass order by c.relname
"""


async def partitions(connection: Connection) -> list[dict[str, object]]:
    """Name and estimated number of rows (-1 before the first vacuum) of each partition of `generations`."""
    return [dict(row) for row in await connection.fetch(_PARTITIONS)]
