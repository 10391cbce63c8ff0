"""SQL of workers. Removed ones stay as rows, because images point at them, and are listed nowhere."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Record
from comfylabel.workers.schemas import Probe, Worker, WorkerRow

COLUMNS = """
id, name, base_url, api_key, enabled, status, priority, max_concurrent_jobs, current_queue_len, failed_checks,
reason, comfyui_version, last_checked_at, removed_at, tags, headers, header_names, device, vram_total, vram_free,
created_at
"""

SELECT_ALL = f"select {COLUMNS} from workers where removed_at is null order by name"


async def list_all(connection: Connection) -> list[Worker]:
    return [_worker(row) for row in await connection.fetch(SELECT_ALL)]


# Open ones have an index of their own (ended_at is null): the count never reads what has ended.
_HELD_BY_ALL = """
select worker_id, count(*)::int as held from submissions where ended_at is null group by worker_id
"""
_HELD_BY_ONE = "select count(*)::int from submissions where worker_id = $1 and ended_at is null"


async def held_by_all(connection: Connection) -> dict[UUID, int]:
    """Worker id -> our submissions there that have not ended."""
    return {row["worker_id"]: row["held"] for row in await connection.fetch(_HELD_BY_ALL)}


async def with_held(connection: Connection, worker: Worker) -> WorkerRow:
    held: int = await connection.fetchval(_HELD_BY_ONE, worker.id)
    return WorkerRow(worker, held)


SELECT_ENABLED = f"select {COLUMNS} from workers where removed_at is null and enabled order by name"


async def list_enabled(connection: Connection) -> list[Worker]:
    return [_worker(row) for row in await connection.fetch(SELECT_ENABLED)]


SELECT_ONE = f"select {COLUMNS} from workers where id = $1"


async def get(connection: Connection, worker_id: UUID) -> Worker | None:
    """A removed worker too: its images and submissions still name it."""
    row = await connection.fetchrow(SELECT_ONE, worker_id)
    return _worker(row) if row else None


LOCK_ONE = f"select {COLUMNS} from workers where id = $1 for update"


async def lock(connection: Connection, worker_id: UUID) -> Worker | None:
    row = await connection.fetchrow(LOCK_ONE, worker_id)
    return _worker(row) if row else None


INSERT = f"""
insert into workers (id, name, base_url, api_key, priority, max_concurrent_jobs, tags, headers, header_names)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict do nothing
returning {COLUMNS}
"""


async def insert(
    connection: Connection,
    *,
    name: str,
    base_url: str,
    api_key: str | None,
    priority: int,
    max_concurrent_jobs: int,
    tags: Sequence[str],
    headers: str | None,
    header_names: Sequence[str],
) -> Worker | None:
    """None when the name is taken."""
    row = await connection.fetchrow(
        INSERT, uuid7(), name, base_url, api_key, priority, max_concurrent_jobs, list(tags), headers, list(header_names)
    )
    return _worker(row) if row else None


NAME_IS_TAKEN = "select exists (select from workers where name = $1 and id <> $2 and removed_at is null)"


async def name_is_taken(connection: Connection, name: str, worker_id: UUID) -> bool:
    taken: bool = await connection.fetchval(NAME_IS_TAKEN, name, worker_id)
    return taken


UPDATE = f"""
update workers set name = $2, base_url = $3, api_key = $4, enabled = $5, priority = $6,
  max_concurrent_jobs = $7, tags = $8, headers = $9, header_names = $10, updated_at = now()
where id = $1
returning {COLUMNS}
"""


async def update(connection: Connection, worker: Worker) -> Worker:
    """Writes what a person decides about a worker; what its checks say stays as it is."""
    row = await connection.fetchrow(
        UPDATE,
        worker.id,
        worker.name,
        worker.base_url,
        worker.api_key,
        worker.enabled,
        worker.priority,
        worker.max_concurrent_jobs,
        list(worker.tags),
        worker.headers,
        list(worker.header_names),
    )
    assert row is not None
    return _worker(row)


FORGET_CHECKS = f"""
update workers set status = 'UNHEALTHY', failed_checks = 0, current_queue_len = 0, comfyui_version = null,
  reason = null, last_checked_at = null, device = null, vram_total = null, vram_free = null,
  fingerprint = null, inventory_digest = null, inventory_at = null, updated_at = now()
where id = $1
returning {COLUMNS}
"""


async def forget_checks(connection: Connection, worker_id: UUID) -> Worker:
    """What was said of the old address says nothing about the new one."""
    row = await connection.fetchrow(FORGET_CHECKS, worker_id)
    assert row is not None
    return _worker(row)


REMOVE = """
update workers set removed_at = now(), enabled = false, api_key = null, headers = null, header_names = '{}',
  updated_at = now()
where id = $1 and removed_at is null
returning name
"""


async def remove(connection: Connection, worker_id: UUID) -> str | None:
    """Its name; None when there is no such worker. Its API key and headers are gone for good."""
    name: str | None = await connection.fetchval(REMOVE, worker_id)
    return name


NOTE_PASS = f"""
update workers set status = 'HEALTHY', failed_checks = 0, reason = null, current_queue_len = $3,
  comfyui_version = $4, device = $5, vram_total = $6, vram_free = $7, last_checked_at = now(), updated_at = now()
where id = $1 and base_url = $2 and removed_at is null
returning {COLUMNS}
"""

NOTE_FAILURE = f"""
update workers set
  failed_checks = failed_checks + 1,
  status = case when failed_checks + 1 >= $4 then 'UNHEALTHY' else status end,
  reason = case when failed_checks + 1 >= $4 or status = 'UNHEALTHY' then $3 else reason end,
  last_checked_at = now(), updated_at = now()
where id = $1 and base_url = $2 and removed_at is null
returning {COLUMNS}
"""


async def note_probe(connection: Connection, worker: Worker, probe: Probe, *, failures_allowed: int) -> Worker | None:
    """None when the worker was removed or moved meanwhile: the probe was of another one."""
    if probe.failure is None:
        row = await connection.fetchrow(
            NOTE_PASS, worker.id, worker.base_url, probe.running + probe.pending, probe.comfyui_version,
            probe.device, probe.vram_total, probe.vram_free,
        )  # fmt: skip
    else:
        row = await connection.fetchrow(NOTE_FAILURE, worker.id, worker.base_url, probe.failure, failures_allowed + 1)
    return _worker(row) if row else None


MARK_DEAD = """
update workers set status = 'UNHEALTHY', failed_checks = greatest(failed_checks, 2), reason = $2,
  last_checked_at = now(), updated_at = now()
where id = $1
"""


async def mark_dead(connection: Connection, worker_id: UUID, reason: str) -> None:
    await connection.execute(MARK_DEAD, worker_id, reason)


def _worker(row: Record) -> Worker:
    values: dict[str, Any] = dict(row)
    return Worker(**values | {"tags": tuple(row["tags"]), "header_names": tuple(row["header_names"])})
