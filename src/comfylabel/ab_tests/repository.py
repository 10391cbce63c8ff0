"""SQL on A/B tests and who is in which variant."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from comfylabel.ab_tests.bucketing import Variant, VariantSettings
from comfylabel.ab_tests.schemas import AbTest
from comfylabel.db.pool import Connection, Record

_COLUMNS = "id, name, variants, expires_at, created_at, expires_at <= now() as expired"

_ALL = f"select {_COLUMNS} from ab_tests order by created_at desc, id desc"


async def list_all(connection: Connection) -> list[AbTest]:
    return [_ab_test(row) for row in await connection.fetch(_ALL)]


_BY_NAME = f"select {_COLUMNS} from ab_tests where name = $1"


async def by_name(connection: Connection, name: str) -> AbTest | None:
    row = await connection.fetchrow(_BY_NAME, name)
    return _ab_test(row) if row else None


_BY_ID = f"select {_COLUMNS} from ab_tests where id = $1"


async def by_id(connection: Connection, test_id: UUID) -> AbTest | None:
    row = await connection.fetchrow(_BY_ID, test_id)
    return _ab_test(row) if row else None


_INSERT = f"""
insert into ab_tests (id, name, variants, expires_at) values ($1, $2, $3, $4)
on conflict (name) do nothing
returning {_COLUMNS}
"""


async def insert(
    connection: Connection, test_id: UUID, name: str, variants: list[Variant], expires_at: datetime
) -> AbTest | None:
    """None when the name is taken."""
    row = await connection.fetchrow(_INSERT, test_id, name, [asdict(variant) for variant in variants], expires_at)
    return _ab_test(row) if row else None


_ASSIGNED = "select variant_key from ab_assignments where test_id = $1 and user_id = $2"


async def assigned_variant(connection: Connection, test_id: UUID, user_id: UUID) -> str | None:
    variant: str | None = await connection.fetchval(_ASSIGNED, test_id, user_id)
    return variant


# The unique row decides a race: whoever comes second waits for the first and then reads what that one stored.
_ASSIGN = """
insert into ab_assignments (id, test_id, user_id, variant_key) values ($1, $2, $3, $4)
on conflict (test_id, user_id) do nothing
"""


async def assign(connection: Connection, assignment_id: UUID, test_id: UUID, user_id: UUID, variant: str) -> None:
    await connection.execute(_ASSIGN, assignment_id, test_id, user_id, variant)


_USER_EXISTS = "select exists (select from users where id = $1)"


async def user_exists(connection: Connection, user_id: UUID) -> bool:
    return bool(await connection.fetchval(_USER_EXISTS, user_id))


def _ab_test(row: Record) -> AbTest:
    variants = tuple(
        # A test that was made before variants had settings says nothing of them.
        Variant(variant["key"], variant["weight"], VariantSettings(**variant.get("settings", {})))
        for variant in row["variants"]
    )
    return AbTest(row["id"], row["name"], variants, row["expires_at"], row["created_at"], row["expired"])
