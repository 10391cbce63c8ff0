"""The workers as one task sees them: who can make its images, who does, and how fast. In every state of the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection, Database
from comfylabel.tasks import repository, speed_repository, under_way_repository
from comfylabel.tasks.eta import Minute, share_of
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.readiness import Ability, Readiness
from comfylabel.tasks.schemas import Task
from comfylabel.tasks.service import found, workflow_of
from comfylabel.workers import activity_repository, paces_repository
from comfylabel.workers.activity import MINUTES, short
from comfylabel.workers.activity_repository import TaskWork
from comfylabel.workers.selection import check_is_fresh

_NOTHING = TaskWork(images=0, failures=0)


@dataclass(frozen=True, slots=True)
class _Figures:
    """By worker. `minutes`: of the task, from which its own pace is told too, so that the shares add up to it."""

    held: Mapping[UUID, int]
    work: Mapping[UUID, TaskWork]
    minutes: Sequence[Minute]
    lately: Mapping[UUID, Mapping[int, int]]
    paces: Mapping[UUID, float]
    utilisation: Mapping[UUID, float | None]


@dataclass(frozen=True, slots=True)
class TaskWorkers:
    database: Database
    readiness: Readiness

    async def of_task(self, task_id: UUID) -> list[dict[str, Any]]:
        """In the order of selection."""
        async with self.database.connection() as connection:
            task = found(await repository.get(connection, task_id), task_id)
            workflow = await workflow_of(connection, task)
        abilities = await self.readiness.of_workflow(task.workflow_id)
        lowered = task.overrides.get("width"), task.overrides.get("height")
        size = paces_repository.size_of(workflow.raw_definition, workflow.bindings, *lowered)
        # A transaction, because now() stays what it is in one: what is minutes ago is so in all that is read.
        async with self.database.transaction() as connection:
            figures = await _read(connection, task, size)
        return [_answer(ability, figures) for ability in abilities]


async def _read(connection: Connection, task: Task, size: tuple[int, int]) -> _Figures:
    running = [task.id] if task.state is TaskState.RUNNING else []
    seen = await speed_repository.seen(connection, running)
    # What they did before it was started is not its: a fleet that stood still until then would look idle.
    lately = await activity_repository.of_all(connection, MINUTES, task.started_at if running else None)
    return _Figures(
        held=await under_way_repository.held_by_workers(connection, task.id),
        work=await activity_repository.of_task(connection, task.id),
        minutes=seen[task.id].minutes if running else [],
        lately=await speed_repository.made_lately(connection, task.id),
        paces=await paces_repository.of_workflow(connection, task.workflow_id, size),
        utilisation={one.id: one.utilisation for one in lately},
    )


def _answer(ability: Ability, figures: _Figures) -> dict[str, Any]:
    worker, done = ability.worker, figures.work.get(ability.worker.id, _NOTHING)
    is_fresh = check_is_fresh(worker, datetime.now(UTC))
    return {
        "worker_id": worker.id,
        "name": worker.name,
        "status": worker.status if is_fresh else "UNHEALTHY",
        "enabled": worker.enabled,
        "able": ability.able,
        "missing": list(ability.missing),
        "why_not": ability.why_not,
        "held": figures.held.get(worker.id, 0),
        "images": done.images,
        "failures": done.failures,
        "images_per_second": short(share_of(figures.minutes, figures.lately.get(worker.id, {}))),
        "seconds_per_image": short(figures.paces.get(worker.id)),
        "utilisation": short(figures.utilisation.get(worker.id)),
    }
