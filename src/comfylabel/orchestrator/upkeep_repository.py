"""SQL that looks for what was left behind: by a crash, a cancel, or a lost job."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import orjson

from comfylabel.db.jobs import ORDERS, PlannedJob
from comfylabel.db.pool import Connection
from comfylabel.generations.states import SubmissionState


@dataclass(frozen=True, slots=True)
class OpenSubmission:
    """One that its worker may hold."""

    id: UUID
    state: SubmissionState


# Removed ones too: what they hold is still followed.
_SENT_TO_DRAINED = """
select s.id, s.state from submissions s join workers w on w.id = s.worker_id
where w.id = $1 and not w.enabled and s.state in ('sent', 'accepted') order by s.id
"""


async def sent_to_drained_worker(connection: Connection, worker_id: UUID) -> list[OpenSubmission]:
    """None of a worker that is enabled (again)."""
    rows = await connection.fetch(_SENT_TO_DRAINED, worker_id)
    return [OpenSubmission(row["id"], SubmissionState(row["state"])) for row in rows]


# A reservation becomes sent or is dropped within the two seconds of GET /queue; its process must have died.
_STALE = "delete from submissions where state = 'reserved' and created_at < now() - interval '30 seconds'"


async def drop_stale_reservations(connection: Connection) -> None:
    await connection.execute(_STALE)


# A job that failed is queued again by itself; when that failed too, it is held. Not so what a person has ordered.
_FAILED_ORDERS = """
with failed as (
  select id from pgqueuer where status = 'failed' and entrypoint = any($1) for update skip locked
)
delete from pgqueuer j using failed where j.id = failed.id returning j.entrypoint, j.payload, j.priority, j.dedupe_key
"""


async def take_failed_orders(connection: Connection) -> list[PlannedJob]:
    """Orders that failed and are held, to be enqueued again in this transaction."""
    return [
        PlannedJob(row["entrypoint"], orjson.loads(row["payload"]), row["priority"], row["dedupe_key"])
        for row in await connection.fetch(_FAILED_ORDERS, ORDERS)
    ]


# The work of a job that is held has a new one by then; a week is for whoever looks for the cause.
_FAILED_JOBS = "delete from pgqueuer where status = 'failed' and updated < now() - interval '7 days'"


async def drop_failed_jobs(connection: Connection) -> None:
    await connection.execute(_FAILED_JOBS)


_WITHOUT_JOB = """
select distinct s.task_id, s.prompt_id, s.chunk, t.priority from submissions s join tasks t on t.id = s.task_id
where s.ended_at is null and s.pilot_id is null and s.state <> 'reserved' and not exists (
  select from pgqueuer j where j.status in ('queued', 'picked')
  and j.dedupe_key = s.task_id::text || ':' || s.prompt_id::text || ':' || s.chunk::text)
order by s.task_id, s.prompt_id, s.chunk
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


_WAITING_TASKS = """
select id, workflow_id from tasks t where state = 'RUNNING' and paused_at is null
  and exists (select from generations where task_id = t.id and state = 'pending' and not pilot)
order by priority desc, id
"""


async def waiting_tasks(connection: Connection) -> list[tuple[UUID, UUID]]:
    """(task, workflow) of those that want something made."""
    return [(row["id"], row["workflow_id"]) for row in await connection.fetch(_WAITING_TASKS)]


async def running_pilots(connection: Connection) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_RUNNING_PILOTS)]


async def running_tasks(connection: Connection) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_RUNNING_TASKS)]


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
