"""What an admin may do to a worker directly, through its `base_url`: look into its queue, interrupt, free memory.

Nobody can send a graph this way: that would pass by the gate. What a worker answers is read, checked and reduced: a
stranger's graphs, the names of their files and the server's own paths are shown to nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import aiohttp

from comfylabel.accounts.repository import audit
from comfylabel.accounts.schemas import Principal
from comfylabel.comfy.client import INTERRUPTS_BY_ID, ComfyClient
from comfylabel.comfy.plain_text import plain, without_paths
from comfylabel.comfy.schemas import ExecutionError
from comfylabel.db.pool import Database
from comfylabel.errors import Conflict, InvalidInput, NotFound
from comfylabel.workers import passthrough_repository
from comfylabel.workers.passthrough_schemas import (
    EntryAnswer,
    EntryErrorAnswer,
    InterruptAnswer,
    QueuedAnswer,
    WorkerQueueAnswer,
)
from comfylabel.workers.schemas import Worker
from comfylabel.workers.service import WorkerService

# More than a person reads; a worker with 10 000 waiting entries says how many there are.
SHOWN_ENTRIES = 1000
_LONGEST_ID = 200
_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Passthrough:
    database: Database
    workers: WorkerService
    session: aiohttp.ClientSession

    async def queue(self, worker_id: UUID) -> WorkerQueueAnswer:
        _, client = await self._worker(worker_id)
        queue = await client.queue()
        running, pending = queue.running[:SHOWN_ENTRIES], queue.pending[:SHOWN_ENTRIES]
        async with self.database.connection() as connection:
            ours = await passthrough_repository.ours(connection, worker_id, {*running, *pending})
        return WorkerQueueAnswer(
            running=_entries(running, ours),
            pending=_entries(pending, ours),
            pending_count=len(queue.pending),
        )

    async def history(self, worker_id: UUID, submission_id: str) -> EntryAnswer:
        """How one submission ended; of a stranger's no more than that."""
        worker, client = await self._worker(worker_id)
        entry = await client.history(submission_id)
        if entry is None:
            raise NotFound(f"{worker.name} remembers no end of {submission_id}: it waits, runs, or was never there.")
        async with self.database.connection() as connection:
            task_id = (await passthrough_repository.ours(connection, worker_id, [submission_id])).get(submission_id)
        is_ours = task_id is not None
        return EntryAnswer(
            id=submission_id,
            ours=is_ours,
            task_id=task_id,
            outcome=entry.outcome,
            images=sum(len(images) for images in entry.images.values()),
            seconds=entry.seconds,
            error=_shown(entry.error) if is_ours and entry.error else None,
        )

    async def interrupt(
        self, by: Principal, worker_id: UUID, submission_id: UUID | None, *, force: bool
    ) -> InterruptAnswer:
        """One of our submissions, by its id. With `force` a stranger's too, or whatever runs where none is named."""
        worker, client = await self._worker(worker_id)
        if submission_id is None and not force:
            raise InvalidInput("Name the submission to interrupt, or say `force` to interrupt whatever runs.")
        if submission_id is not None:
            await self._check_may_name(worker, client, submission_id, force=force)
        queue = await client.queue()
        what = {"submission_id": str(submission_id) if submission_id else None, "force": force}
        # Before the act: an interruption that nobody can be asked about is worse than one that did not happen.
        async with self.database.transaction() as connection:
            await audit(connection, by.user_id, "worker_interrupted", worker.name, what)
        if submission_id is None:
            await client.interrupt_whatever_runs()
            return InterruptAnswer(was_running=bool(queue.running))
        await client.interrupt(str(submission_id))
        return InterruptAnswer(was_running=str(submission_id) in queue.running)

    async def free(self, by: Principal, worker_id: UUID, *, unload_models: bool, free_memory: bool) -> None:
        worker, client = await self._worker(worker_id)
        what = {"unload_models": unload_models, "free_memory": free_memory}
        async with self.database.transaction() as connection:
            await audit(connection, by.user_id, "worker_freed", worker.name, what)
        await client.free(**what)

    async def _check_may_name(self, worker: Worker, client: ComfyClient, submission_id: UUID, *, force: bool) -> None:
        async with self.database.connection() as connection:
            is_ours = await passthrough_repository.ours(connection, worker.id, [str(submission_id)])
        if not is_ours and not force:
            raise InvalidInput(
                f"{submission_id} is none of our submissions on {worker.name}; `force` interrupts a stranger's.",
                code="not_ours",
            )
        version = await client.system_stats()
        if version.version_numbers < INTERRUPTS_BY_ID:
            raise Conflict(
                f"The ComfyUI {version.version} of {worker.name} cannot interrupt one submission, only whatever runs: "
                "leave the id out and say `force`.",
                code="interrupts_anything",
            )

    async def _worker(self, worker_id: UUID) -> tuple[Worker, ComfyClient]:
        worker = await self.workers.present(worker_id)
        return worker, self.workers.client(worker, self.session)


def _entries(identities: Sequence[str], ours: dict[str, UUID]) -> list[QueuedAnswer]:
    return [
        QueuedAnswer(id=plain(identity, _LONGEST_ID), ours=identity in ours, task_id=ours.get(identity))
        for identity in identities
    ]


def _shown(error: ExecutionError) -> EntryErrorAnswer:
    return EntryErrorAnswer(
        node_id=error.node_id,
        node_type=error.node_type,
        exception_type=error.exception_type,
        message=plain(without_paths(error.message.partition("\n")[0]), _LONGEST_MESSAGE),
        out_of_memory=error.out_of_memory,
    )
