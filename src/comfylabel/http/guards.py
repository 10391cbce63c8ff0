"""What every request passes and every answer carries: Host and Origin, limits of size and patience, headers."""

import asyncio
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comfylabel.http.envelope import failed
from comfylabel.http.origins import host_is_ours, is_cross_site

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 2**20
# Between two pieces of a body: a phone on a train is slower than a server, but not this slow.
SILENCE_SECONDS = 30.0

SERVICE_WORKER = "/sw.js"

# The origin that the present request came to. A server bound to every address of its machine has no single one,
# and a page may only show images of its own (or the CDN's).
seen_origin: ContextVar[str] = ContextVar("seen_origin")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """`larger_bodies`: bytes by path, for the few that take files or long lists, there and below."""

    origin: str
    host_names: Collection[str]
    session_cookie: str
    image_origins: Collection[str]
    larger_bodies: Mapping[str, int]

    def headers(self) -> dict[str, str]:
        headers = {
            "Content-Security-Policy": self.policy("'self'"),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if self.origin.startswith("https:"):
            headers["Strict-Transport-Security"] = "max-age=31536000"
        return headers

    def headers_of(self, path: str) -> dict[str, str]:
        """What only some addresses carry. Answers of the API are for the one who asked and for now, unless their
        route says more; so is the refusal of an image, which whoever may read the image may read too.
        """
        if path == SERVICE_WORKER:
            # Pictures for a day without a network are fetched by the service worker, also those of a CDN. Its own
            # policy binds it, not that of a page: pages connect to this server and to no other.
            return {"Content-Security-Policy": self.policy(" ".join(["'self'", *sorted(self.image_origins)]))}
        if path.startswith("/images/"):
            return {"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"}
        return {"Cache-Control": "no-store"} if path.startswith("/api/") else {}

    def policy(self, connect: str) -> str:
        images = " ".join(["'self' blob: data:", *sorted(self.image_origins)])
        return (
            f"default-src 'self'; script-src 'self'; img-src {images}; connect-src {connect}; "
            "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        )


class Guard:
    """The outermost middleware. A header that the answer has already is left as it is."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        self._app = app
        self._rules = rules
        self._headers = rules.headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # there is none here; the server answers 403
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._headers | self._rules.headers_of(scope["path"]))
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, answer.send)
            return
        seen_origin.set(_seen_origin(scope, Headers(scope=scope)))
        await self._app(scope, _LimitedBody(receive, self._body_limit(scope)).receive, answer.send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        if not host_is_ours(host, self._rules.host_names):
            log.warning("foreign_host", host=host, path=scope["path"])
            return failed("This server is not known by that name; set its public address.", "foreign_host", 421)
        if self._is_cross_site(scope, headers):
            log.warning("cross_site_request", origin=headers.get("origin"), path=scope["path"])
            return failed("Requests from other sites are refused.", "cross_site", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._body_limit(scope):
            return failed("The request is too large.", "too_large", 413, headers={"connection": "close"})
        return None

    def _is_cross_site(self, scope: Scope, headers: Headers) -> bool:
        return is_cross_site(
            scope["method"],
            origin=headers.get("origin"),
            fetch_site=headers.get("sec-fetch-site"),
            own_origins=(self._rules.origin.lower(), _seen_origin(scope, headers)),
            # No page of another site can send a token without asking first, and nobody answers that it may.
            has_session=not headers.get("authorization", "").lower().startswith("bearer ")
            and self._rules.session_cookie in cookie_parser(headers.get("cookie", "")),
        )

    def _body_limit(self, scope: Scope) -> int:
        return body_limit(scope["path"], self._rules.larger_bodies)


def body_limit(path: str, larger_bodies: Mapping[str, int]) -> int:
    limits = (limit for start, limit in larger_bodies.items() if f"{path}/".startswith(f"{start}/"))
    return next(limits, MAX_BODY_BYTES)


def _seen_origin(scope: Scope, headers: Headers) -> str:
    """What the browser's address bar shows, for whoever came by an address that is ours."""
    return f"{scope['scheme']}://{headers.get('host', '')}".lower()


class _Answer:
    """Adds the headers on the way out."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


class _LimitedBody:
    """Reads no more and waits no longer than allowed; raises where the body is being read."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the end of the connection, however long the answer takes
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "Too slow") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413)
        self._complete = not message.get("more_body", False)
        return message
