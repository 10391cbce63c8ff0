"""The registry of workers: who is in it, at which address, with which key."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import psutil

from comfylabel.accounts.repository import audit
from comfylabel.accounts.schemas import Principal
from comfylabel.comfy.client import MAX_IMAGE_BYTES, ComfyClient
from comfylabel.db.jobs import drain_job, enqueue
from comfylabel.db.notifications import notify
from comfylabel.db.pool import Database
from comfylabel.errors import Conflict, InvalidField, NotFound
from comfylabel.workers import headers as header_rules
from comfylabel.workers import health, repository
from comfylabel.workers.base_url import check_addresses, host_and_port, is_trusted_as, normal_base_url
from comfylabel.workers.encryption import ApiKeyUnreadable, Vault
from comfylabel.workers.schemas import NewWorker, Probe, Worker, WorkerChange, WorkerRow


class WorkerService:
    """`secret` is the installation's, for keys and headers; `own_port` where this server itself listens."""

    def __init__(
        self,
        database: Database,
        *,
        secret: bytes,
        own_port: int | None = None,
        max_image_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        self._database = database
        self._vault = Vault(secret)
        self._own_port = own_port
        self._max_image_bytes = max_image_bytes

    def client(self, worker: Worker, session: aiohttp.ClientSession) -> ComfyClient:
        """With what is sent along on HTTP and on the websocket's handshake, decrypted here only."""
        return ComfyClient(
            session,
            worker.base_url,
            api_key=self._vault.decrypt(worker.api_key) if worker.api_key else None,
            headers=self._headers(worker.headers),
            max_image_bytes=self._max_image_bytes,
        )

    async def list_all(self) -> list[Worker]:
        async with self._database.connection() as connection:
            return await repository.list_all(connection)

    async def present(self, worker_id: UUID) -> Worker:
        """404 for a removed one."""
        async with self._database.connection() as connection:
            return _present(await repository.get(connection, worker_id), worker_id)

    async def rows(self) -> list[WorkerRow]:
        async with self._database.connection() as connection:
            workers = await repository.list_all(connection)
            held = await repository.held_by_all(connection)
        return [WorkerRow(worker, held.get(worker.id, 0)) for worker in workers]

    async def row(self, worker: Worker) -> WorkerRow:
        async with self._database.connection() as connection:
            return await repository.with_held(connection, worker)

    async def create(self, by: Principal, body: NewWorker, session: aiohttp.ClientSession) -> Worker:
        """Answers once the worker has been probed: the list is right from the first look at it."""
        header_rules.check(body.headers)
        header_rules.refuse_two_authorizations(body.headers, has_api_key=body.api_key is not None)
        base_url = await self._checked_base_url(body.base_url)
        async with self._database.transaction() as connection:
            worker = await repository.insert(
                connection,
                name=body.name,
                base_url=base_url,
                api_key=self._vault.encrypt(body.api_key) if body.api_key else None,
                priority=body.priority,
                max_concurrent_jobs=body.max_concurrent_jobs,
                tags=_distinct(body.tags),
                **self._header_columns(body.headers),
            )
            if worker is None:
                raise _name_taken(body.name)
            await audit(connection, by.user_id, "worker_added", worker.name, {"base_url": base_url})
            await notify(connection, workers=[worker.id])
        return await health.check(self._database, self, worker, session, explicit=True)

    async def change(
        self, by: Principal, worker_id: UUID, body: WorkerChange, session: aiohttp.ClientSession
    ) -> Worker:
        changes = self._changes(body)
        if "base_url" in changes:
            changes["base_url"] = await self._checked_base_url(changes["base_url"])
        async with self._database.transaction() as connection:
            before = _present(await repository.lock(connection, worker_id), worker_id)
            told = _told(changes)
            if "base_url" in changes and not is_trusted_as(before.base_url, changes["base_url"]):
                # Another server: who may move a worker may not read its secrets.
                changes.setdefault("api_key", None)
                before = replace(before, headers=None, header_names=())
            if "headers" in changes:
                changes |= self._changed_headers(before, changes["headers"])
            if "name" in changes and await repository.name_is_taken(connection, changes["name"], worker_id):
                raise _name_taken(changes["name"])
            worker = replace(before, **changes)
            header_rules.refuse_two_authorizations(worker.header_names, has_api_key=worker.api_key is not None)
            worker = await repository.update(connection, worker)
            moved = worker.base_url != before.base_url
            if moved:
                worker = await repository.forget_checks(connection, worker_id)
            await audit(connection, by.user_id, "worker_changed", worker.name, told)
            await notify(connection, workers=[worker_id])
        came_back = worker.enabled and not before.enabled
        if moved or came_back or {"api_key", "headers"} & set(changes):
            return await health.check(self._database, self, worker, session, explicit=True)
        return worker

    async def drain(self, by: Principal, worker_id: UUID) -> WorkerRow:
        """It gets nothing more, and what waits there of ours is made elsewhere; what runs ends and is kept. Answers
        the worker as it stood when the order was given.
        """
        async with self._database.transaction() as connection:
            before = _present(await repository.lock(connection, worker_id), worker_id)
            worker = await repository.update(connection, replace(before, enabled=False))
            await enqueue(connection, [drain_job(worker_id)])
            await audit(connection, by.user_id, "worker_drained", worker.name)
            await notify(connection, workers=[worker_id])
            return await repository.with_held(connection, worker)

    async def remove(self, by: Principal, worker_id: UUID) -> None:
        """It gets nothing more; its row stays, because images point at it."""
        async with self._database.transaction() as connection:
            name = await repository.remove(connection, worker_id)
            if name is None:
                raise _unknown(worker_id)
            await audit(connection, by.user_id, "worker_removed", name)
            await notify(connection, workers=[worker_id])

    async def test(self, worker_id: UUID, session: aiohttp.ClientSession) -> Probe:
        worker = await self.present(worker_id)
        result = await health.probe(self, worker, session)
        await health.note(self._database, worker, result, explicit=True)
        return result

    async def why_silent(self, worker: Worker, session: aiohttp.ClientSession) -> str | None:
        """Why it gives no sign of life just now; None when it does. That it gave none counts as a check that failed."""
        result = await health.probe(self, worker, session)
        if result.failure is not None:
            await health.note(self._database, worker, result, explicit=False)
        return result.failure

    def _changes(self, body: WorkerChange) -> dict[str, Any]:
        """What was sent, as the row holds it but for `headers`. `api_key` and `headers` may be null: that forgets."""
        changes = body.model_dump(exclude_unset=True)
        for name, value in changes.items():
            if value is None and name not in {"api_key", "headers"}:
                raise InvalidField(name, "must not be null; leave it out to keep it")
        header_rules.check(changes.get("headers") or {})
        if changes.get("api_key") is not None:
            changes["api_key"] = self._vault.encrypt(changes["api_key"])
        if "tags" in changes:
            changes["tags"] = _distinct(changes["tags"])
        return changes

    def _changed_headers(self, before: Worker, changes: Mapping[str, str | None] | None) -> dict[str, Any]:
        if changes is None:
            return self._header_columns({})
        try:
            present = self._headers(before.headers)
        except ApiKeyUnreadable:
            present = {}  # lost with their secret key: what is entered now begins anew
        return self._header_columns(header_rules.changed(present, changes))

    def _header_columns(self, headers: Mapping[str, str]) -> dict[str, Any]:
        encrypted = self._vault.encrypt(orjson.dumps(dict(headers)).decode()) if headers else None
        return {"headers": encrypted, "header_names": tuple(sorted(headers))}

    def _headers(self, encrypted: str | None) -> dict[str, str]:
        headers: dict[str, str] = orjson.loads(self._vault.decrypt(encrypted)) if encrypted else {}
        return headers

    async def _checked_base_url(self, text: str) -> str:
        base_url = normal_base_url(text)
        host, port = host_and_port(base_url)
        check_addresses(base_url, await _resolve(host, port), own_port=self._own_port, own_addresses=_own_addresses())
        return base_url


async def _resolve(host: str, port: int) -> list[str]:
    """Every address; none for a name that nobody knows yet: the probe will say so, and it may come."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[4][0]) for address in found]


def _own_addresses() -> list[str]:
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]


def _distinct(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _told(changes: dict[str, Any]) -> dict[str, Any]:
    """For the audit: that a key changed and which headers, never the key nor a value."""
    told = {name: "changed" if name == "api_key" else value for name, value in changes.items()}
    if told.get("headers"):
        told["headers"] = sorted(told["headers"])
    return told


def _present(worker: Worker | None, worker_id: UUID) -> Worker:
    if worker is None or worker.removed_at is not None:
        raise _unknown(worker_id)
    return worker


def _unknown(worker_id: UUID) -> NotFound:
    return NotFound(f"There is no worker {worker_id}.")


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is already a worker named {name}.", code="name_taken")
