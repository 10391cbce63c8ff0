"""`comfylabel demo`: everything of `up`, two simulated workers, and something to label. Nothing in it needs a GPU."""

import asyncio
import os
from pathlib import Path

import platformdirs
from rich.console import Console

from comfylabel.cli.api import connect, sign_in
from comfylabel.cli.demo_project import (
    SimulatedWorkers,
    admin_link,
    create_task,
    ensure_pools,
    ensure_workflow,
    register_workers,
    until_ready,
)
from comfylabel.cli.up import Tree, running_tree
from comfylabel.settings import Settings

_PROMPTS, _SEEDS = 24, 4
_JOB_SECONDS = 0.4  # slow enough to watch images arrive while labelling


def demo_data_dir() -> Path | None:
    """Beside real work, never in it; None where the environment names a directory."""
    if os.environ.get("COMFYLABEL_DATA_DIR"):
        return None
    return Path(platformdirs.user_data_dir("comfylabel")) / "demo"


async def demo(settings: Settings) -> None:
    """Until Ctrl-C. What an earlier demo made is found again."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("Starting database, web server, orchestrator and two simulated ComfyUI workers (no GPU is used).")
    workers = SimulatedWorkers(2, job_seconds=_JOB_SECONDS)
    async with running_tree(settings, announce=False, quiet=True, others=workers.programs) as tree:
        origin = tree.settings.origin
        preparing = asyncio.create_task(_prepare(tree, workers))
        try:
            await tree.until_ended(preparing)
            link = await admin_link(tree.database_url, origin)
            console.print(f"\nComfyUI Data Label at {origin}, data in {settings.data_dir}")
            console.print(f"Sign in, within 10 minutes and once: [link={link}]{link}[/link]")
            console.print("Ctrl-C stops everything; the next start finds its data.")
            await tree.until_ended()
        finally:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)


async def _prepare(tree: Tree, workers: SimulatedWorkers) -> None:
    """What is there already stays as it is; only the workers have new addresses."""
    async with connect(tree.settings.origin) as api:
        await until_ready(api)
        await sign_in(api, await admin_link(tree.database_url, tree.settings.origin))
        await register_workers(api, workers.urls)
        workflow_id = await ensure_workflow(api)
        await ensure_pools(api)
        if not (await api.get("/api/tasks", limit=1))["items"]:
            task_id = await create_task(api, workflow_id, prompts=_PROMPTS, seeds=_SEEDS)
            await api.post(f"/api/tasks/{task_id}/pilot")
            await api.post(f"/api/tasks/{task_id}/freeze")
            await api.post(f"/api/tasks/{task_id}/run")
        await api.post("/api/auth/sign-out")
