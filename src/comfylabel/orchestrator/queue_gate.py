"""The gate before every POST /prompt: pending + running < max_concurrent_jobs, with foreign entries counted.

1. a transaction takes one of our slots; 2. GET /queue counts what others have sent; 3. only then may be sent.
No transaction or lock is open during HTTP. A refused reservation leaves no trace and is no attempt.
"""

import uuid
from dataclasses import dataclass

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.graph import Graph, digest, fill
from comfylabel.db.pool import Database
from comfylabel.orchestrator import repository
from comfylabel.orchestrator.fault_points import reached
from comfylabel.orchestrator.schemas import Plan, Submission
from comfylabel.workers.schemas import Worker


@dataclass(frozen=True, slots=True)
class Admission:
    """A reserved submission, the graph that it will send, and the length of the worker's queue with it."""

    submission: Submission
    graph: Graph
    queue_length: int


async def admit(
    database: Database, client: ComfyClient, worker: Worker, plan: Plan, *, attempt: int
) -> Admission | None:
    """None: the worker is full. Raises WorkerError, with nothing reserved, when it does not answer."""
    submission_id = uuid.uuid4()
    graph = graph_to_send(plan, submission_id)
    async with database.transaction() as connection:
        reservation = await repository.reserve(
            connection, worker.id, submission_id, plan, attempt=attempt, graph_digest=digest(graph)
        )
    if reservation is None:
        return None
    await reached("after_reserve")
    try:
        queue = await client.queue()
        busy = len(queue.ids | reservation.held)
    except BaseException:
        await withdraw(database, submission_id)
        raise
    if busy > reservation.limit:
        await withdraw(database, submission_id)
        return None
    return Admission(reservation.submission, graph, busy)


def graph_to_send(plan: Plan, submission_id: uuid.UUID) -> Graph:
    """A folder of its own on the worker: no name is ever reused, and no cached result of another run is listed."""
    return fill(
        plan.graph,
        plan.bindings,
        prompt=plan.text,
        seed=plan.seed,
        batch_size=plan.batch_size if plan.bindings.batch_size else None,
        width=plan.width,
        height=plan.height,
        filename_prefix=f"comfylabel/{submission_id}/image",
    )


async def withdraw(database: Database, submission_id: uuid.UUID) -> None:
    """Give the slot back: nothing was sent."""
    async with database.transaction() as connection:
        await repository.drop_reservation(connection, submission_id)
