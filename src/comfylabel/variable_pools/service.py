"""Pools are kept as versions that never change; editing one makes the next."""

import itertools
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.errors import Conflict, InvalidField, NotFound
from comfylabel.http.pagination import decode_cursor, encode_cursor
from comfylabel.variable_pools import repository
from comfylabel.variable_pools.sampling import capacity, combinations
from comfylabel.variable_pools.schemas import Mode, VariablePool, VariablePoolRow

MAX_NAME_LENGTH = 200
# A pool travels in one request and one row: a million texts of 30 bytes are 30 MB.
MAX_ITEMS = 1_000_000
MAX_ITEM_LENGTH = 10_000
# Drawn by POST; fits a bigint column and every JSON reader.
_SAMPLING_SEED_BITS = 53
# PostgreSQL's int: a forged cursor beyond it is refused, not a failure.
_LARGEST_VERSION = 2**31 - 1


class VariablePoolService:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def create(self, *, name: str, mode: Mode, items: Sequence[str]) -> VariablePoolRow:
        check_name(name)
        check_items(items)
        async with self.database.transaction() as connection:
            row = await repository.insert_first(connection, pool_id=uuid7(), name=name, mode=mode, items=items)
        if row is None:
            raise Conflict(
                f"There is a variable pool named {name!r} already; add a version to that one.",
                code="name_taken",
            )
        return row

    async def add_version(self, pool_id: uuid.UUID, *, mode: Mode | None, items: Sequence[str]) -> VariablePoolRow:
        check_items(items)
        async with self.database.transaction() as connection:
            pool = await repository.get_row(connection, pool_id)
            if pool is None:
                raise _no_pool(pool_id)
            return await repository.insert_next(
                connection, pool_id=uuid7(), name=pool.name, mode=mode or pool.mode, items=items
            )

    async def list_pools(
        self, *, name: str | None, cursor: str | None, limit: int
    ) -> tuple[list[VariablePoolRow], str | None]:
        if name is not None and "\x00" in name:
            raise InvalidField("name", "must not contain a NUL character")
        position = decode_cursor(cursor, {"name": _cursor_name, "version": _cursor_version})
        after = (position["name"], position["version"]) if position else None
        async with self.database.connection() as connection:
            rows = await repository.list_rows(connection, name=name, after=after, limit=limit + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        return rows[:limit], encode_cursor({"name": last.name, "version": last.version}) if last else None

    async def get(
        self, pool_id: uuid.UUID, *, cursor: str | None, limit: int
    ) -> tuple[VariablePoolRow, list[str], str | None]:
        """The version and `limit` of its items from where `cursor` points."""
        position = decode_cursor(cursor, {"start": int}) or {"start": 0}
        start = position["start"]
        if not 0 <= start < MAX_ITEMS:
            raise InvalidField("cursor", "is not one that this server gave out")
        async with self.database.connection() as connection:
            pool = await repository.get_row(connection, pool_id)
            if pool is None:
                raise _no_pool(pool_id)
            items = await repository.items(connection, pool_id, start=start, limit=limit)
        end = start + len(items)
        return pool, items, encode_cursor({"start": end}) if end < pool.item_count else None

    async def sample(self, pool_id: uuid.UUID, *, count: int, sampling_seed: int | None) -> dict[str, Any]:
        """`count` items as a task would draw them; the same `sampling_seed` gives the same again."""
        async with self.database.connection() as connection:
            pool = await repository.get(connection, pool_id)
        if pool is None:
            raise _no_pool(pool_id)
        available = capacity([pool])
        if count > available:
            raise InvalidField("count", f"must be at most {available}, the size of this pool")
        seed = secrets.randbits(_SAMPLING_SEED_BITS) if sampling_seed is None else sampling_seed
        return {
            "items": _first(pool, seed, count),
            "remaining": available - count,
            "pool_id": pool.id,
            "version": pool.version,
            "sampling_seed": seed,
        }


def _first(pool: VariablePool, seed: int, count: int) -> list[str]:
    return [item for (item,) in itertools.islice(combinations([pool], seed), count)]


def _cursor_name(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError(value)
    return value


def _cursor_version(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value <= _LARGEST_VERSION:
        raise ValueError(value)
    return value


def _no_pool(pool_id: uuid.UUID) -> NotFound:
    return NotFound(f"There is no variable pool {pool_id}.")


def check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidField("name", f"must have 1 to {MAX_NAME_LENGTH} characters")
    if "\x00" in name:
        raise InvalidField("name", "must not contain a NUL character")


def check_items(items: Sequence[str]) -> None:
    """Every item must be a text that tells prompts apart: not blank, and not there twice."""
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidField("items", f"must hold 1 to {MAX_ITEMS} texts")
    seen: dict[str, int] = {}
    for position, item in enumerate(items):
        text = item.strip()
        if not text:
            raise InvalidField(f"items[{position}]", "is empty")
        if len(item) > MAX_ITEM_LENGTH:
            raise InvalidField(f"items[{position}]", f"has more than {MAX_ITEM_LENGTH} characters")
        if "\x00" in item:
            raise InvalidField(f"items[{position}]", "contains a NUL character")
        if text in seen:
            raise InvalidField(f"items[{position}]", f"is the same as items[{seen[text]}]: {_shown(text)}")
        seen[text] = position


def _shown(text: str) -> str:
    longest = 60
    return repr(text if len(text) <= longest else text[:longest] + "...")
