"""What the demo shows: two simulated workers, a workflow, three pools and a task, made through the public API."""

import asyncio
import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from comfylabel.accounts.service import AccountService
from comfylabel.cli.api import Api, ApiError
from comfylabel.cli.process_tree import Program
from comfylabel.db.pool import Database

WORKFLOW = Path(__file__).with_name("demo_workflow_api.json")
WORKFLOW_NAME = "demo landscapes"
POOLS: Mapping[str, Sequence[str]] = {
    "place": (
        "a mountain lake", "a desert canyon", "a pine forest", "rolling hills", "a volcanic island", "a river delta",
        "a birch grove", "a rocky coast", "terraced rice fields", "a glacier", "a heather moor", "an olive orchard",
    ),
    "light": (
        "morning mist", "noon sun", "golden hour", "blue hour", "moonlight", "storm light", "first snow", "haze",
    ),
    "mood": ("quiet", "dramatic", "dreamlike", "lonely", "festive", "ancient", "minimal", "lush"),
}  # fmt: skip
_READY_SECONDS = 60


class SimulatedWorkers:
    """Programs of the process tree. Their ports are chosen here, so that one that dies comes back as itself."""

    def __init__(self, count: int, *, job_seconds: float) -> None:
        ports = _free_ports(count)
        self.urls = {f"simulated-{number}": f"http://127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
        self.programs = [
            Program(
                f"simulate-worker {port}",
                ("simulate-worker", "--port", str(port), "--job-seconds", str(job_seconds)),
                silent=True,
            )
            for port in ports
        ]

    async def logs(self) -> list[dict[str, Any]]:
        """What each of them says that it was asked for and made."""
        async with aiohttp.ClientSession() as session:
            submissions: list[dict[str, Any]] = []
            for name, url in self.urls.items():
                async with session.get(f"{url}/simulator/log") as answer:
                    log = await answer.json()
                submissions += [{"worker": name, **submission} for submission in log["submissions"]]
            return submissions


async def until_ready(api: Api) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while True:
        try:
            await api.get("/readyz")
        except ApiError:
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def admin_link(database_url: str, origin: str) -> str:
    """What every start prints, taken from where it comes from."""
    database = await Database.connect(database_url, max_size=1)
    try:
        return (await AccountService(database, origin=origin).ensure_admin_link(origin=origin)).url
    finally:
        await database.close()


async def register_workers(api: Api, urls: Mapping[str, str]) -> None:
    """New ones, or those of the last start at their new addresses. Each is HEALTHY afterwards."""
    known = {worker["name"]: worker["id"] for worker in await api.get("/api/workers")}
    for name, url in urls.items():
        if name in known:
            worker_id = known[name]
            await api.patch(f"/api/workers/{worker_id}", {"base_url": url, "enabled": True})
        else:
            body = {"name": name, "base_url": url, "max_concurrent_jobs": 2, "tags": ["simulated"]}
            worker_id = (await api.post("/api/workers", body))["id"]
        await _until_healthy(api, worker_id)


async def _until_healthy(api: Api, worker_id: str) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while not (found := await api.post(f"/api/workers/{worker_id}/test"))["healthy"]:
        if time.monotonic() > give_up_at:
            raise ApiError(f"A simulated worker did not become healthy: {found['reason']}")
        await asyncio.sleep(0.1)


async def ensure_workflow(api: Api) -> str:
    page = await api.get("/api/workflows")
    for workflow in page["items"]:
        if workflow["name"] == WORKFLOW_NAME:
            return str(workflow["id"])
    form = aiohttp.FormData()
    form.add_field("workflow", WORKFLOW.read_bytes(), filename="workflow_api.json", content_type="application/json")
    metadata = {"name": WORKFLOW_NAME, "version": "1", "model": "simulated", "max_batch_size": 4}
    form.add_field("metadata", json.dumps(metadata), content_type="application/json")
    return str((await api.post("/api/workflows", form=form))["id"])


async def ensure_pools(api: Api) -> None:
    known = {pool["name"] for pool in (await api.get("/api/variable-pools"))["items"]}
    for name, items in POOLS.items():
        if name not in known:
            body = {"name": name, "mode": "no_replacement", "items": list(items)}
            await api.post("/api/variable-pools", body)


async def create_task(api: Api, workflow_id: str, *, prompts: int, seeds: int) -> str:
    task = await api.post(
        "/api/tasks",
        {
            "workflow_id": workflow_id,
            "variable_pool_ids": list(POOLS),
            "target_prompts": prompts,
            "seeds_per_prompt": seeds,
            "notes": "The demo's landscapes, from simulated workers",
        },
    )
    return str(task["id"])


def _free_ports(count: int) -> list[int]:
    """Kept open together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
