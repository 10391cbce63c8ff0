"""The gate before every POST /prompt: pending + running < max_concurrent_jobs, with foreign entries counted.

1. a transaction takes one of our slots; 2. GET /queue counts what others have sent; 3. only then may be sent.
No transaction or lock is open during HTTP. A refused reservation leaves no trace and is no attempt.
"""

import asyncio
import uuid
from dataclasses import dataclass

import orjson

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.graph import Graph, digest, fill
from comfylabel.db.pool import Database
from comfylabel.orchestrator import steps_repository
from comfylabel.orchestrator.schemas import Plan, Submission
from comfylabel.orchestrator.steps_repository import Taken

# Filling and hashing takes some 10 ms for so many bytes: larger graphs are worked on beside the loop.
_LARGE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Admission:
    """A reserved submission that may be sent, and the length of the worker's queue with it."""

    submission: Submission
    queue_length: int


async def look(client: ComfyClient, taken: Taken) -> int | None:
    """How many the worker will hold with ours; None when others leave no room. Raises WorkerError."""
    queue = await client.queue()
    busy = len(queue.ids | taken.held)
    return busy if busy <= taken.limit else None


async def withdraw(database: Database, submission_id: uuid.UUID) -> None:
    """Give the slot back: nothing was sent."""
    async with database.connection() as connection:
        await steps_repository.drop_reservations(connection, [submission_id])


async def graph_to_send(plan: Plan, submission_id: uuid.UUID) -> tuple[Graph, str]:
    """The graph and its digest."""
    if len(orjson.dumps(plan.graph)) < _LARGE_BYTES:
        return _filled(plan, submission_id)
    return await asyncio.to_thread(_filled, plan, submission_id)


def _filled(plan: Plan, submission_id: uuid.UUID) -> tuple[Graph, str]:
    """A folder of its own on the worker: no name is ever reused, and no cached result of another run is listed."""
    graph = fill(
        plan.graph,
        plan.bindings,
        prompt=plan.text,
        seed=plan.seed,
        batch_size=plan.batch_size if plan.bindings.batch_size else None,
        width=plan.width,
        height=plan.height,
        filename_prefix=f"comfylabel/{submission_id}/image",
    )
    return graph, digest(graph)
