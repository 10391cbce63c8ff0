"""A worker that answers with whatever a test says: what no ComfyUI sends, and the simulator therefore neither."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

# A passing check, for tests that are about another answer.
WELL = {
    "/system_stats": '{"system": {"comfyui_version": "0.3.75"}}',
    "/queue": '{"queue_running": [], "queue_pending": []}',
}


@asynccontextmanager
async def hostile_worker(answers: Mapping[str, str]) -> AsyncIterator[str]:
    """The address of a worker that gives these JSON texts, by path."""
    said = WELL | dict(answers)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=said.get(request.path, "{}"), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
