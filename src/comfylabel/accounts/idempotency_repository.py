"""SQL of idempotency keys."""

from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Connection

CLAIM = """
insert into idempotency_keys as known (user_id, key, request) values ($1, $2, '')
on conflict (user_id, key) do update set request = '', status = null, body = null, created_at = now()
  where known.created_at < now() - interval '1 day'
    or (known.status is null and known.created_at < now() - interval '15 minutes')
returning true
"""


async def claim(connection: Connection, user_id: UUID, key: str) -> bool:
    """True for one of any number of requests that come at the same moment."""
    return await connection.fetchval(CLAIM, user_id, key) is not None


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """`status` is None while the first request is at work."""

    request: bytes
    status: int | None
    body: bytes


SELECT = "select request, status, coalesce(body, '') as body from idempotency_keys where user_id = $1 and key = $2"


async def known(connection: Connection, user_id: UUID, key: str) -> KnownAnswer | None:
    row = await connection.fetchrow(SELECT, user_id, key)
    return KnownAnswer(**row) if row else None


REMEMBER = """
update idempotency_keys set request = $3, status = $4, body = $5
where user_id = $1 and key = $2 and status is null
"""


async def remember(
    connection: Connection, user_id: UUID, key: str, *, request: bytes, status: int, body: bytes
) -> None:
    await connection.execute(REMEMBER, user_id, key, request, status, body)


RELEASE = "delete from idempotency_keys where user_id = $1 and key = $2 and status is null"


async def release(connection: Connection, user_id: UUID, key: str) -> None:
    await connection.execute(RELEASE, user_id, key)
