"""What each worker has: its nodes, and in their choices its models and files, as its /object_info says.

Asked rarely and aside, kept in the database for everybody: who decides about work reads what is kept.
"""

import asyncio
import gzip
import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp

from comfylabel.db.pool import Database
from comfylabel.workers import inventories_repository as repository
from comfylabel.workers.health import Clients
from comfylabel.workers.inventories_repository import Known
from comfylabel.workers.repository import list_enabled
from comfylabel.workers.schemas import Worker

ObjectInfo: TypeAlias = Mapping[str, Any]

# One of 811 nodes takes some 10 MB once it is unpacked; workers of one fleet are mostly alike.
_UNPACKED = 8
_GZIP_LEVEL = 5  # 1.4 MB: 85 kB in 15 ms; level 9 saves 4 kB and takes 60 ms


class Inventories:
    def __init__(self, database: Database, clients: Clients, session: aiohttp.ClientSession) -> None:
        self._database = database
        self._clients = clients
        self._session = session
        self._unpacked: OrderedDict[str, ObjectInfo] = OrderedDict()

    async def known(self) -> dict[UUID, Known]:
        """Of every worker that was ever asked."""
        async with self._database.connection() as connection:
            return await repository.known(connection)

    async def due(self) -> list[Worker]:
        """Healthy workers that were never asked, are in doubt, or were asked too long ago."""
        async with self._database.connection() as connection:
            due = await repository.due(connection)
            return [worker for worker in await list_enabled(connection) if worker.id in due] if due else []

    async def doubt(self, worker_ids: Collection[UUID]) -> None:
        """Something happened that may have changed what they have: the next to look asks them again."""
        async with self._database.transaction() as connection:
            await repository.doubt(connection, worker_ids)

    async def forget_unused(self) -> None:
        """What no worker has had for a day."""
        async with self._database.transaction() as connection:
            await repository.forget_unused(connection)

    async def ask(self, worker: Worker) -> str:
        """Ask it now and keep the answer; its digest. Raises WorkerError."""
        object_info = await self._clients.client(worker, self._session).object_info()
        digest = await asyncio.to_thread(_digest, object_info)
        self._remember(digest, object_info)
        async with self._database.transaction() as connection:
            is_kept = await repository.keep(connection, digest)
        packed = b"" if is_kept else await asyncio.to_thread(_pack, object_info)
        async with self._database.transaction() as connection:
            if not is_kept:
                await repository.insert(connection, digest, packed, len(object_info))
            await repository.note(connection, worker, digest)
        return digest

    async def object_info(self, digest: str) -> ObjectInfo | None:
        """None when nobody has it any more."""
        if digest not in self._unpacked:
            async with self._database.connection() as connection:
                packed = await repository.object_info(connection, digest)
            if packed is None:
                return None
            self._remember(digest, await asyncio.to_thread(_unpack, packed))
        self._unpacked.move_to_end(digest)
        return self._unpacked[digest]

    def _remember(self, digest: str, object_info: ObjectInfo) -> None:
        self._unpacked.setdefault(digest, object_info)
        self._unpacked.move_to_end(digest)
        while len(self._unpacked) > _UNPACKED:
            self._unpacked.popitem(last=False)


# json, not orjson: a stranger's text may hold half of a character.
def _digest(object_info: ObjectInfo) -> str:
    """In whatever order the nodes were loaded."""
    text = json.dumps(object_info, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(object_info: ObjectInfo) -> bytes:
    return gzip.compress(json.dumps(object_info, separators=(",", ":")).encode(), _GZIP_LEVEL)


def _unpack(packed: bytes) -> ObjectInfo:
    unpacked: ObjectInfo = json.loads(gzip.decompress(packed))
    return unpacked
