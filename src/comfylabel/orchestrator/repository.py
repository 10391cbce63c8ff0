"""SQL on the life of submissions. Each write names its submission and the states it may come from: a second owner
of the same job finds nothing to change, so it can follow, but never send.

Lock order in every transaction: task, worker, submission, generations, batch, then the task's advisory lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection, Record
from comfylabel.generations.states import (
    GENERATION_MOVES,
    HOLDS_SLOT,
    OPEN,
    SUBMISSION_MOVES,
    GenerationState,
    SubmissionState,
    sources,
)
from comfylabel.orchestrator.schemas import Chunk, MissingImage, Plan, Submission

_HOLDING = "state in ({})".format(", ".join(f"'{state}'" for state in sorted(HOLDS_SLOT)))
_IS_OPEN = "state in ({})".format(", ".join(f"'{state}'" for state in sorted(OPEN)))

# ---------------------------------------------------------------------------------------------------- the chunk

_CHUNK = f"""
select t.state as task_state, t.paused_at is not null as is_paused, t.priority, t.workflow_id, p.text, b.id as batch_id,
       b.retries_used, b.losses, s.id, s.worker_id, s.state, s.attempt, s.created_at, s.sent_at, s.accepted_at,
       (select count(*) from submissions where prompt_id = $1 and chunk = $2 and pilot_id is null) as attempts
from prompts p join tasks t on t.id = p.task_id join batches b on b.prompt_id = p.id
left join lateral (
  select * from submissions where prompt_id = $1 and chunk = $2 and pilot_id is null and {_IS_OPEN}
  order by attempt desc limit 1) s on true
where p.id = $1
"""

_CHUNK_IMAGES = """
select id, batch_index, state, seed_value, batch_size from generations where batch_id = $1 and chunk = $2
order by batch_index
"""


async def load_chunk(connection: Connection, task_id: UUID, prompt_id: UUID, number: int) -> Chunk | None:
    row = await connection.fetchrow(_CHUNK, prompt_id, number)
    if row is None:
        return None
    images = await connection.fetch(_CHUNK_IMAGES, row["batch_id"], number)
    if not images:
        return None
    return Chunk(
        task_id=task_id,
        prompt_id=prompt_id,
        number=number,
        batch_id=row["batch_id"],
        workflow_id=row["workflow_id"],
        task_state=row["task_state"],
        is_paused=row["is_paused"],
        priority=row["priority"],
        text=row["text"],
        seed=images[0]["seed_value"],
        batch_size=images[0]["batch_size"],
        retries_used=row["retries_used"],
        losses=row["losses"],
        attempts=row["attempts"],
        submission=_submission(row) if row["id"] else None,
        missing=[
            MissingImage(image["id"], image["batch_index"], image["state"])
            for image in images
            if image["state"] in (GenerationState.PENDING, GenerationState.RUNNING)
        ],
    )


_FROZEN_SNAPSHOT = "select frozen_snapshot from tasks where id = $1 and state <> 'DRAFT'"


async def frozen_snapshot(connection: Connection, task_id: UUID) -> dict[str, Any]:
    snapshot: dict[str, Any] = await connection.fetchval(_FROZEN_SNAPSHOT, task_id)
    return snapshot


# -------------------------------------------------------------------------------------------------- reservation

_LOCK_WORKER = """
select max_concurrent_jobs from workers
where id = $1 and enabled and status = 'HEALTHY' and removed_at is null for no key update
"""
_HELD = f"select id from submissions where worker_id = $1 and {_HOLDING}"
_RESERVE = """
insert into submissions (id, worker_id, task_id, prompt_id, pilot_id, chunk, attempt, state, seed_value, batch_size,
  graph_digest)
values ($1, $2, $3, $4, $5, $6, $7, 'reserved', $8, $9, $10) returning created_at
"""
_DROP_RESERVATION = "delete from submissions where id = $1 and state = 'reserved'"


@dataclass(frozen=True, slots=True)
class Reservation:
    """`held`: our submissions on that worker, this one included; `limit` is its max_concurrent_jobs."""

    submission: Submission
    held: frozenset[str]
    limit: int


async def reserve(
    connection: Connection,
    worker_id: UUID,
    submission_id: UUID,
    plan: Plan,
    *,
    attempt: int,
    graph_digest: str,
) -> Reservation | None:
    """Take a slot of the worker, or None when it has none left or may not be used any more."""
    limit = await connection.fetchval(_LOCK_WORKER, worker_id)
    if limit is None:
        return None
    held = {str(row["id"]) for row in await connection.fetch(_HELD, worker_id)}
    if len(held) >= limit:
        return None
    created_at = await connection.fetchval(
        _RESERVE, submission_id, worker_id, plan.task_id, plan.prompt_id, plan.pilot_id, plan.chunk, attempt,
        plan.seed, plan.batch_size, graph_digest,
    )  # fmt: skip
    submission = Submission(submission_id, worker_id, SubmissionState.RESERVED, attempt, created_at)
    return Reservation(submission, frozenset(held | {str(submission_id)}), limit)


async def drop_reservation(connection: Connection, submission_id: UUID) -> None:
    await connection.execute(_DROP_RESERVATION, submission_id)


# ------------------------------------------------------------------------------------------------- sent, accepted

# Shared with other submissions, exclusive of cancel and pause: what those have not seen sent is not sent any more.
_IS_WANTED = """
select (s.pilot_id is null and t.state = 'RUNNING' and t.paused_at is null)
    or exists (select from pilots where id = s.pilot_id and state = 'running')
