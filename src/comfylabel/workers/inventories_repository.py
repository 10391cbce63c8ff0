"""SQL on inventories: what a worker's /object_info said, kept once for all workers that say the same."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.workers.schemas import Worker

# Somebody puts a model there, and nothing else tells of it.
_BELIEVED = "interval '10 minutes'"

_DUE = f"""
select id from workers where enabled and removed_at is null and status = 'HEALTHY'
  and (inventory_at is null or inventory_at < now() - {_BELIEVED})
"""


async def due(connection: Connection) -> set[UUID]:
    """Workers to be asked again: never asked, in doubt, or asked too long ago."""
    return {row["id"] for row in await connection.fetch(_DUE)}


@dataclass(frozen=True, slots=True)
class Known:
    """Of a worker that was asked; `in_doubt`: something happened since that may have changed what it has."""

    digest: str
    in_doubt: bool


_KNOWN = """
select id, inventory_digest, inventory_at is null as in_doubt from workers
where removed_at is null and inventory_digest is not null
"""


async def known(connection: Connection) -> dict[UUID, Known]:
    return {row["id"]: Known(row["inventory_digest"], row["in_doubt"]) for row in await connection.fetch(_KNOWN)}


_OBJECT_INFO = "select object_info from inventories where digest = $1"


async def object_info(connection: Connection, digest: str) -> bytes | None:
    """Gzip of JSON."""
    packed: bytes | None = await connection.fetchval(_OBJECT_INFO, digest)
    return packed


_IS_KEPT = "update inventories set created_at = now() where digest = $1 returning true"


async def keep(connection: Connection, digest: str) -> bool:
    """Whether it is there already; from now on it is as young as a new one, so that nobody deletes it meanwhile."""
    return bool(await connection.fetchval(_IS_KEPT, digest))


_INSERT = """
insert into inventories (digest, object_info, nodes) values ($1, $2, $3)
on conflict (digest) do update set created_at = now()
"""


async def insert(connection: Connection, digest: str, packed: bytes, nodes: int) -> None:
    await connection.execute(_INSERT, digest, packed, nodes)


# Of the server that was asked: a worker that has moved meanwhile is another one.
_NOTE = """
with before as (select id, inventory_digest from workers where id = $1 and base_url = $3 for no key update)
update workers w set inventory_digest = $2, inventory_at = now()
from before where w.id = before.id
returning before.inventory_digest is distinct from $2
"""
# It has other nodes or models now: what it refused may be asked again at once.
_FORGET_REFUSALS = "delete from ineligible_workers where worker_id = $1"


async def note(connection: Connection, worker: Worker, digest: str) -> None:
    if await connection.fetchval(_NOTE, worker.id, digest, worker.base_url):
        await forget_refusals(connection, worker.id)


async def forget_refusals(connection: Connection, worker_id: UUID) -> None:
    """A person has mended it, or thinks so: that what it refused still stands is found out by trying."""
    await connection.execute(_FORGET_REFUSALS, worker_id)


_DOUBT = "update workers set inventory_at = null where id = $1 and inventory_at is not null"


async def doubt(connection: Connection, worker_ids: Collection[UUID]) -> None:
    """Ask them again soon."""
    for worker_id in sorted(worker_ids):  # locks in the order of ids, as everywhere
        await connection.execute(_DOUBT, worker_id)


_FINGERPRINT = """
update workers set fingerprint = $2,
  inventory_at = case when fingerprint is distinct from $2 then null else inventory_at end
where id = $1 and fingerprint is distinct from $2
"""


async def note_fingerprint(connection: Connection, worker_id: UUID, fingerprint: str) -> None:
    """Another release, another device, other arguments: it may have other nodes."""
    await connection.execute(_FINGERPRINT, worker_id, fingerprint)


_FORGET = """
delete from inventories i where created_at < now() - interval '1 day'
  and not exists (select from workers where inventory_digest = i.digest)
"""


async def forget_unused(connection: Connection) -> None:
    await connection.execute(_FORGET)
