"""The whole line: the API, an orchestrator with short patience, and simulated workers over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from comfylabel.db.pool import Database
from comfylabel.orchestrator.process import Orchestrator, Pace, orchestrator
from comfylabel.orchestrator.submission_life import Patience
from comfylabel.settings import Settings
from tests.support.app import Api
from tests.support.waiting import until

# Everything that a person would wait for, a hundred times shorter; the rules are the same.
QUICK = Pace(
    lease=timedelta(seconds=2),
    sweep_seconds=0.5,
    inventories_seconds=0.1,
    patience=Patience(post=1.0, settle=0.1, worker_lost=3.0, deadline=30.0),
)

NATIVE_GRAPH: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl-simulated.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
    "10": {"class_type": "LatentBatchSeedBehavior", "inputs": {"samples": ["5", 0], "seed_behavior": "random"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a photo of {dress}", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["10", 0],
            "seed": 1, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "ComfyUI"}},
}  # fmt: skip


def loop_graph() -> dict[str, Any]:
    """The same without LatentBatchSeedBehavior: one submission a seed."""
    graph: dict[str, Any] = json.loads(json.dumps(NATIVE_GRAPH))
    del graph["10"]
    graph["3"]["inputs"]["latent_image"] = ["5", 0]
    return graph


@asynccontextmanager
async def running_orchestrator(
    settings: Settings, database_url: str, pace: Pace = QUICK
) -> AsyncIterator[Orchestrator]:
    async with orchestrator(settings, database_url, pace=pace) as parts:
        work = asyncio.create_task(parts.run())
        try:
            yield parts
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


@dataclass(frozen=True, slots=True)
class Line:
    """An admin's client and the database behind it."""

    admin: httpx.AsyncClient
    database: Database

    @classmethod
    async def of(cls, api: Api) -> "Line":
        return cls(await api.as_role("admin"), api.app.state.database)

    async def call(self, method: str, path: str, *, status: int = 200, **arguments: Any) -> Any:
        """The answer's `data`; fails with the answer's text on any other status."""
        answer = await self.admin.request(method, path, **arguments)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    async def add_worker(self, url: str, name: str = "gpu-1", **columns: Any) -> UUID:
        body = {"name": name, "base_url": url, "priority": 0, "max_concurrent_jobs": 1} | columns
        return UUID((await self.call("POST", "/api/workers", status=201, json=body))["id"])

    async def add_workflow(self, graph: dict[str, Any] | None = None, **metadata: Any) -> str:
        files = {"workflow": ("workflow_api.json", json.dumps(graph or NATIVE_GRAPH).encode())}
        metadata = {"name": "summer", "version": "1", "max_batch_size": 4} | metadata
        data = {"metadata": json.dumps(metadata)}
        answer = await self.call("POST", "/api/workflows", status=201, files=files, data=data)
        return str(answer["id"])

    async def add_pool(self, name: str = "dress", items: Sequence[str] = ()) -> str:
        body = {"name": name, "mode": "permutation", "items": list(items or [f"dress {i}" for i in range(20)])}
        return str((await self.call("POST", "/api/variable-pools", status=201, json=body))["id"])

    async def add_task(
        self, workflow: str, pools: Sequence[str], *, prompts: int = 2, seeds: int = 4, **more: Any
    ) -> Any:
        body = {
            "workflow_id": workflow,
            "variable_pool_ids": list(pools),
            "target_prompts": prompts,
            "seeds_per_prompt": seeds,
        } | more
        return await self.call("POST", "/api/tasks", status=201, json=body)

    async def frozen_task(
        self, *, prompts: int = 2, seeds: int = 4, graph: dict[str, Any] | None = None, **metadata: Any
    ) -> str:
        """A FROZEN task of a new workflow and a new pool."""
        workflow = await self.add_workflow(graph, **metadata)
        pool = await self.add_pool()
        task = await self.add_task(workflow, [pool], prompts=prompts, seeds=seeds)
        await self.call("POST", f"/api/tasks/{task['id']}/freeze")
        return str(task["id"])

    async def run(self, task_id: str) -> Any:
        return await self.call("POST", f"/api/tasks/{task_id}/run")

    async def progress(self, task_id: str) -> Any:
        return await self.call("GET", f"/api/tasks/{task_id}/progress")

    async def until_ended(self, task_id: str, timeout: float = 60) -> Any:
        """The progress once the task is DONE or FAILED."""

        async def ended() -> Any:
            progress = await self.progress(task_id)
            return progress if progress["state"] in ("DONE", "FAILED") else None

        return await until(ended, timeout)

    async def images(self, task_id: str) -> list[dict[str, Any]]:
        """Every image row of the plan, in order."""
        rows = await self.database.pool.fetch(
            """select g.*, p.text, p.position as prompt_position from generations g join prompts p on p.id = g.prompt_id
               where g.task_id = $1 and not g.pilot order by p.position, g.position""",
            UUID(task_id),
        )
        return [dict(row) for row in rows]