from submissions s join tasks t on t.id = s.task_id where s.id = $1 for share of t
"""
_SENT = "update submissions set state = 'sent', sent_at = now() where id = $1 and state = any($2) returning sent_at"
_RUNNING = """
update generations set state = 'running', submission_id = $1, worker_id = $2, updated_at = now()
where batch_id = $3 and chunk = $4 and state = 'pending'
"""
_COUNT_RUNNING = "update batches set running = running + $2 where id = $1"
# Nothing goes to a worker that was disabled, drained or removed since the reservation.
_QUEUE_LENGTH = """
update workers set current_queue_len = greatest($2, 0), updated_at = now()
where id = $1 and enabled and removed_at is null
"""


async def mark_sent(
    connection: Connection, submission: Submission, *, batch_id: UUID | None, chunk: int, queue_length: int
) -> datetime | None:
    """From now on the worker may hold it. None: it is not wanted any more, its worker gets nothing any more, or
    somebody else decided about it or sends the same images; then the transaction must be rolled back.
    """
    if not await connection.fetchval(_IS_WANTED, submission.id):
        return None
    if _count(await connection.execute(_QUEUE_LENGTH, submission.worker_id, queue_length)) == 0:
        return None
    sent_at: datetime | None = await connection.fetchval(
        _SENT, submission.id, sources(SUBMISSION_MOVES, SubmissionState.SENT)
    )
    if sent_at is None or batch_id is None:
        return sent_at
    moved = _count(await connection.execute(_RUNNING, submission.id, submission.worker_id, batch_id, chunk))
    await connection.execute(_COUNT_RUNNING, batch_id, moved)
    return sent_at if moved else None


_SENT_AGAIN = (
    "update submissions set sent_at = now() where id = $1 and state = 'sent' and sent_at = $2 returning sent_at"
)


async def mark_sent_again(connection: Connection, submission: Submission) -> datetime | None:
    """Only the owner that read `sent_at` may POST once more; a second one gets None."""
    sent_at: datetime | None = await connection.fetchval(_SENT_AGAIN, submission.id, submission.sent_at)
    return sent_at


_ACCEPTED = "update submissions set state = 'accepted', accepted_at = now() where id = $1 and state = any($2)"
_GENERATED = "update submissions set state = 'generated' where id = $1 and state = any($2)"
_ONE_LESS = "update workers set current_queue_len = greatest(current_queue_len - 1, 0) where id = $1"


async def mark_accepted(connection: Connection, submission_id: UUID) -> bool:
    return (
        _count(await connection.execute(_ACCEPTED, submission_id, sources(SUBMISSION_MOVES, SubmissionState.ACCEPTED)))
        == 1
    )


async def mark_generated(connection: Connection, submission: Submission) -> bool:
    """The worker has ended it: its slot is free before a byte of its images is fetched."""
    await connection.execute(_ONE_LESS, submission.worker_id)
    tag = await connection.execute(_GENERATED, submission.id, sources(SUBMISSION_MOVES, SubmissionState.GENERATED))
    return _count(tag) == 1


# ---------------------------------------------------------------------------------------------------- the images

_DONE = """
update generations set state = 'done', image_uri = $3, thumbnail_uri = $4, tile_uri = $5, preview_uri = $6,
       checksum = $7, bytes = $8, width = $9, height = $10, metadata = $11, updated_at = now()
