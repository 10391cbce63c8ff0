"""Server-sent events. A listener is told the newest state of each thing and never a backlog: whoever reads slowly
misses what was in between, and nothing is kept for them but that.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass
from uuid import UUID

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from comfylabel.errors import TooManyRequests

# Proxies and phones close what is silent for a minute.
COMMENT_SECONDS = 15
# Tabs and machines of one person, with room to spare; each holds a connection.
STREAMS_PER_USER = 20
_RETRY_AFTER = 5

# An id says only that an event is another one; who connects again gets everything anew.
_started = int(time.time() * 1000)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Event:
    """`data`: JSON on one line. The bytes are made once, however many listen."""

    encoded: bytes

    @classmethod
    def of(cls, kind: str, data: bytes) -> "Event":
        message = ServerSentEvent(data.decode(), event=kind, id=f"{_started}-{next(_numbers)}", sep="\n")
        return cls(message.encode())


class Mailbox:
    """What one listener was not told yet: the newest event of each key, in the order in which the keys came up."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self._waiting: dict[Hashable, Event] = {}
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, key: Hashable, event: Event) -> None:
        self._waiting[key] = event
        self._filled.set()

    def close(self) -> None:
        """The stream ends at once; what was not told is not told any more."""
        self._closed = True
        self._filled.set()

    async def events(self) -> AsyncIterator[bytes]:
        while True:
            await self._filled.wait()
            while self._waiting and not self._closed:
                yield self._waiting.pop(next(iter(self._waiting))).encoded
            if self._closed:
                return
            self._filled.clear()


class Doors:
    """How many streams each user has open."""

    def __init__(self, most: int = STREAMS_PER_USER) -> None:
        self._most = most
        self._open: Counter[UUID] = Counter()

    def enter(self, user_id: UUID) -> None:
        if self._open[user_id] >= self._most:
            raise TooManyRequests(
                f"You have {self._most} live pages open, the most there may be.", retry_after=_RETRY_AFTER
            )
        self._open[user_id] += 1

    def leave(self, user_id: UUID) -> None:
        self._open[user_id] -= 1
        if self._open[user_id] <= 0:
            del self._open[user_id]


class EventStream(EventSourceResponse):
    """Sends what comes into the mailbox until that is closed or the listener goes; then calls `on_end`, always."""

    def __init__(self, mailbox: Mailbox, on_end: Callable[[], None]) -> None:
        super().__init__(
            mailbox.events(),
            ping=COMMENT_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
            sep="\n",
        )
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
