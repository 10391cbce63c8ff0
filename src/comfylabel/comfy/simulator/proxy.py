"""What may stand between us and a worker: a key to show, a cross-site check, and a reverse proxy in trouble."""

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator

HTML = "<html><head><title>Proxy</title></head><body><h1>The proxy says no</h1></body></html>"
LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}
HUGE_JSON_PIECE = b'"0123456789abcdef",' * 2**16


def proxy(simulator: "Simulator") -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/simulator/"):
            simulator.requests.append((request.method, request.path))
            refused = await _in_the_way(simulator, request) or _cross_site(simulator, request)
            if refused is not None:
                return refused
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            response = web.Response(status=404)
        if not response.prepared:
            response.headers["Server"] = "comfylabel simulated ComfyUI"
        return response

    return middleware


async def _in_the_way(simulator: "Simulator", request: web.Request) -> web.StreamResponse | None:
    faults = simulator.faults
    if simulator.api_key is not None and request.headers.get("Authorization") != f"Bearer {simulator.api_key}":
        return web.Response(status=401, text=HTML, content_type="text/html")
    if any(request.headers.get(name) != value for name, value in simulator.required_headers.items()):
        return web.Response(status=403, text=HTML, content_type="text/html")
    if faults.proxy is None or (faults.proxy_paths and not request.path.startswith(faults.proxy_paths)):
        return None
    if faults.proxy == "huge_json":
        return await _huge_json(request)
    if faults.proxy == "silent":
        await asyncio.sleep(faults.silence)
    return _answer_of_proxy(faults.proxy)


def _answer_of_proxy(fault: str) -> web.Response:
    match fault:
        case "html":
            return web.Response(text=HTML, content_type="text/html")
        case "redirect":
            return web.Response(status=302, headers={"Location": "/system_stats"})
        case "wrong_type":
            return web.Response(text="{}", content_type="application/octet-stream")
        case "silent":
            return web.Response(status=504)
        case status:
            return web.Response(status=int(status), text=HTML, content_type="text/html")


async def _huge_json(request: web.Request) -> web.StreamResponse:
    """2 GiB of it, with no Content-Length to warn the reader."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"[")
    for _ in range(2**31 // len(HUGE_JSON_PIECE)):
        await response.write(HUGE_JSON_PIECE)
    return response


def _cross_site(simulator: "Simulator", request: web.Request) -> web.Response | None:
    """A loopback server takes requests from its own page only."""
    if simulator.release.has("refuses_cross_site") and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return web.Response(status=403)
    origin = request.headers.get("Origin")
    if origin is None or request.host.rpartition(":")[0] not in LOOPBACK:
        return None
    return None if origin.partition("://")[2] == request.host else web.Response(status=403)