where id = $1 and submission_id = $2 and state = any($12)
"""
_COUNT_DONE = """
update batches set done = done + 1, running = running - 1, reason = case when done + 1 < total then reason end
where id = $1 returning done + failed = total as is_complete
"""


async def image_done(
    connection: Connection,
    generation_id: UUID,
    submission_id: UUID,
    *,
    batch_id: UUID,
    image: Sequence[object],
    metadata: dict[str, object],
) -> bool:
    """`image`: keys of image, thumbnail, tile and preview, sha256, bytes, width, height.

    False: this submission was superseded.
    """
    tag = await connection.execute(
        _DONE, generation_id, submission_id, *image, metadata, sources(GENERATION_MOVES, GenerationState.DONE)
    )
    if _count(tag) == 0:
        return False
    if await connection.fetchval(_COUNT_DONE, batch_id):
        await make_ready(connection, batch_id)
    return True


# Pages are ordered by (ready_at, id) and a cursor must never miss a batch: within a task ready_at grows in the order
# of the commits. The advisory lock is held until then; greatest() stands against a clock that steps back.
_LOCK_READY = "select pg_advisory_xact_lock(hashtextextended('ready ' || task_id::text, 0)) from batches where id = $1"
_READY = """
update batches b set candidates = done, ready_at = greatest(clock_timestamp(), (
  select ready_at + interval '1 microsecond' from batches
  where task_id = b.task_id and ready_at is not null order by task_id desc, ready_at desc, id desc limit 1))
where id = $1 and ready_at is null and done + failed = total and (failed = 0 or done >= 2)
"""
_CANDIDATES = """
update generations g set candidate_index = o.number from (
  select id, row_number() over (order by position) - 1 as number from generations
  where batch_id = $1 and state = 'done') o
where g.id = o.id
"""


async def make_ready(connection: Connection, batch_id: UUID) -> None:
    """A batch becomes ready once and for good; its done images get their candidate_index then."""
    await connection.execute(_LOCK_READY, batch_id)
    if _count(await connection.execute(_READY, batch_id)) == 1:
        await connection.execute(_CANDIDATES, batch_id)


# ------------------------------------------------------------------------------------------------------- the end

_END = "update submissions set state = $2, error = $3, ended_at = now() where id = $1 and state = any($4)"
_GIVE_BACK = """
update generations set state = $2, retries_used = retries_used + $3, updated_at = now(),
       submission_id = case when $2 = 'failed' then submission_id end,
       worker_id = case when $2 = 'failed' then worker_id end
where batch_id = $4 and chunk = $5 and submission_id = $1 and state = 'running'
"""
_COUNT_END = """
update batches set running = running - $2, failed = failed + case when $3 then $2 else 0 end,
       retries_used = retries_used + $4, losses = losses + $5, reason = coalesce($6, reason)
where id = $1 returning done + failed = total as is_complete
"""
_INELIGIBLE = """
insert into ineligible_workers (worker_id, workflow_id, reason) values ($1, $2, $3)
on conflict (worker_id, workflow_id) do update set reason = excluded.reason, created_at = now()
"""


async def end_submission(
    connection: Connection, submission_id: UUID, state: SubmissionState, error: dict[str, str] | None = None
) -> bool:
    tag = await connection.execute(_END, submission_id, state.value, error, sources(SUBMISSION_MOVES, state))
    return _count(tag) == 1


# The images before their batch, as everywhere.
_LOCK_OWN = "select true from generations where batch_id = $1 and chunk = $2 and submission_id = $3 for update"
_LOCK_BUDGET = "select retries_used, losses from batches where id = $1 for no key update"


async def lock_budget(connection: Connection, submission_id: UUID, batch_id: UUID, chunk: int) -> tuple[int, int]:
    """(retries_used, losses) of the prompt, which no other of its chunks changes before this transaction ends."""
    await connection.execute(_LOCK_OWN, batch_id, chunk, submission_id)
    row = await connection.fetchrow(_LOCK_BUDGET, batch_id)
    assert row is not None
    return row["retries_used"], row["losses"]


async def give_back(
    connection: Connection,
    submission_id: UUID,
    *,
    batch_id: UUID,
    chunk: int,
    give_up: bool,
    retry: bool,
    loss: bool,
    reason: str | None,
) -> int:
    """What this submission did not bring is pending again, or failed for good; returns how many images that are."""
    state = GenerationState.FAILED if give_up else GenerationState.PENDING
    moved = _count(await connection.execute(_GIVE_BACK, submission_id, state.value, int(retry), batch_id, chunk))
    is_complete = await connection.fetchval(_COUNT_END, batch_id, moved, give_up, int(retry), int(loss), reason)
    if is_complete:
        await make_ready(connection, batch_id)
    return moved


async def note_ineligible(connection: Connection, worker_id: UUID, workflow_id: UUID, reason: str) -> None:
    await connection.execute(_INELIGIBLE, worker_id, workflow_id, reason)


def _submission(row: Record) -> Submission:
    return Submission(
        id=row["id"],
        worker_id=row["worker_id"],
        state=SubmissionState(row["state"]),
        attempt=row["attempt"],
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        accepted_at=row["accepted_at"],
    )


def _count(tag: str) -> int:
    return int(tag.rsplit(" ", 1)[-1])
