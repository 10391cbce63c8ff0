"""Is a worker well? HEALTHY after one check that passes; UNHEALTHY after two that fail.

At once when somebody asked for the check, or when a submission found the worker dead.
"""

import asyncio
from typing import Protocol
from uuid import UUID

import aiohttp
import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.db.notifications import notify
from comfylabel.db.pool import Connection, Database
from comfylabel.workers import inventories_repository, repository
from comfylabel.workers.schemas import Probe, Worker

log = structlog.get_logger(__name__)

FAILURES_ALLOWED = 1  # one lost packet or one busy moment is no reason to move the work elsewhere


class Clients(Protocol):
    """Of `WorkerService`, what a check needs: the client that knows the worker's address and key."""

    def client(self, worker: Worker, session: aiohttp.ClientSession) -> ComfyClient: ...


async def check_all(database: Database, clients: Clients, session: aiohttp.ClientSession) -> list[Worker]:
    """One round over the enabled workers, all at once: a dead one holds back no other."""
    async with database.connection() as connection:
        workers = await repository.list_enabled(connection)
    return list(await asyncio.gather(*(check(database, clients, worker, session) for worker in workers)))


async def check(
    database: Database,
    clients: Clients,
    worker: Worker,
    session: aiohttp.ClientSession,
    explicit: bool = False,
) -> Worker:
    """Probe, write down what came out, and answer the worker as it stands now."""
    return await note(database, worker, await probe(clients, worker, session), explicit=explicit)


async def probe(clients: Clients, worker: Worker, session: aiohttp.ClientSession) -> Probe:
    """GET /system_stats and /queue, together. Changes nothing and raises nothing: a failure is an answer."""
    try:
        client = clients.client(worker, session)
        stats, queue = await asyncio.gather(client.system_stats(), client.queue())
    except WorkerError as error:
        return Probe(failure=error.message)
    device = stats.devices[0] if stats.devices else None
    return Probe(
        len(queue.running),
        len(queue.pending),
        stats.version,
        device=device.name or None if device else None,
        vram_total=device.vram_total or None if device else None,
        vram_free=device.vram_free or None if device else None,
        fingerprint=stats.fingerprint,
    )


async def note(database: Database, worker: Worker, result: Probe, *, explicit: bool) -> Worker:
    """A worker that was removed or moved while it was being probed is answered as it was."""
    allowed = 0 if explicit else FAILURES_ALLOWED
    async with database.transaction() as connection:
        noted = await repository.note_probe(connection, worker, result, failures_allowed=allowed)
        if noted is not None and result.fingerprint is not None:
            await inventories_repository.note_fingerprint(connection, worker.id, result.fingerprint)
        if noted is not None and explicit:
            await inventories_repository.doubt(connection, [worker.id])  # perhaps a model was put there just now
            if result.failure is None:
                await inventories_repository.forget_refusals(connection, worker.id)
        if noted is not None and noted.status != worker.status:
            await notify(connection, workers=[worker.id])
    if noted is None:
        return worker
    if noted.status != worker.status:
        if noted.status == "HEALTHY":
            log.info("worker_healthy", worker=noted.name)
        else:
            log.warning("worker_unhealthy", worker=noted.name, reason=noted.reason)
    return noted


async def mark_dead(connection: Connection, worker_id: UUID, reason: str) -> None:
    """A submission found it dead: nobody else has to find out by trying."""
    await repository.mark_dead(connection, worker_id, reason)
    await notify(connection, workers=[worker_id])
    log.warning("worker_unhealthy", worker=str(worker_id), reason=reason)
