"""GET /api/jobs and the cancel endpoints, of releases that have them."""

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from comfylabel.comfy.simulator.prompt_api import CANONICAL_ID, trouble
from comfylabel.comfy.simulator.queue import Item

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")


def _not_there() -> web.Response:
    return web.Response(status=404)


async def list_jobs(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    if not simulator.release.has("jobs"):
        return _not_there()
    wanted = [status for status in request.query.get("status", "").split(",") if status] or list(STATUSES)
    unknown = [status for status in wanted if status not in STATUSES]
    if unknown:
        text = f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(STATUSES)}"
        return web.json_response({"error": text}, status=400)
    jobs = sorted(
        (job for job in _all_jobs(simulator) if job["status"] in wanted),
        key=lambda job: job["create_time"] or 0,
        reverse=request.query.get("sort_order") != "asc",
    )
    offset = int(request.query.get("offset", 0))
    limit = int(request.query["limit"]) if "limit" in request.query else None
    page = jobs[offset:] if limit is None else jobs[offset : offset + limit]
    pagination = {
        "offset": offset,
        "limit": limit,
        "total": len(jobs),
        "has_more": offset + len(page) < len(jobs),
    }
    return web.json_response({"jobs": page, "pagination": pagination})


async def get_job(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    if not simulator.release.has("jobs"):
        return _not_there()
    identity = request.match_info["job_id"]
    for job in _all_jobs(simulator):
        if job["id"] == identity:
            entry = simulator.queue.history.get(identity)
            if entry is not None:
                job |= {"outputs": entry["outputs"], "execution_status": entry["status"]}
            return web.json_response(job)
    return web.json_response({"error": "Job not found"}, status=404)


async def cancel_job(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    if not simulator.release.has("cancels_jobs"):
        return _not_there()
    return web.json_response({"cancelled": _cancel(simulator, request.match_info["job_id"])})


async def cancel_jobs(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    if not simulator.release.has("cancels_jobs"):
        return _not_there()
    try:
        ids = json.loads(await request.text())["job_ids"]
        invalid = [identity for identity in ids if not CANONICAL_ID.fullmatch(identity)]
    except (ValueError, KeyError, TypeError):
        return trouble()
    if invalid:
        body = {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}
        return web.json_response(body, status=400)
    cancelled = [identity for identity in ids if _cancel(simulator, identity)]
    return web.json_response({"cancelled": bool(cancelled)})


def _cancel(simulator: "Simulator", identity: str) -> bool:
    if simulator.queue.delete_pending(identity):
        return True
    running = simulator.queue.is_running(identity)
    if running:
        simulator.executor.interrupt(identity)
    return running


def _all_jobs(simulator: "Simulator") -> list[dict[str, Any]]:
    queue = simulator.queue
    return [
        *(_job(item, "pending") for item in queue.pending),
        *(_job(item, "in_progress") for item in queue.running.values()),
        *(_finished(entry) for entry in queue.history.values()),
    ]


def _job(item: Item, status: str) -> dict[str, Any]:
    number, identity, _, extra_data, _ = item
    return {
        "id": identity,
        "status": status,
        "priority": number,
        "create_time": extra_data.get("create_time"),
        "outputs_count": 0,
    }


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    messages = dict(entry["status"]["messages"])
    failed = "cancelled" if "execution_interrupted" in messages else "failed"
    job = _job(tuple(entry["prompt"]), "completed" if entry["status"]["completed"] else failed)
    job["outputs_count"] = len(entry["outputs"])
    if "execution_error" in messages:
        job["execution_error"] = messages["execution_error"]
    return job


ROUTES = (
    ("GET", "/api/jobs", list_jobs),
    ("POST", "/api/jobs/cancel", cancel_jobs),
    ("GET", "/api/jobs/{job_id}", get_job),
    ("POST", "/api/jobs/{job_id}/cancel", cancel_job),
)
