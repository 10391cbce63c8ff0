"""SQL that looks for what was left behind: by a crash, a cancel, or a lost job."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Connection, Record
from comfylabel.generations.states import SubmissionState


@dataclass(frozen=True, slots=True)
class OpenSubmission:
    """One that may still hold a slot; `batch_id` is None for a pilot's."""

    id: UUID
    worker_id: UUID
    chunk: int
    state: SubmissionState
    batch_id: UUID | None


_OF_TASK = """
select s.id, s.worker_id, s.chunk, s.state, b.id as batch_id from submissions s
left join batches b on b.prompt_id = s.prompt_id and s.pilot_id is null
where s.task_id = $1 and s.ended_at is null and s.state <> 'generated'
"""
_OF_PILOT = """
select id, worker_id, chunk, state, null::uuid as batch_id from submissions where pilot_id = $1 and ended_at is null
"""


async def open_submissions_of_task(connection: Connection, task_id: UUID) -> list[OpenSubmission]:
    """What is being ingested is left out: its images are made, and kept."""
    return [_open(row) for row in await connection.fetch(_OF_TASK, task_id)]


async def open_submissions_of_pilot(connection: Connection, pilot_id: UUID) -> list[OpenSubmission]:
    return [_open(row) for row in await connection.fetch(_OF_PILOT, pilot_id)]


def _open(row: Record) -> OpenSubmission:
    return OpenSubmission(row["id"], row["worker_id"], row["chunk"], SubmissionState(row["state"]), row["batch_id"])


# A reservation becomes sent or is dropped within the two seconds of GET /queue; its process must have died.
_STALE = "delete from submissions where state = 'reserved' and created_at < now() - interval '30 seconds'"


async def drop_stale_reservations(connection: Connection) -> None:
    await connection.execute(_STALE)


# PgQueuer holds a job whose handler raised. Its work has a new job by then; a week is for whoever looks for the cause.
_FAILED_JOBS = "delete from pgqueuer where status = 'failed' and updated < now() - interval '7 days'"


async def drop_failed_jobs(connection: Connection) -> None:
    await connection.execute(_FAILED_JOBS)


_WITHOUT_JOB = """
select distinct s.task_id, s.prompt_id, s.chunk, t.priority from submissions s join tasks t on t.id = s.task_id
where s.ended_at is null and s.pilot_id is null and s.state <> 'reserved' and not exists (
  select from pgqueuer j where j.status in ('queued', 'picked')
  and j.dedupe_key = s.task_id::text || ':' || s.prompt_id::text || ':' || s.chunk::text)
"""


async def open_submissions_without_job(connection: Connection) -> list[tuple[UUID, UUID, int, int]]:
    """(task, prompt, chunk, priority) of submissions that nobody follows."""
    rows = await connection.fetch(_WITHOUT_JOB)
    return [(row["task_id"], row["prompt_id"], row["chunk"], row["priority"]) for row in rows]


_ENDED_PILOTS = """
select distinct p.id from submissions s join pilots p on p.id = s.pilot_id
where s.ended_at is null and s.state <> 'reserved' and p.state <> 'running' and not exists (
  select from pgqueuer j where j.status in ('queued', 'picked') and j.dedupe_key = 'pilot:' || p.id::text)
"""


async def ended_pilots_at_work(connection: Connection) -> list[UUID]:
    """Cancelled by an edit while nobody ran them: what they left on a worker would hold its slot for ever."""
    return [row["id"] for row in await connection.fetch(_ENDED_PILOTS)]


_RUNNING_PILOTS = "select id from pilots where state = 'running'"
_RUNNING_TASKS = "select id from tasks where state = 'RUNNING' order by priority desc, id"


async def running_pilots(connection: Connection) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_RUNNING_PILOTS)]


async def running_tasks(connection: Connection) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_RUNNING_TASKS)]


_CANCELLED_TASKS = """
select distinct t.id from submissions s join tasks t on t.id = s.task_id
where s.ended_at is null and s.pilot_id is null and s.state <> 'generated' and t.end_reason = 'cancelled'
"""


async def cancelled_tasks_at_work(connection: Connection) -> list[UUID]:
    """Cancelled, but a submission of theirs may still run: its cancel met one that was under way."""
    return [row["id"] for row in await connection.fetch(_CANCELLED_TASKS)]


_ENDED_WITHOUT_IMAGES = """
select id from submissions where id = any ($2::uuid[]) and worker_id = $1 and state in ('lost', 'cancelled', 'failed')
"""


async def ended_without_images(connection: Connection, worker_id: UUID, held: Iterable[str]) -> list[str]:
    """Which of the ids that the worker holds are ours and given up."""
    ours = [UUID(identity) for identity in held if _is_uuid(identity)]
    if not ours:
        return []
    return [str(row["id"]) for row in await connection.fetch(_ENDED_WITHOUT_IMAGES, worker_id, ours)]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
