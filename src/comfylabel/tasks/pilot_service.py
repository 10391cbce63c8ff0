"""Pilots: asked for here, carried out by the orchestrator, waited for here."""

import asyncio
from uuid import UUID

from comfylabel.db.ids import uuid7
from comfylabel.db.jobs import enqueue, pilot_job
from comfylabel.db.notifications import notify
from comfylabel.db.pool import Database
from comfylabel.errors import ComfyLabelError, Conflict, NotFound
from comfylabel.tasks import repository
from comfylabel.tasks.answers import PilotView
from comfylabel.tasks.lifecycle import Verb, next_state
from comfylabel.tasks.schemas import Pilot
from comfylabel.tasks.service import TaskService, found, workflow_of

# One look at a primary key; a pilot takes seconds to minutes.
POLL_SECONDS = 0.2


class PilotService:
    def __init__(self, database: Database, tasks: TaskService, *, wait_seconds: float) -> None:
        self._database = database
        self._tasks = tasks
        self._wait_seconds = wait_seconds

    async def start(self, task_id: UUID) -> Pilot:
        """A new pilot, or the one that is at work for this task already. No healthy worker: 409."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id, with_snapshot=False), task_id)
            next_state(task.state, Verb.PILOT)
            workflow = await workflow_of(connection, task)
        await self._tasks.able_workers(workflow.id)
        async with self._database.transaction() as connection:
            task = found(await repository.lock_for_edit(connection, task_id), task_id)
            next_state(task.state, Verb.PILOT)
            pilot = await repository.last_pilot(connection, task_id)
            if pilot is None or pilot.state != "running":
                pilot = await repository.insert_pilot(connection, uuid7(), task)
            # Again for one at work: that is nothing while its job is there, and help where it was lost.
            await enqueue(connection, [pilot_job(pilot.id)])
            await notify(connection, tasks=[task_id])
        return pilot

    async def wait(self, pilot_id: UUID) -> Pilot:
        """The pilot once it has ended, or as it is when the longest wait is over."""
        give_up_at = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            async with self._database.connection() as connection:
                pilot = await repository.get_pilot(connection, pilot_id)
            if pilot is None:
                raise NotFound(f"There is no pilot {pilot_id} any more.")
            if pilot.state != "running" or asyncio.get_running_loop().time() > give_up_at:
                return pilot
            await asyncio.sleep(POLL_SECONDS)

    async def view(self, task_id: UUID) -> PilotView:
        """The last pilot with the images that it has made."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id, with_snapshot=False), task_id)
            pilot = await repository.last_pilot(connection, task_id)
            if pilot is None:
                raise NotFound(f"Task {task_id} has had no pilot.")
            return PilotView(task, pilot, await repository.pilot_images(connection, pilot.id))


def raise_what_ended(pilot: Pilot) -> None:
    """The error that a pilot ended with, as the request that waited for it answers it."""
    if pilot.state == "cancelled":
        raise Conflict(
            "The task was edited or frozen while its pilot was at work; its result is void.",
            code="pilot_cancelled",
        )
    if pilot.error is not None:
        error = ComfyLabelError(pilot.error["message"], code=pilot.error["code"], data=pilot.error.get("data"))
        error.status = pilot.error["status"]
        raise error
