"""What a simulated worker says of itself: system, features, node classes, models, and the websocket."""

import asyncio
import platform
from typing import TYPE_CHECKING, Any

from aiohttp import web

from comfylabel.comfy.simulator.sockets import features

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator

PAGE = (
    "<!doctype html><title>Simulated ComfyUI</title>"
    "<h1>Simulated ComfyUI</h1><p>A stand-in of comfylabel: it has no GPU and its pictures are drawn, not generated."
)


async def page(_: "Simulator", __: web.Request) -> web.StreamResponse:
    return web.Response(text=PAGE, content_type="text/html")


async def system_stats(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    total = simulator.vram_bytes
    free = total if simulator.executor.current is None else total // 4
    device = {
        "name": "simulated GPU (comfylabel)",
        "type": "cuda",
        "index": 0,
        "vram_total": total,
        "vram_free": free,
        "torch_vram_total": total - free,
        "torch_vram_free": 0,
    }
    system: dict[str, Any] = {
        "os": "linux" if simulator.release.has("leaves_0_3") else "posix",
        "ram_total": total,
        "ram_free": free,
        "comfyui_version": simulator.release.version,
        "required_frontend_version": "simulated",
        "python_version": platform.python_version(),
        "pytorch_version": "simulated",
        "embedded_python": False,
        "argv": ["comfylabel", "simulate-worker"],
    }
    return web.json_response({"system": system, "devices": [device]})


async def get_features(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    return web.json_response(features(simulator.release))


async def object_info(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    await asyncio.sleep(simulator.faults.slow_object_info_seconds)
    files = simulator.files()
    return web.json_response(
        {name: node.describe(files, simulator.release) for name, node in simulator.classes().items()}
    )


async def object_info_of(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(simulator.faults.slow_object_info_seconds)
    name = request.match_info["node_class"]
    node = simulator.classes().get(name)
    return web.json_response({name: node.describe(simulator.files(), simulator.release)} if node else {})


async def model_folders(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    return web.json_response([folder for folder in simulator.files() if folder != "input"])


async def models(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    folder = request.match_info["folder"]
    files = simulator.files()
    if folder == "input" or folder not in files:
        return web.Response(status=404)
    return web.json_response(sorted(files[folder]))


async def embeddings(_: "Simulator", __: web.Request) -> web.StreamResponse:
    return web.json_response([])


async def websocket(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    job = simulator.executor.current
    running = (job.client_id, job.node_id) if job is not None else (None, None)
    return await simulator.sockets.serve(request, simulator.executor.status(), running)


ROUTES = (
    ("GET", "/", page),
    ("GET", "/system_stats", system_stats),
    ("GET", "/features", get_features),
    ("GET", "/object_info", object_info),
    ("GET", "/object_info/{node_class}", object_info_of),
    ("GET", "/models", model_folders),
    ("GET", "/models/{folder}", models),
    ("GET", "/embeddings", embeddings),
    ("GET", "/ws", websocket),
)
