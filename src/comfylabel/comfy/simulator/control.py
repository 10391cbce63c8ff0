"""/simulator/...: what no ComfyUI has. The log of what was made, and the faults to inject from another process."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator


async def get_log(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    """Every submission since the start, restarts included. Draws the pictures that nobody has fetched."""

    def document() -> list[dict[str, Any]]:
        return [entry.to_json() for entry in simulator.log]

    return web.json_response({"simulated": True, "submissions": await asyncio.to_thread(document)})


async def get_faults(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    return web.json_response(_faults(simulator))


async def post_faults(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    try:
        simulator.faults.change(json.loads(await request.text()))
    except (ValueError, TypeError, AttributeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response(_faults(simulator))


async def post_crash(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    """As a ComfyUI that crashed and was started again at once."""
    await simulator.crash()
    return web.Response()


def _faults(simulator: "Simulator") -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, set) else value for name, value in asdict(simulator.faults).items()
    }


ROUTES = (
    ("GET", "/simulator/log", get_log),
    ("GET", "/simulator/faults", get_faults),
    ("POST", "/simulator/faults", post_faults),
    ("POST", "/simulator/crash", post_crash),
)
