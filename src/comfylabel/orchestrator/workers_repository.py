"""SQL on how busy the workers are with our submissions, and what they have refused."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection
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


_IS_ENABLED = "select enabled and removed_at is null from workers where id = $1"


async def is_enabled(connection: Connection, worker_id: UUID) -> bool:
    return bool(await connection.fetchval(_IS_ENABLED, worker_id))
