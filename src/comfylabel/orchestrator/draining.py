"""Drain: of a worker that was told to stop, what waits is taken back and made elsewhere; what runs ends and is kept.

The worker decides first: its own delete takes out what waits and nothing that runs, in one step. Only what it then
holds nowhere, be it in its queue or in its history, is taken back in the rows. Killed between the two, whoever
follows the submission finds it forgotten and sends it again.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.db.pool import AWAY, Database
from comfylabel.generations import taking_back_repository
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import upkeep_repository
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.upkeep_repository import OpenSubmission

log = structlog.get_logger()

# Between two looks at what was on its way when the order came; as the gate's own poll.
_PAUSE = 0.5
_WHY = "The worker was drained."


@dataclass(frozen=True, slots=True)
class Drainer:
    database: Database
    fleet: Fleet

    async def drain(self, worker_id: UUID) -> None:
        """Until nothing of ours waits there, or somebody has enabled the worker again. A worker that is away is asked
        until whoever follows its submissions has given them up.
        """
        while True:
            try:
                if not await self._round(worker_id):
                    return
            except (*AWAY, WorkerError) as error:
                log.info("drain_waits", worker=str(worker_id), reason=str(error))
            await asyncio.sleep(_PAUSE)

    async def _round(self, worker_id: UUID) -> bool:
        """Whether something may still come to wait there."""
        async with self.database.connection() as connection:
            submissions = await upkeep_repository.sent_to_drained_worker(connection, worker_id)
        if not submissions:
            return False
        client = await self.fleet.client_of(worker_id)
        ids = {str(submission.id) for submission in submissions}
        queue = await client.queue()
        waiting = ids & set(queue.pending) - set(queue.running)
        if waiting:
            await client.delete_queued(waiting)
            queue = await client.queue()
            await self._take_back([identity for identity in waiting - queue.ids if await _is_unknown(client, identity)])
        return bool(ids & set(queue.pending)) or any(_is_on_its_way(one, queue.ids) for one in submissions)

    async def _take_back(self, identities: list[str]) -> None:
        async with self.database.transaction() as connection:
            await taking_back_repository.named(connection, [UUID(identity) for identity in identities], _WHY)


async def _is_unknown(client: ComfyClient, identity: str) -> bool:
    """It had begun just before the delete when the worker remembers its end."""
    return await client.history(identity) is None


def _is_on_its_way(submission: OpenSubmission, held: frozenset[str]) -> bool:
    """Its POST has no answer yet: it may come to wait at any moment."""
    return submission.state is SubmissionState.SENT and str(submission.id) not in held
