"""SQL of users, sessions, API tokens, sign-in links and audit events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.accounts.schemas import ApiToken, Principal, Role, User
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Record

PRINCIPAL_BY_SESSION = """
select users.id, users.name, users.role
from sessions join users on users.id = sessions.user_id
where sessions.token_hash = $1 and sessions.expires_at > now() and users.disabled_at is null
"""


async def principal_of_session(connection: Connection, token_hash: bytes) -> Principal | None:
    row = await connection.fetchrow(PRINCIPAL_BY_SESSION, token_hash)
    return Principal(row["id"], row["name"], Role(row["role"]), token_id=None) if row else None


PRINCIPAL_BY_BEARER = """
select users.id, users.name, users.role, api_tokens.id as token_id,
  coalesce(api_tokens.last_used_at < now() - interval '1 minute', true) as note_use
from api_tokens join users on users.id = api_tokens.user_id
where api_tokens.token_hash = $1 and api_tokens.revoked_at is null
  and (api_tokens.expires_at is null or api_tokens.expires_at > now()) and users.disabled_at is null
"""

NOTE_USE = "update api_tokens set last_used_at = now() where id = $1"


async def principal_of_token(connection: Connection, token_hash: bytes) -> Principal | None:
    """Notes the use at most once a minute: a busy token costs no write a request."""
    row = await connection.fetchrow(PRINCIPAL_BY_BEARER, token_hash)
    if row is None:
        return None
    if row["note_use"]:
        await connection.execute(NOTE_USE, row["token_id"])
    return Principal(row["id"], row["name"], Role(row["role"]), token_id=row["token_id"])


INSERT_SESSION = "insert into sessions (token_hash, user_id, expires_at) values ($1, $2, $3)"


async def add_session(connection: Connection, token_hash: bytes, user_id: UUID, expires_at: datetime) -> None:
    await connection.execute(INSERT_SESSION, token_hash, user_id, expires_at)


DELETE_SESSION = "delete from sessions where token_hash = $1"


async def end_session(connection: Connection, token_hash: bytes) -> None:
    await connection.execute(DELETE_SESSION, token_hash)


DELETE_SESSIONS = "delete from sessions where user_id = $1"


async def end_sessions(connection: Connection, user_id: UUID) -> None:
    await connection.execute(DELETE_SESSIONS, user_id)


DELETE_OTHER_SESSIONS = "delete from sessions where user_id = $1 and token_hash <> $2"


async def end_other_sessions(connection: Connection, user_id: UUID, kept: bytes) -> None:
    await connection.execute(DELETE_OTHER_SESSIONS, user_id, kept)


FORGET_EXPIRED = (
    "delete from sessions where expires_at < now()",
    "delete from sign_in_links where expires_at < now() - interval '1 day'",
    "delete from idempotency_keys where created_at < now() - interval '1 day'",
)


async def forget_expired(connection: Connection) -> None:
    for statement in FORGET_EXPIRED:
        await connection.execute(statement)


INSERT_LINK = "insert into sign_in_links (token_hash, user_id, expires_at) values ($1, $2, $3)"


async def add_link(connection: Connection, token_hash: bytes, user_id: UUID, expires_at: datetime) -> None:
    await connection.execute(INSERT_LINK, token_hash, user_id, expires_at)


USE_LINK = """
update sign_in_links set used_at = now()
where token_hash = $1 and used_at is null and expires_at > now()
returning user_id
"""


async def use_link(connection: Connection, token_hash: bytes) -> UUID | None:
    """The link's user, once: a second call, even at the same moment, gets none."""
    user_id: UUID | None = await connection.fetchval(USE_LINK, token_hash)
    return user_id


DELETE_UNUSED_LINKS = "delete from sign_in_links where user_id = $1 and used_at is null"


async def withdraw_links(connection: Connection, user_id: UUID) -> None:
    await connection.execute(DELETE_UNUSED_LINKS, user_id)


USER_COLUMNS = "id, name, role, disabled_at, created_at"

SELECT_USER = f"select {USER_COLUMNS} from users where id = $1"


async def user(connection: Connection, user_id: UUID) -> User | None:
    row = await connection.fetchrow(SELECT_USER, user_id)
    return _user(row) if row else None


SELECT_USER_BY_NAME = f"select {USER_COLUMNS}, password_hash from users where lower(name) = lower($1)"


