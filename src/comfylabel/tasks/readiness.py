"""Who can run a workflow right now, or, in words, why nobody can."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.graph import Graph
from comfylabel.errors import NoHealthyWorker
from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import ranked, why_not
from comfylabel.workflows.eligibility import missing_on

# What a worker says of its nodes and models; raises WorkerError when it says nothing.
ObjectInfoSource = Callable[[Worker], Awaitable[Mapping[str, Any]]]

# Asks the workers about a workflow that none could be asked about when it came; raises a 409 when they refuse it.
Verify = Callable[[UUID], Awaitable[object]]


async def able_workers(workers: Iterable[Worker], graph: Graph, object_info: ObjectInfoSource) -> list[Worker]:
    """Enabled, healthy, with every node and model of the graph; in the order of selection, never empty."""
    candidates = ranked(workers)
    obstacles = await asyncio.gather(
        *(_obstacle(worker, graph, object_info, datetime.now(UTC)) for worker in candidates)
    )
    able = [worker for worker, obstacle in zip(candidates, obstacles, strict=True) if obstacle is None]
    if not able:
        raise NoHealthyWorker(nobody_can(list(zip(candidates, obstacles, strict=True))))
    return able


async def _obstacle(worker: Worker, graph: Graph, object_info: ObjectInfoSource, now: datetime) -> str | None:
    """Why not this worker, continuing its name; None when it can."""
    reason = why_not(worker, now)
    if reason is not None:
        return reason
    try:
        missing = missing_on(graph, dict(await object_info(worker)))
    except WorkerError as error:
        return f"does not say what it can run: {error.message.rstrip('.')}"
    return f"lacks {' and '.join(missing)}" if missing else None


def nobody_can(obstacles: list[tuple[Worker, str | None]]) -> str:
    """The sentence that names every worker: "gpu-1 lacks the model sdxl.safetensors, gpu-2 is disabled"."""
    told = ", ".join(f"{worker.name} {obstacle}" for worker, obstacle in obstacles)
    return f"No healthy worker can run this workflow: {told or 'none is registered'}."
