"""A connection whose request line and headers have an end: uvicorn with httptools takes any number of bytes of
them and waits for ever, so that one stranger could fill the memory, or hold every file descriptor.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# What a page's cookies and a signed address come to is 2 kB; nginx and h11 take some 32 to 64 kB.
MAX_HEAD_BYTES = 64 * 2**10
# From the connection, or the first byte of a further request, to the end of the headers.
HEAD_SECONDS = 20.0


class PatientProtocol(HttpToolsProtocol):
    """The body's size and pace are the guard's (guards.py): there the path is known."""

    _head_bytes = 0
    _in_head = True
    _messages = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        messages = self._messages
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._messages != messages:  # a body's end came first; how much of the next head followed is not known
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._deadline is None:
            self._await_head()
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's headers are too long.")

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._messages += 1
        super().on_message_complete()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