async def user_by_name(connection: Connection, name: str) -> tuple[User, str | None] | None:
    """The user and their password's hash."""
    row = await connection.fetchrow(SELECT_USER_BY_NAME, name)
    return (_user(row), row["password_hash"]) if row else None


SELECT_PASSWORD_HASH = "select password_hash from users where id = $1"  # noqa: S105 - SQL


async def password_hash_of(connection: Connection, user_id: UUID) -> str | None:
    value: str | None = await connection.fetchval(SELECT_PASSWORD_HASH, user_id)
    return value


SELECT_USERS = f"select {USER_COLUMNS} from users order by lower(name)"


async def users(connection: Connection) -> list[User]:
    return [_user(row) for row in await connection.fetch(SELECT_USERS)]


SELECT_FIRST_ADMIN = f"""
select {USER_COLUMNS} from users where role = 'admin' and disabled_at is null order by created_at, id limit 1
"""


async def first_admin(connection: Connection) -> User | None:
    row = await connection.fetchrow(SELECT_FIRST_ADMIN)
    return _user(row) if row else None


LOCK_ADMINS = "select id from users where role = 'admin' and disabled_at is null order by id for update"


async def lock_admins(connection: Connection) -> set[UUID]:
    """The enabled admins; whoever else would demote one waits until this transaction ends."""
    return {row["id"] for row in await connection.fetch(LOCK_ADMINS)}


INSERT_USER = f"""
insert into users (id, name, role) values ($1, $2, $3)
on conflict do nothing
returning {USER_COLUMNS}
"""


async def add_user(connection: Connection, name: str, role: Role) -> User | None:
    """None when the name is taken, in whatever case it is written."""
    row = await connection.fetchrow(INSERT_USER, uuid7(), name, role)
    return _user(row) if row else None


UPDATE_USER = f"""
update users set name = $2, role = $3, disabled_at = case when $4 then coalesce(disabled_at, now()) end
where id = $1
returning {USER_COLUMNS}
"""


async def change_user(connection: Connection, user_id: UUID, *, name: str, role: Role, disabled: bool) -> User:
    row = await connection.fetchrow(UPDATE_USER, user_id, name, role, disabled)
    assert row is not None
    return _user(row)


UPDATE_PASSWORD = "update users set password_hash = $2 where id = $1"  # noqa: S105 - SQL


async def set_password_hash(connection: Connection, user_id: UUID, password_hash: str) -> None:
    await connection.execute(UPDATE_PASSWORD, user_id, password_hash)


TOKEN_COLUMNS = "id, name, created_at, expires_at, last_used_at"  # noqa: S105 - SQL

INSERT_TOKEN = f"""
insert into api_tokens (id, user_id, name, token_hash, expires_at) values ($1, $2, $3, $4, $5)
returning {TOKEN_COLUMNS}
"""


async def add_token(
    connection: Connection, user_id: UUID, name: str, token_hash: bytes, expires_at: datetime | None
) -> ApiToken:
    row = await connection.fetchrow(INSERT_TOKEN, uuid7(), user_id, name, token_hash, expires_at)
    assert row is not None
    return ApiToken(**row)


SELECT_TOKENS = f"""
select {TOKEN_COLUMNS} from api_tokens where user_id = $1 and revoked_at is null order by id
"""


async def tokens(connection: Connection, user_id: UUID) -> list[ApiToken]:
    return [ApiToken(**row) for row in await connection.fetch(SELECT_TOKENS, user_id)]


REVOKE = """
update api_tokens set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null returning name
"""


async def revoke_token(connection: Connection, token_id: UUID, user_id: UUID) -> str | None:
    """The token's name; None when that user has no such token."""
    name: str | None = await connection.fetchval(REVOKE, token_id, user_id)
    return name


INSERT_EVENT = "insert into audit_events (id, user_id, action, subject, detail) values ($1, $2, $3, $4, $5)"


async def audit(
    connection: Connection,
    user_id: UUID | None,
    action: str,
    subject: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """In the transaction of what it tells of: neither is there without the other. Never holds a secret."""
    await connection.execute(INSERT_EVENT, uuid7(), user_id, action, subject, detail or {})


def _user(row: Record) -> User:
    return User(row["id"], row["name"], Role(row["role"]), row["disabled_at"], row["created_at"])
