"""Chunks on their way from the database to a reader: two at most wait, and the reader may leave at any moment.

The writing side is a task of its own and is never cancelled: asyncpg loses track of a COPY that is cancelled between
two chunks (seen once in a hundred times), and the connection would go back to the pool with the COPY still running. It
is told by an exception at its next chunk instead, which asyncpg answers by ending the COPY in order.
"""

import asyncio


class ReaderLeft(Exception):
    """Nobody waits for this chunk."""


class Handover:
    """For one writer (`put`, then `end`) and one reader (`begin`, iterate, `leave`)."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=2)
        self._first: bytes | None = None
        self._left = False

    async def put(self, chunk: bytes) -> None:
        if self._left:
            raise ReaderLeft
        await self._chunks.put(bytes(chunk))  # asyncpg's are bytearrays, which Starlette takes for text

    async def end(self, error: Exception | None = None) -> None:
        if not self._left:
            await self._chunks.put(error)

    async def begin(self) -> None:
        """Wait for the first chunk; raises what went wrong before it."""
        self._first = await self._next()

    def leave(self) -> None:
        self._left = True
        while not self._chunks.empty():  # one that waits to put sees it at its next chunk
            self._chunks.get_nowait()

    def __aiter__(self) -> "Handover":
        return self

    async def __anext__(self) -> bytes:
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = await self._next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes | None:
        if self._left:
            return None
        chunk = await self._chunks.get()
        if chunk is None or isinstance(chunk, Exception):
            self._left = True  # there is nothing more to come
        if isinstance(chunk, Exception):
            raise chunk
        return chunk
