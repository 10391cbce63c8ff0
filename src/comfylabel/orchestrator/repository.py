"""SQL on the life of submissions. Each write names its submission and the states it may come from: a second owner
of the same job finds nothing to change, so it can follow, but never send.

Lock order in every transaction: task, worker, submission, generations, batch, then the task's advisory lock.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection, Record
from comfylabel.generations.states import (
    OPEN,
    SUBMISSION_MOVES,
    GenerationState,
    SubmissionState,
    sources,
)
from comfylabel.orchestrator.clock import clock
from comfylabel.orchestrator.schemas import Chunk, MissingImage, Plan, Submission

_IS_OPEN = "state in ({})".format(", ".join(f"'{state}'" for state in sorted(OPEN)))

# ---------------------------------------------------------------------------------------------------- the chunk

# Ages by the database's own clock: that of this process may be another.
_CHUNKS = f"""
select asked.prompt_id as asked_prompt, asked.chunk as asked_chunk, t.id as task_id, t.state as task_state,
       t.paused_at is not null as is_paused, t.priority, t.workflow_id, p.text, b.id as batch_id, b.retries_used,
       b.losses, s.id, s.worker_id, s.state, s.attempt, s.sent_at,
       extract(epoch from clock_timestamp() - s.sent_at)::float8 as sent_seconds_ago, tried.attempts, tried.avoid,
       g.ids, g.indexes, g.states, g.seed_value, g.batch_size
from unnest($1::uuid[], $2::int[]) as asked (prompt_id, chunk)
join prompts p on p.id = asked.prompt_id join tasks t on t.id = p.task_id join batches b on b.prompt_id = p.id
left join lateral (
  select * from submissions where prompt_id = p.id and chunk = asked.chunk and pilot_id is null and {_IS_OPEN}
  order by attempt desc limit 1) s on true
cross join lateral (
  select count(*)::int as attempts,
         array_agg(distinct worker_id) filter (where error ->> 'class' = 'out_of_memory') as avoid
  from submissions where prompt_id = p.id and chunk = asked.chunk and pilot_id is null) tried
cross join lateral (
  select array_agg(id order by batch_index) as ids, array_agg(batch_index order by batch_index) as indexes,
         array_agg(state order by batch_index) as states, min(seed_value) as seed_value, min(batch_size) as batch_size
  from generations where batch_id = b.id and chunk = asked.chunk) g
