"""The workers as one task sees them: who can make its images, who does, and how fast. In every state of the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Database
from comfylabel.tasks import repository
from comfylabel.tasks.readiness import Ability
from comfylabel.tasks.service import TaskService
from comfylabel.workers import activity_repository
from comfylabel.workers.activity import MINUTES, short
from comfylabel.workers.activity_repository import TaskWork
from comfylabel.workers.selection import check_is_fresh

_NOTHING = TaskWork(images=0, failures=0, images_per_second=None, seconds_per_image=None)


@dataclass(frozen=True, slots=True)
class TaskWorkers:
    database: Database
    tasks: TaskService

    async def of_task(self, task_id: UUID) -> list[dict[str, Any]]:
        """In the order of selection."""
        abilities = await self.tasks.abilities(task_id)
        async with self.database.connection() as connection:
            held = await repository.held_by_workers(connection, task_id)
            work = await activity_repository.of_task(connection, task_id)
            lately = await activity_repository.of_all(connection, MINUTES)
        utilisation = {activity.id: activity.utilisation for activity in lately}
        return [_answer(ability, held, work, utilisation) for ability in abilities]


def _answer(
    ability: Ability, held: Mapping[UUID, int], work: Mapping[UUID, TaskWork], utilisation: Mapping[UUID, float | None]
) -> dict[str, Any]:
    worker, done = ability.worker, work.get(ability.worker.id, _NOTHING)
    is_fresh = check_is_fresh(worker, datetime.now(UTC))
    return {
        "worker_id": worker.id,
        "name": worker.name,
        "status": worker.status if is_fresh else "UNHEALTHY",
        "enabled": worker.enabled,
        "able": ability.able,
        "missing": list(ability.missing),
        "why_not": ability.why_not,
        "held": held.get(worker.id, 0),
        "images": done.images,
        "failures": done.failures,
        "images_per_second": short(done.images_per_second),
        "seconds_per_image": short(done.seconds_per_image),
        "utilisation": short(utilisation.get(worker.id)),
    }
