"""SQL that takes submissions back from their workers in the rows: a person said so, and it counts against no prompt.

What the worker still holds of them is taken off it afterwards, by id; whatever it makes of them is nobody's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Connection, Record
from comfylabel.generations.states import SUBMISSION_MOVES, SubmissionState, sources

_TAKEN_BACK = sources(SUBMISSION_MOVES, SubmissionState.CANCELLED)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """`was_sent`: the worker may hold it."""

    id: UUID
    worker_id: UUID
    was_sent: bool


def on_workers(taken: Iterable[TakenBack]) -> Mapping[UUID, list[UUID]]:
    """Worker id -> what it may hold of them."""
    held: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for submission in taken:
        if submission.was_sent:
            held[submission.worker_id].append(submission.id)
    return held


# Locked in the order of their ids, as everywhere; what has moved on meanwhile is read again and left out.
_LOCK_OF_TASK = """
select id from submissions where task_id = $1 and pilot_id is null and ended_at is null and state = any($2)
order by id for update
"""
_LOCK_OF_PILOT = "select id from submissions where pilot_id = $1 and ended_at is null order by id for update"
_LOCK_NAMED = "select id from submissions where id = any($1) and state = any($2) order by id for update"


async def of_task(connection: Connection, task_id: UUID, why: str) -> list[TakenBack]:
    """All that hold a slot; what the worker has made already is kept."""
    return await _take_back(connection, await connection.fetch(_LOCK_OF_TASK, task_id, _TAKEN_BACK), why)


async def named(connection: Connection, submission_ids: Sequence[UUID], why: str) -> list[TakenBack]:
    """Those of them that still hold a slot."""
    return await _take_back(connection, await connection.fetch(_LOCK_NAMED, list(submission_ids), _TAKEN_BACK), why)


_PILOT_MADE = "update submissions set state = 'lost', error = $2, ended_at = now() where id = any($1) and state = $3"


async def of_pilot(connection: Connection, pilot_id: UUID, why: str) -> list[TakenBack]:
    """All that have not ended: nobody fetches what the worker has made of them either."""
    locked = await connection.fetch(_LOCK_OF_PILOT, pilot_id)
    ids = [row["id"] for row in locked]
    await connection.execute(_PILOT_MADE, ids, _error(why), SubmissionState.GENERATED)
    return await _take_back(connection, locked, why)


_END = """
update submissions set state = 'cancelled', error = $2, ended_at = now() where id = any($1) and state = any($3)
returning id, worker_id, sent_at is not null as was_sent
"""
_LOCK_IMAGES = """
select g.id, g.batch_id from submissions s join batches b on b.prompt_id = s.prompt_id
join generations g on g.batch_id = b.id and g.chunk = s.chunk and g.submission_id = s.id
where s.id = any($1) and s.pilot_id is null and g.state = 'running' order by g.id for update of g
"""
_PENDING_AGAIN = """
update generations set state = 'pending', submission_id = null, worker_id = null, updated_at = now() where id = any($1)
"""
_LOCK_BATCHES = "select from batches where id = any($1) order by id for no key update"
_COUNT = """
update batches b set running = b.running - t.images from unnest($1::uuid[], $2::int[]) t (id, images) where b.id = t.id
"""


async def _take_back(connection: Connection, locked: Sequence[Record], why: str) -> list[TakenBack]:
    ids = [row["id"] for row in locked]
    ended = await connection.fetch(_END, ids, _error(why), _TAKEN_BACK)
    images = await connection.fetch(_LOCK_IMAGES, [row["id"] for row in ended])
    if images:
        await connection.execute(_PENDING_AGAIN, [row["id"] for row in images])
        counts = Counter(row["batch_id"] for row in images)
        await connection.execute(_LOCK_BATCHES, list(counts))
        await connection.execute(_COUNT, list(counts), list(counts.values()))
    return [TakenBack(row["id"], row["worker_id"], row["was_sent"]) for row in ended]


def _error(why: str) -> dict[str, str]:
    return {"class": "cancelled", "message": why}