"""


async def load_chunks(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> list[Chunk | None]:
    """Of each (prompt, chunk number); None for one that there is not."""
    rows = await connection.fetch(_CHUNKS, [prompt for prompt, _ in keys], [number for _, number in keys])
    found = {(row["asked_prompt"], row["asked_chunk"]): _chunk(row) for row in rows}
    return [found.get(key) for key in keys]


def _chunk(row: Record) -> Chunk | None:
    if row["ids"] is None:
        return None
    return Chunk(
        task_id=row["task_id"],
        prompt_id=row["asked_prompt"],
        number=row["asked_chunk"],
        batch_id=row["batch_id"],
        workflow_id=row["workflow_id"],
        task_state=row["task_state"],
        is_paused=row["is_paused"],
        priority=row["priority"],
        text=row["text"],
        seed=row["seed_value"],
        batch_size=row["batch_size"],
        retries_used=row["retries_used"],
        losses=row["losses"],
        attempts=row["attempts"],
        submission=_submission(row) if row["id"] else None,
        avoid=frozenset(row["avoid"] or ()),
        missing=[
            MissingImage(image_id, batch_index, state)
            for image_id, batch_index, state in zip(row["ids"], row["indexes"], row["states"], strict=True)
            if state in (GenerationState.PENDING, GenerationState.RUNNING)
        ],
    )


_FROZEN_SNAPSHOT = "select frozen_snapshot from tasks where id = $1 and state <> 'DRAFT'"


async def frozen_snapshot(connection: Connection, task_id: UUID) -> dict[str, Any]:
    snapshot: dict[str, Any] = await connection.fetchval(_FROZEN_SNAPSHOT, task_id)
    return snapshot


# ---------------------------------------------------------------------------------------------------------- sent

# A pilot's task is a DRAFT: what decides is the pilot, and whoever cancels that locks its task.
_LOCK_TASK = "select true from tasks where id = $1 for share"
_PILOT_IS_WANTED = "select exists (select from pilots where id = $1 and state = 'running')"
_SENT = """
update submissions set state = 'sent', sent_at = now(), graph_digest = $3 where id = $1 and state = any($2)
returning sent_at
"""
# Nothing goes to a worker that was disabled, drained or removed since the reservation.
_QUEUE_LENGTH = """
update workers set current_queue_len = greatest($2, 0), updated_at = now()
where id = $1 and enabled and removed_at is null
"""


async def mark_pilot_sent(
    connection: Connection, submission: Submission, plan: Plan, *, queue_length: int, graph_digest: str
) -> datetime | None:
    """As `steps_repository.mark_sent`; after None the transaction must be rolled back."""
    await connection.execute(_LOCK_TASK, plan.task_id)
    if not await connection.fetchval(_PILOT_IS_WANTED, plan.pilot_id):
        return None
    if _count(await connection.execute(_QUEUE_LENGTH, submission.worker_id, queue_length)) == 0:
        return None
    sent_at: datetime | None = await connection.fetchval(
        _SENT, submission.id, sources(SUBMISSION_MOVES, SubmissionState.SENT), graph_digest
    )
    return sent_at


_SENT_AGAIN = (
    "update submissions set sent_at = now() where id = $1 and state = 'sent' and sent_at = $2 returning sent_at"
)


async def mark_sent_again(connection: Connection, submission: Submission) -> datetime | None:
    """Only the owner that read `sent_at` may POST once more; a second one gets None."""
    sent_at: datetime | None = await connection.fetchval(_SENT_AGAIN, submission.id, submission.sent_at)
    return sent_at


_OPEN = "select ended_at is null from submissions where id = $1"


async def is_open(connection: Connection, submission_id: UUID) -> bool:
    """Nobody has decided about it yet."""
    return bool(await connection.fetchval(_OPEN, submission_id))


# ----------------------------------------------------------------------------------------------------- readiness

# Pages are ordered by (ready_at, id) and a cursor must never miss a batch: within a task ready_at grows in the order
# of the commits. The advisory lock is held until then; greatest() stands against a clock that steps back.
_LOCK_READY = """
select pg_advisory_xact_lock(hashtextextended('ready ' || task_id::text, 0))
from (select distinct task_id from batches where id = any ($1::uuid[]) order by task_id) tasks
"""
_READY = """
update batches b set candidates = done, ready_at = greatest(clock_timestamp(), (
  select ready_at + interval '1 microsecond' from batches
  where task_id = b.task_id and ready_at is not null order by task_id desc, ready_at desc, id desc limit 1))
where id = any ($1::uuid[]) and ready_at is null and done + failed = total and (failed = 0 or done >= 2)
returning id
"""
_CANDIDATES = """
update generations g set candidate_index = o.number from (
  select id, row_number() over (partition by batch_id order by position) - 1 as number from generations
  where batch_id = any ($1::uuid[]) and state = 'done') o
where g.id = o.id
"""


async def make_ready(connection: Connection, batch_ids: Sequence[UUID]) -> None:
    """A batch becomes ready once and for good; its done images get their candidate_index then."""
    if not batch_ids:
        return
    await connection.execute(_LOCK_READY, batch_ids)
    ready = [row["id"] for row in await connection.fetch(_READY, batch_ids)]
    if ready:
        await connection.execute(_CANDIDATES, ready)


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
        await make_ready(connection, [batch_id])
    return moved


async def note_ineligible(connection: Connection, worker_id: UUID, workflow_id: UUID, reason: str) -> None:
    await connection.execute(_INELIGIBLE, worker_id, workflow_id, reason)


def _submission(row: Record) -> Submission:
    return Submission(
        id=row["id"],
        worker_id=row["worker_id"],
        state=SubmissionState(row["state"]),
        attempt=row["attempt"],
        sent_at=row["sent_at"],
        sent_since=clock() - (row["sent_seconds_ago"] or 0.0),
    )


def _count(tag: str) -> int:
    return int(tag.rsplit(" ", 1)[-1])
