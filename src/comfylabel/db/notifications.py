"""Who has changed, told to every server process: NOTIFY with ids, never with what they are now.

`notify` joins the caller's transaction, so nobody hears of a change that was not committed. One connection a process
listens, beside the pool; what was said while it was away is lost, so whoever listens then reads everything again.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args
from uuid import UUID

import asyncpg
import structlog

from comfylabel.db.pool import AWAY, Connection

log = structlog.get_logger()

CHANNEL = "comfylabel"

Kind = Literal["task", "worker", "user"]

_PAUSE_AWAY = 1.0
# A server that vanishes from the network closes nothing: so often it is asked whether it is there.
_LOOK_SECONDS = 15.0

_NOTIFY = f"select pg_notify('{CHANNEL}', what) from unnest($1::text[]) what"


@dataclass(frozen=True, slots=True)
class Change:
    """`user`: what they may do, or a session of theirs."""

    kind: Kind
    id: UUID


async def notify(
    connection: Connection,
    *,
    tasks: Iterable[UUID] = (),
    workers: Iterable[UUID] = (),
    users: Iterable[UUID] = (),
) -> None:
    """Heard when the transaction commits; the same said twice in one transaction is heard once."""
    said = [
        f"{kind} {identity}"
        for kind, ids in (("task", tasks), ("worker", workers), ("user", users))
        for identity in ids
    ]
    if said:
        await connection.execute(_NOTIFY, said)


class Notifications:
    """`on_change` is called with each change, `on_back` whenever the line stands anew; both must return at once."""

    def __init__(self, url: str, on_change: Callable[[Change], None], on_back: Callable[[], None]) -> None:
        self._url = url
        self._on_change = on_change
        self._on_back = on_back

    async def run(self) -> None:
        """Until cancelled; a database that goes away is waited for."""
        while True:
            try:
                await self._listen()
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("live_updates_paused", reason=f"the database does not answer: {error!r}")
            except Exception:  # without this loop no page hears of anything before the next start
                log.exception("live_updates_failed")
            await asyncio.sleep(_PAUSE_AWAY)

    async def _listen(self) -> None:
        """Return when the connection has ended."""
        connection = await asyncpg.connect(self._url, timeout=_LOOK_SECONDS)
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, self._heard)
            self._on_back()
            while not ended.is_set():
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await ended.wait()
                except TimeoutError:
                    await connection.execute("select 1", timeout=_LOOK_SECONDS)
        finally:
            connection.terminate()  # a polite end would wait for a server that may be away

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        change = _read(str(payload))
        if change is not None:
            self._on_change(change)


def _read(payload: str) -> Change | None:
    """What another release says, or somebody by hand, is no reason to stop listening."""
    kind, _, identity = payload.partition(" ")
    if kind not in get_args(Kind):
        return None
    try:
        return Change(cast("Kind", kind), UUID(identity))
    except ValueError:
        return None
