"""POST /prompt, and what becomes of submissions: queue, history, interruption."""

import asyncio
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from aiohttp import web

from comfylabel.comfy.simulator.queue import Item, visible_extra_data
from comfylabel.comfy.simulator.validation import BrokenRequest, Validator

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator

CANONICAL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What aiohttp, which ComfyUI is built on too, says when a handler raises.
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"


def trouble() -> web.Response:
    response = web.Response(status=500, text=TROUBLE)
    response.force_close()
    return response


async def read_json(request: web.Request) -> Any:
    """Whatever the content type says; BrokenRequest for what json cannot read."""
    try:
        return json.loads(await request.text())
    except (ValueError, RecursionError) as error:
        raise BrokenRequest from error


async def post_prompt(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    faults = simulator.faults
    if faults.take("refused_500"):
        return trouble()
    try:
        status, answer = _submit(simulator, await read_json(request))
    except (BrokenRequest, TypeError):
        return trouble()
    if status == 200:  # noqa: PLR2004 - HTTP
        if faults.take("queued_but_500"):
            return trouble()
        if faults.take("queued_but_cut"):
            assert request.transport is not None
            request.transport.abort()
        elif faults.take("queued_but_silent"):
            await asyncio.sleep(faults.silence)
    return web.json_response(answer, status=status)


def _submit(simulator: "Simulator", body: Any) -> tuple[int, dict[str, Any]]:
    """Status and answer. An invalid graph takes a number too."""
    number = float(body["number"]) if "number" in body else simulator.next_number
    if "number" not in body and "front" in body and body["front"]:
        number = -number
    simulator.next_number += 1
    if "prompt" not in body:
        return 400, _refused(
            {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided", "extra_info": {}}
        )
    identity = _identity(simulator, body)
    if identity is None:
        text = "prompt_id must be a valid UUID"
        return 400, _refused(
            {"type": "invalid_prompt_id", "message": text, "details": f"{text} in canonical form", "extra_info": {}}
        )
    graph = body["prompt"]
    validator = Validator(simulator.classes(), simulator.files(), simulator.folders.names("input"), simulator.release)
    verdict = validator.check(graph, body.get("partial_execution_targets"))
    if verdict.error is not None:
        return 400, _refused(verdict.error, verdict.node_errors)
    if simulator.faults.take("refused_400"):
        return 400, _own_check(graph, verdict.outputs)
    extra_data = dict(body.get("extra_data") or {})
    if "client_id" in body:
        extra_data["client_id"] = body["client_id"]
    kept = visible_extra_data(extra_data, hides_secrets=simulator.release.has("hides_secrets"))
    item: Item = (number, identity, graph, kept, verdict.outputs)
    simulator.accept(item)
    return 200, {"prompt_id": identity, "number": number, "node_errors": verdict.node_errors}


def _identity(simulator: "Simulator", body: dict[str, Any]) -> str | None:
    """None: an id that this release does not take."""
    wanted = body.get("prompt_id", ...)
    if wanted is ...:
        return str(uuid.uuid4())
    if not simulator.release.has("canonical_ids"):
        return str(wanted)
    if wanted is None:
        return str(uuid.uuid4())
    return wanted if isinstance(wanted, str) and CANONICAL_ID.fullmatch(wanted) else None


def _refused(error: dict[str, Any], node_errors: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"error": error, "node_errors": node_errors or {}}


def _own_check(graph: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
    node = outputs[0]
    reason = {
        "type": "custom_validation_failed",
        "message": "Custom validation failed for node",
        "details": "images - too many for this licence",
        "extra_info": {"input_name": "images"},
    }
    report = {"errors": [reason], "dependent_outputs": outputs, "class_type": graph[node]["class_type"]}
    error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
    return _refused(error | {"details": "", "extra_info": {}}, {node: report})


async def get_prompt(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    return web.json_response(simulator.executor.status())


async def get_queue(simulator: "Simulator", _: web.Request) -> web.StreamResponse:
    return web.json_response(
        {
            "queue_running": [list(item) for item in simulator.queue.running.values()],
            "queue_pending": [list(item) for item in simulator.queue.pending],
        }
    )


async def post_queue(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    try:
        body = await read_json(request)
        if body.get("clear"):
            simulator.queue.pending.clear()
        deleted = [simulator.queue.delete_pending(identity) for identity in body.get("delete", [])]
    except (BrokenRequest, AttributeError, TypeError):
        return trouble()
    if body.get("clear") or any(deleted):
        simulator.sockets.send("status", {"status": simulator.executor.status()})
    return web.Response()


async def get_history(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    try:
        max_items = int(request.query["max_items"]) if "max_items" in request.query else None
        offset = int(request.query["offset"]) if "offset" in request.query else None
    except ValueError:
        return trouble()
    return web.json_response(simulator.queue.history_page(max_items, offset))


async def get_history_entry(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    identity = request.match_info["prompt_id"]
    entry = simulator.queue.history.get(identity)
    return web.json_response({identity: entry} if entry is not None else {})


async def post_history(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    try:
        body = await read_json(request)
        if body.get("clear"):
            simulator.queue.history.clear()
        for identity in body.get("delete", []):
            simulator.queue.history.pop(identity, None)
    except (BrokenRequest, AttributeError, TypeError):
        return trouble()
    return web.Response()


async def post_interrupt(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    """Releases before 0.3.57 do not look at the body."""
    try:
        body = await read_json(request)
    except BrokenRequest:
        body = {}
    wanted = body.get("prompt_id") if isinstance(body, dict) else None
    simulator.executor.interrupt(wanted if simulator.release.has("interrupt_by_id") else None)
    return web.Response()


async def post_free(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    try:
        body = await read_json(request)
    except BrokenRequest:
        return trouble()
    simulator.executor.free(body)
    return web.Response()


ROUTES = (
    ("POST", "/prompt", post_prompt),
    ("GET", "/prompt", get_prompt),
    ("GET", "/queue", get_queue),
    ("POST", "/queue", post_queue),
    ("GET", "/history", get_history),
    ("GET", "/history/{prompt_id}", get_history_entry),
    ("POST", "/history", post_history),
    ("POST", "/interrupt", post_interrupt),
    ("POST", "/free", post_free),
)
