"""`Idempotency-Key`: a POST repeated because its answer got lost is answered again and not done again.

The key belongs to the user who sent it, for a day. The request's digest is taken while the route reads it, so an
upload is never held in memory. Only success is remembered: what was refused has changed nothing and may be tried
again under the same key. A key whose server died at work is free again after 15 minutes.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comfylabel.accounts import idempotency_repository as repository
from comfylabel.accounts.large_bodies import sender
from comfylabel.db.pool import Database
from comfylabel.http.envelope import failed

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_SUCCESS = range(200, 300)


class Sealer(Protocol):
    """Answers are kept encrypted: one may hold a sign-in link or an API token."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, encrypted: str) -> str: ...


class Idempotency:
    """The middleware around every POST of the API but the sign-in, which no user can be asked about."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key, user_id = await _key_and_user(scope)
        if key is None or user_id is None:
            await self._app(scope, receive, send)
        elif not _KEY.fullmatch(key):
            await _BAD_KEY(scope, receive, send)
        else:
            await self._once(_Request(scope, receive), user_id, key, send)

    async def _once(self, request: "_Request", user_id: UUID, key: str, send: Send) -> None:
        database: Database = request.scope["app"].state.database
        async with database.connection() as connection:
            claimed = await repository.claim(connection, user_id, key)
        if not claimed:
            await (await self._repeat(request, database, user_id, key))(request.scope, request.receive, send)
            return
        answer = _Answer()
        try:
            await self._app(request.scope, request.receive, answer.collect)
        finally:
            async with database.connection() as connection:
                if answer.status in _SUCCESS:
                    body = _sealer(request.scope).encrypt(answer.body.decode())
                    digest = await request.digest()
                    await repository.remember(
                        connection, user_id, key, request=digest, status=answer.status, body=body.encode()
                    )
                else:
                    await repository.release(connection, user_id, key)
        await answer.pass_on(send)

    async def _repeat(self, request: "_Request", database: Database, user_id: UUID, key: str) -> Response:
        async with database.connection() as connection:
            known = await repository.known(connection, user_id, key)
        if known is None or known.status is None:
            return failed("The first request with this Idempotency-Key is still at work.", "in_flight", 409)
        if known.request != await request.digest():
            message = "This Idempotency-Key was used for another request."
            return failed(message, "idempotency_key_reused", 422)
        body = _sealer(request.scope).decrypt(known.body.decode())
        return Response(body, known.status, {"idempotent-replayed": "true"}, "application/json")


class _Request:
    """Takes the digest of the body as it goes by.

    Without the boundary between the parts of an upload: browsers and programs draw a new one for each attempt.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self._complete = False
        self._hash = hashlib.sha256(scope["path"].encode() + b"?" + scope["query_string"] + b"\n")
        self._boundary = _boundary(Headers(scope=scope))
        self._held_back = b""  # may be the beginning of a boundary

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._add(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    def _add(self, piece: bytes) -> None:
        if not self._boundary:
            self._hash.update(piece)
            return
        *between, rest = (self._held_back + piece).split(self._boundary)
        certain = max(0, len(rest) - len(self._boundary) + 1)
        self._hash.update(b"".join([*between, rest[:certain]]))
        self._held_back = rest[certain:]

    async def digest(self) -> bytes:
        """Of the whole body, also the part that nobody has read."""
        while not self._complete:
            if (await self.receive())["type"] != "http.request":
                break
        self._hash.update(self._held_back)
        self._held_back = b""
        return self._hash.digest()


@dataclass
class _Answer:
    """Held back until it is remembered: who has seen it can rely on seeing it again."""

    status: int = 500
    body: bytes = b""
    _messages: list[Message] = field(default_factory=list)

    async def collect(self, message: Message) -> None:
        self._messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def pass_on(self, send: Send) -> None:
        for message in self._messages:
            await send(message)


def _boundary(headers: Headers) -> bytes:
    kind, options = parse_options_header(headers.get("content-type"))
    return options.get(b"boundary", b"") if kind == b"multipart/form-data" else b""


async def _key_and_user(scope: Scope) -> tuple[str | None, UUID | None]:
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
        return None, None
    headers = Headers(scope=scope)
    key = headers.get("idempotency-key")
    if key is None or scope["path"].startswith("/api/auth/"):
        return None, None
    principal = await sender(scope)
    return key, principal.user_id if principal else None


def _sealer(scope: Scope) -> Sealer:
    sealer: Any = scope["app"].state.sealer
    return sealer  # type: ignore[no-any-return]  # app.state is untyped; main.py puts a Vault there


_BAD_KEY = failed("Idempotency-Key must be 1 to 200 visible ASCII characters.", "invalid_field", 422)
