"""Cancel: what waits on a worker is deleted, what runs is interrupted by its id, never anything of somebody else.

The rows come first: from there on nobody takes the interruption for a failure of the prompt, and what is begun anew
has another id. So a cancel that comes late, or twice, meets nothing but what it names.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.db.pool import Database
from comfylabel.generations import taking_back_repository
from comfylabel.generations.taking_back_repository import on_workers
from comfylabel.orchestrator.fleet import Fleet

log = structlog.get_logger()

# An id that a worker has queued twice (it repeats one without a word) needs as many deletes.
_DELETES = 3


@dataclass(frozen=True, slots=True)
class Canceller:
    database: Database
    fleet: Fleet

    async def withdraw(self, worker_id: UUID, submission_ids: Collection[UUID]) -> None:
        """Take these off the worker; one that is away holds them until the tidying finds it back."""
        client = await self.fleet.client_of(worker_id)
        await withdraw_from_worker(client, [str(submission_id) for submission_id in submission_ids])

    async def cancel_pilot(self, pilot_id: UUID) -> None:
        """What a pilot that died half-way has left on its worker."""
        async with self.database.transaction() as connection:
            taken = await taking_back_repository.of_pilot(connection, pilot_id, "The pilot was cancelled.")
        for worker_id, submission_ids in on_workers(taken).items():
            await self.withdraw(worker_id, submission_ids)


async def withdraw_from_worker(client: ComfyClient, identities: Collection[str]) -> None:
    """Out of its queue, or stopped there; a worker that does not answer has nothing to stop."""
    try:
        for _ in range(_DELETES):
            await client.delete_queued(identities)
            queue = await client.queue()
            if not queue.ids & set(identities) - set(queue.running):
                break
        for identity in set(identities) & set(queue.running):
            await client.interrupt(identity)
    except WorkerError as error:
        log.info("withdraw_failed", submissions=len(identities), reason=error.message)
