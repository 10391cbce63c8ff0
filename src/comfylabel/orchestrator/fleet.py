"""The workers as this process speaks to them: one client and one websocket each, made on first use."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import aiohttp

from comfylabel.comfy.client import ComfyClient
from comfylabel.db.pool import Database
from comfylabel.orchestrator.listening import WorkerListener
from comfylabel.workers import health
from comfylabel.workers import repository as workers_repository
from comfylabel.workers.schemas import Worker
from comfylabel.workers.service import WorkerService


@dataclass(frozen=True, slots=True)
class _Line:
    """Kept until the worker's address, key or headers change."""

    address: tuple[str, str | None, str | None]
    client: ComfyClient
    listener: WorkerListener


class Fleet:
    """`on_idle(worker_id)` is called when a worker's websocket says that something ended there, `on_back(worker_id)`
    when its websocket was lost and is open again.
    """

    on_idle: Callable[[UUID], None] = staticmethod(lambda _: None)
    on_back: Callable[[UUID], None] = staticmethod(lambda _: None)

    def __init__(self, database: Database, service: WorkerService, session: aiohttp.ClientSession) -> None:
        self._database = database
        self._service = service
        self._session = session
        self._lines: dict[UUID, _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def client(self, worker: Worker) -> ComfyClient:
        return self._line(worker).client

    async def client_of(self, worker_id: UUID) -> ComfyClient:
        """Also of a worker that is disabled or removed meanwhile: what it holds of ours is still followed."""
        if worker_id not in self._lines:
            async with self._database.connection() as connection:
                worker = await workers_repository.get(connection, worker_id)
            assert worker is not None, "submissions keep their worker"
            return self.client(worker)
        return self._lines[worker_id].client

    def forget(self, worker_id: UUID, submission_id: UUID) -> None:
        """Nobody waits for that submission any more; the worker may never have been spoken to."""
        if worker_id in self._lines:
            self._lines[worker_id].listener.forget(str(submission_id))

    def listener(self, worker_id: UUID) -> WorkerListener:
        """Of a worker that was spoken to before."""
        return self._lines[worker_id].listener

    async def check(self, worker: Worker) -> None:
        """It did not answer the gate. A ComfyUI that loads a model may be slow once: two failures make it UNHEALTHY."""
        await health.check(self._database, self._service, worker, self._session)

    async def found_dead(self, worker_id: UUID, reason: str) -> None:
        """A submission met a worker that does not answer: nobody else should wait for the next health check."""
        async with self._database.transaction() as connection:
            await health.mark_dead(connection, worker_id, reason)

    def keep(self, enabled: Sequence[Worker]) -> None:
        """Let go of the lines to workers that have moved, and to those that get nothing any more and have done all."""
        addresses = {worker.id: _address(worker) for worker in enabled}
        for worker_id, line in list(self._lines.items()):
            has_moved = worker_id in addresses and addresses[worker_id] != line.address
            if has_moved or (worker_id not in addresses and not line.listener.is_needed):
                self._close(worker_id)

    async def close(self) -> None:
        await asyncio.gather(*self._closing, *(line.listener.close() for line in self._lines.values()))

    def _close(self, worker_id: UUID) -> None:
        closing = asyncio.create_task(self._lines.pop(worker_id).listener.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _line(self, worker: Worker) -> _Line:
        line = self._lines.get(worker.id)
        address = _address(worker)
        if line is not None and line.address == address:
            return line
        if line is not None:
            self._close(worker.id)
        client = self._service.client(worker, self._session)
        listener = WorkerListener(client, lambda: self.on_idle(worker.id), lambda: self.on_back(worker.id))
        line = self._lines[worker.id] = _Line(address, client, listener)
        return line


def _address(worker: Worker) -> tuple[str, str | None, str | None]:
    return worker.base_url, worker.api_key, worker.headers
