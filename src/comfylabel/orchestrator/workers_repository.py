"""SQL on how busy the workers are with our submissions, and what they have refused."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.generations.states import OPEN
from comfylabel.orchestrator.yielding import Elsewhere
from comfylabel.workers.repository import list_enabled
from comfylabel.workers.schemas import Worker

_SLOTS = "select id, worker_id, task_id from submissions where state in ('accepted', 'reserved', 'sent')"

# A refusal is believed for five minutes: somebody may put the missing model there, and asking costs one round trip.
_REFUSALS = "select worker_id, workflow_id from ineligible_workers where created_at > now() - interval '5 minutes'"

_TASKS_NOW = "select id, priority, state = 'RUNNING' and paused_at is null as is_wanted from tasks where id = any ($1)"


@dataclass(frozen=True, slots=True)
class Slot:
    """One that a submission holds."""

    worker_id: UUID
    task_id: UUID


async def enabled_workers(connection: Connection) -> tuple[list[Worker], datetime]:
    """And the moment, by the clock that wrote when they were checked."""
    workers = await list_enabled(connection)
    moment: datetime = await connection.fetchval("select clock_timestamp()")
    return workers, moment


async def slots(connection: Connection) -> dict[UUID, Slot]:
    """By submission, of every process."""
    return {row["id"]: Slot(row["worker_id"], row["task_id"]) for row in await connection.fetch(_SLOTS)}


async def tasks_now(connection: Connection, task_ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
    """Their priority, and whether they run and are not paused."""
    return {row["id"]: (row["priority"], row["is_wanted"]) for row in await connection.fetch(_TASKS_NOW, task_ids)}


async def refusals(connection: Connection) -> dict[UUID, frozenset[UUID]]:
    """Worker id -> workflows that it said it cannot run."""
    found: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for row in await connection.fetch(_REFUSALS):
        found[row["worker_id"]].add(row["workflow_id"])
    return {worker: frozenset(workflows) for worker, workflows in found.items()}


_HIGHER = "select id from tasks where state = 'RUNNING' and paused_at is null and priority > $1"
# Jobs that others have picked, whose next submission is not reserved yet.
_CHUNKS_ELSEWHERE = """
with picked as materialized (
  select split_part(dedupe_key, ':', 1)::uuid as task_id, split_part(dedupe_key, ':', 2)::uuid as prompt_id,
         split_part(dedupe_key, ':', 3)::int as chunk
  from pgqueuer
  where entrypoint = 'generate' and status = 'picked' and queue_manager_id <> $1
    and split_part(dedupe_key, ':', 1) = any ($2::text[])
)
select t.id, t.workflow_id, t.priority, count(*) as waiting
from picked j join tasks t on t.id = j.task_id
left join lateral (
  select true as is_there from submissions
  where prompt_id = j.prompt_id and chunk = j.chunk and pilot_id is null and state = any ($3::text[]) limit 1) s on true
where s.is_there is null and exists (
  select from batches b join generations g on g.batch_id = b.id and g.chunk = j.chunk
  where b.prompt_id = j.prompt_id and g.state = 'pending')
group by t.id
"""
# After its first submission a pilot stays on the worker of that one.
_PILOTS_ELSEWHERE = """
select t.id, t.workflow_id, t.priority, (
  select worker_id from submissions where pilot_id = p.id and state = 'ingested'
  order by created_at desc limit 1) as worker_id
from pgqueuer j join pilots p on p.id = split_part(j.dedupe_key, ':', 2)::uuid join tasks t on t.id = p.task_id
where j.entrypoint = 'pilot' and j.status = 'picked' and j.queue_manager_id <> $1 and p.state = 'running'
  and not exists (select from submissions s where s.pilot_id = p.id and s.ended_at is null)
"""


async def waiting_elsewhere(connection: Connection, process_id: UUID, lowest: int) -> list[Elsewhere]:
    """What waits for a slot in other processes: pilots, and submissions of a higher priority than `lowest`."""
    pilots = await connection.fetch(_PILOTS_ELSEWHERE, process_id)
    higher = [str(row["id"]) for row in await connection.fetch(_HIGHER, lowest)]
    chunks = await connection.fetch(_CHUNKS_ELSEWHERE, process_id, higher, sorted(OPEN)) if higher else []
    found = [
        Elsewhere(row["id"], row["workflow_id"], row["priority"], is_pilot=True, only_worker=row["worker_id"])
        for row in pilots
    ]
    for row in chunks:
        found += [Elsewhere(row["id"], row["workflow_id"], row["priority"])] * row["waiting"]
    return found


_IS_ENABLED = "select enabled and removed_at is null from workers where id = $1"


async def is_enabled(connection: Connection, worker_id: UUID) -> bool:
    return bool(await connection.fetchval(_IS_ENABLED, worker_id))
