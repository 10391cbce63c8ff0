"""SQL on how busy the workers are with our submissions, and what they have refused."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.workers.repository import list_enabled
from comfylabel.workers.schemas import Worker

_HELD = """
select worker_id, count(*) as held from submissions where state in ('reserved', 'sent', 'accepted') group by worker_id
"""

# A refusal is believed for five minutes: somebody may put the missing model there, and asking costs one round trip.
_REFUSALS = "select worker_id, workflow_id from ineligible_workers where created_at > now() - interval '5 minutes'"


@dataclass(frozen=True, slots=True)
class Load:
    """`held`: our submissions that take one of the worker's slots."""

    worker: Worker
    held: int


async def loads(connection: Connection) -> list[Load]:
    """Of every enabled worker."""
    held = {row["worker_id"]: row["held"] for row in await connection.fetch(_HELD)}
    return [Load(worker, held.get(worker.id, 0)) for worker in await list_enabled(connection)]


async def refusals(connection: Connection) -> dict[UUID, frozenset[UUID]]:
    """Worker id -> workflows that it said it cannot run."""
    found: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for row in await connection.fetch(_REFUSALS):
        found[row["worker_id"]].add(row["workflow_id"])
    return {worker: frozenset(workflows) for worker, workflows in found.items()}
