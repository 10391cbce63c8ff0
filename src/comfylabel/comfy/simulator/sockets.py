"""The websockets of a simulated worker: one per client id, with ComfyUI's rules of who hears what."""

import asyncio
import json
import struct
import uuid
from typing import Any

from aiohttp import WSMsgType, web

from comfylabel.comfy.simulator.faults import Faults
from comfylabel.comfy.simulator.releases import Release

PREVIEW_IMAGE, PNG = 1, 2


def features(release: Release) -> dict[str, Any]:
    answer: dict[str, Any] = {"supports_preview_metadata": True, "max_upload_size": 100 * 2**20}
    if release.has("canonical_ids"):
        answer |= {
            "supports_model_type_tags": True,
            "extension": {"manager": {"supports_v4": True}},
            "node_replacements": True,
            "assets": False,
        }
    return answer


class Sockets:
    def __init__(self, release: Release, faults: Faults) -> None:
        self._release = release
        self._faults = faults
        self._by_client: dict[str, web.WebSocketResponse] = {}
        self._outbox: asyncio.Queue[tuple[str | None, str | bytes]] = asyncio.Queue()
        self._open: set[web.WebSocketResponse] = set()

    def send(self, kind: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """To one client, or to all when there is no client_id."""
        if self._by_client:
            self.send_text(json.dumps({"type": kind, "data": data}), client_id)

    def send_text(self, frame: str, client_id: str | None = None) -> None:
        self._outbox.put_nowait((client_id, frame))

    def send_png(self, png: bytes, client_id: str | None) -> None:
        if self._by_client:
            self._outbox.put_nowait((client_id, struct.pack(">II", PREVIEW_IMAGE, PNG) + png))

    async def publish(self) -> None:
        """Writes what was sent, in order, until cancelled: a slow socket never holds up a job."""
        while True:
            client_id, frame = await self._outbox.get()
            if self._faults.silent_websocket:
                continue
            if client_id is None:
                receivers = list(self._by_client.values())
            else:
                receivers = [self._by_client[client_id]] if client_id in self._by_client else []
            for socket in receivers:
                await _write(socket, frame)

    async def serve(
        self, request: web.Request, greeting: dict[str, Any], running: tuple[str | None, str | None]
    ) -> web.WebSocketResponse:
        """`running`: the client id of the job that runs and the node it is at."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self._by_client[client_id] = socket
        self._open.add(socket)
        try:
            status = {"type": "status", "data": {"status": greeting, "sid": client_id}}
            await _write(socket, json.dumps(status))
            if running[0] == client_id and running[1] is not None:
                await _write(socket, json.dumps({"type": "executing", "data": {"node": running[1]}}))
            await self._read(socket)
        finally:
            # ComfyUI's own fault: the socket that closes takes the client id's newer socket off the list.
            self._by_client.pop(client_id, None)
            self._open.discard(socket)
        return socket

    async def _read(self, socket: web.WebSocketResponse) -> None:
        first = True
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                return
            if first and message.type is WSMsgType.TEXT and '"feature_flags"' in message.data:
                frame = {"type": "feature_flags", "data": features(self._release)}
                await _write(socket, json.dumps(frame))
            first = False

    async def close_all(self) -> None:
        for socket in list(self._open):
            await socket.close()


async def _write(socket: web.WebSocketResponse, frame: str | bytes) -> None:
    try:
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)
    except (ConnectionError, RuntimeError):
        return  # it closed in the meantime; its reader takes it off the list
