"""The one way to PostgreSQL: a pool whose connections speak UUID, JSON and UTC, and `transaction()`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import asyncpg
import orjson
import structlog

from comfylabel.errors import Unavailable

log = structlog.get_logger()

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Record: TypeAlias = asyncpg.Record

# What asyncpg raises while the server is away, restarting, full, or dropping connections.
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement that began while its connection was dropping (seen)
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)

# Whoever is told to stop has some seconds for everything. What is cut is rolled back, as by a crash.
_CLOSE_SECONDS = 2.0


class Database:
    """A pool and the ways to use it. Services open transactions; repositories only take a connection."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", url: str) -> None:
        self.pool = pool
        self.url = url

    @classmethod
    async def connect(cls, url: str, *, min_size: int = 1, max_size: int = 16, by_index: bool = False) -> "Database":
        """`by_index`: for statements that touch a few rows each. A prepared statement keeps the plan that it was made
        with: of a table that held nothing then, to read it from end to end, which is no good plan an hour later.
        Raises Unavailable.
        """
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=min_size,
                max_size=max_size,
                init=_prepare_by_index if by_index else set_codecs,
                reset=_nothing_to_reset,
                server_settings={"timezone": "UTC", "application_name": "comfylabel"},
            )
        except (*AWAY, TimeoutError) as error:
            raise Unavailable(f"The database does not answer: {error}") from error
        return cls(pool, url)

    async def close(self) -> None:
        await close_pool(self.pool)

    def cut(self) -> None:
        """Whoever waits for an answer gets an error: all shall stop, and the server says nothing."""
        self.pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """For reads; each statement is its own transaction."""
        async with self.pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits when the block ends, rolls back when it raises. Never hold one open during HTTP."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection


async def close_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Left alone, asyncpg waits for ever for what the server neither answers nor ends when it is cancelled."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:  # asyncpg has cut the connections
        log.warning("connections_cut", reason=f"the database did not answer for {_CLOSE_SECONDS:g} s")


# Neither a scan nor what needs one. A scan that cannot be avoided has a cost, before PostgreSQL 18, that would have the
# statement compiled.
PLAN_BY_INDEX = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
_BY_INDEX = ";".join(f"set {setting} = off" for setting in PLAN_BY_INDEX)


async def _prepare_by_index(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await set_codecs(connection)
    await connection.execute(_BY_INDEX)


async def _nothing_to_reset(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Saves every request a round trip. No request of ours changes a session: its settings are `set local`, locks end
    with their transaction, and what was left open is rolled back by asyncpg itself.
    """


async def set_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make `json` and `jsonb` columns Python values both ways; in binary form, which COPY asks for too."""
    for name, version in (("json", b""), ("jsonb", b"\x01")):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=partial(_encode_json, version),
            decoder=partial(_decode_json, len(version)),
            format="binary",
        )


def _encode_json(version: bytes, value: Any) -> bytes:
    return version + orjson.dumps(value)


def _decode_json(version_length: int, data: bytes) -> Any:
    return orjson.loads(memoryview(data)[version_length:])
