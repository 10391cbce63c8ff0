"""A ComfyUI to ask over HTTP and websocket, simulated or genuine: what the conformance cases see of it."""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.graph import Graph
from tests.support.waiting import until

SLOW = 60  # seconds: a genuine server on a busy machine
_nonces = itertools.count(int(time.time()) % 2**20 * 16)


def nonce() -> int:
    """New in this and in earlier runs, below 2^24: what makes a graph new to a server that is not."""
    return next(_nonces) % 2**24


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    session: aiohttp.ClientSession
    delete_output: Callable[[dict[str, str]], None]

    @property
    def client(self) -> ComfyClient:
        return ComfyClient(self.session, self.url)

    async def ask(self, method: str, path: str, **arguments: Any) -> Answer:
        async with self.session.request(method, self.url + path, **arguments) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **arguments: Any) -> Answer:
        return await self.ask("GET", path, **arguments)

    async def post(self, path: str, body: Any = None, **arguments: Any) -> Answer:
        return await self.ask("POST", path, json=body, **arguments)

    async def prompt(self, graph: Any, **more: Any) -> Answer:
        return await self.post("/prompt", {"prompt": graph, **more})

    async def submit(self, graph: Graph, **more: Any) -> str:
        """The id under which it was queued."""
        answer = await self.prompt(graph, **({"prompt_id": str(uuid.uuid4())} | more))
        assert answer.status == 200, answer.body
        identity: str = answer.json["prompt_id"]
        return identity

    async def entry(self, identity: str) -> dict[str, Any]:
        """The history entry, once there is one."""

        async def look() -> Any:
            return (await self.get(f"/history/{identity}")).json.get(identity)

        entry: dict[str, Any] = await until(look, SLOW)
        return entry

    async def run(self, graph: Graph, **more: Any) -> dict[str, Any]:
        return await self.entry(await self.submit(graph, **more))

    async def images(self, graph: Graph, node: str = "9") -> list[bytes]:
        """The files that a graph leaves in one node, in order."""
        entry = await self.run(graph)
        assert entry["status"]["status_str"] == "success", entry["status"]
        files = [await self.get("/view", params=image) for image in entry["outputs"][node]["images"]]
        return [file.body for file in files]

    async def running(self, identity: str) -> None:
        """Until this one runs."""

        async def look() -> bool:
            return identity in [item[1] for item in (await self.get("/queue")).json["queue_running"]]

        await until(look, SLOW)

    async def idle(self) -> None:
        async def look() -> bool:
            return bool((await self.get("/prompt")).json["exec_info"]["queue_remaining"] == 0)

        await until(look, SLOW)

    @asynccontextmanager
    async def socket(self, client_id: str | None = None) -> AsyncIterator["Socket"]:
        query = f"?clientId={client_id}" if client_id else ""
        async with self.session.ws_connect(f"{self.url}/ws{query}", max_msg_size=0) as connection:
            yield Socket(connection)


@dataclass(frozen=True, slots=True)
class Socket:
    connection: aiohttp.ClientWebSocketResponse

    async def next(self) -> tuple[str, Any]:
        """(type, data) of a text frame; ("binary", bytes) of another."""
        message = await asyncio.wait_for(self.connection.receive(), SLOW)
        if message.type is aiohttp.WSMsgType.BINARY:
            return "binary", message.data
        assert message.type is aiohttp.WSMsgType.TEXT, message
        frame = json.loads(message.data)
        return frame["type"], frame["data"]

    async def until(self, last: Callable[[str, Any], bool]) -> list[tuple[str, Any]]:
        frames = [await self.next()]
        while not last(*frames[-1]):
            frames.append(await self.next())
        return frames

    async def job(self, identity: str) -> list[tuple[str, Any]]:
        """Everything up to the frame that ends this submission."""
        ends = {"node": None, "prompt_id": identity}
        return await self.until(lambda kind, data: kind == "executing" and data == ends)
