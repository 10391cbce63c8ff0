"""A listener of server-sent events: in this process through the whole application, or over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.app import Api
from tests.support.waiting import until


@dataclass(frozen=True, slots=True)
class Heard:
    kind: str
    id: str
    data: Any


@dataclass
class Listener:
    """What came so far. `reads` off: as somebody whose connection is full."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    ended: bool = False
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[Heard]:
        return [_event(block) for block in self.text.split("\n\n")[:-1] if not block.startswith(":")]

    def of(self, kind: str) -> list[Any]:
        return [event.data for event in self.events if event.kind == kind]

    async def next_after(self, count: int, kind: str = "progress") -> Any:
        """The newest data of that kind, once there is more of it than `count`."""
        await until(lambda: len(self.of(kind)) > count)
        return self.of(kind)[-1]


def _event(block: str) -> Heard:
    lines = dict(line.split(": ", 1) for line in block.split("\n"))
    return Heard(lines["event"], lines["id"], json.loads(lines["data"]))


@asynccontextmanager
async def listening(api: Api, client: httpx.AsyncClient, path: str) -> AsyncIterator[Listener]:
    """As that client; the answer has begun. The end of the block is that of the connection."""
    heard, gone = Listener(), asyncio.Event()
    heard.reads.set()
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            heard.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        await heard.reads.wait()
        heard.text += message["body"].decode()
        heard.ended = not message.get("more_body", False)

    answering = asyncio.create_task(api.app(_scope(client, path), receive, send))
    try:
        await until(lambda: heard.status or answering.done())
        yield heard
    finally:
        gone.set()
        heard.reads.set()
        await answering


def _scope(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    request = client.build_request("GET", path)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 50000),
        "server": (request.url.host, request.url.port),
    }
