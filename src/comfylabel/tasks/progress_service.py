"""How far tasks are, how fast they are made and when they will be done: for one page, for the list, and live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection, Database
from comfylabel.generations import failures_repository, progress_repository
from comfylabel.generations.progress import PromptProgress, Totals, untouched_prompts
from comfylabel.tasks import repository, speed_repository
from comfylabel.tasks.answers import TaskProgress, TaskRow
from comfylabel.tasks.counting import Counting
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.outlook import NOTHING, Run, speed
from comfylabel.tasks.readiness import Able, Readiness
from comfylabel.tasks.schemas import Task
from comfylabel.tasks.service import found
from comfylabel.tasks.speed_repository import Seen

REASONS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class _Look:
    """Tasks and those that are made before one of them, with what is known of all of these."""

    tasks: Sequence[Task]
    ahead: Sequence[Task]
    totals: Mapping[UUID, Totals]
    seen: Mapping[UUID, Seen]

    def all(self) -> list[Task]:
        return list({task.id: task for task in (*self.tasks, *self.ahead)}.values())


class ProgressService:
    def __init__(self, database: Database, readiness: Readiness) -> None:
        self._database = database
        self._readiness = readiness
        self._counting = Counting()

    async def of_task(
        self, task_id: UUID, *, after_position: int, limit: int, only_failed: bool = False
    ) -> TaskProgress:
        """With the `limit` prompts that follow that position, or those of them with an image that failed."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id, with_snapshot=False), task_id)
            look = await self._look(connection, [task])
            failed_prompts = look.totals[task_id].failed_prompts
            prompts = await _page(connection, task, after_position, limit, only_failed=only_failed)
            reasons = await progress_repository.reasons(connection, task_id, REASONS_SHOWN) if failed_prompts else []
            failures = await failures_repository.of_task(connection, task_id)
        able = await self._able(look)
        (row,) = _rows(look, able)
        waiting_for = able[task.workflow_id].waiting_for if _is_made(task) else None
        next_position = prompts[limit - 1].position if limit and len(prompts) > limit else None
        return TaskProgress(task, row.totals, row.speed, prompts[:limit], reasons, failures, waiting_for, next_position)

    async def newest(self, before: tuple[datetime, UUID] | None, limit: int) -> tuple[list[TaskRow], bool]:
        """Tasks with how far they are, and whether older ones follow."""
        async with self._database.connection() as connection:
            tasks = await repository.newest(connection, before, limit + 1)
            look = await self._look(connection, tasks[:limit])
        return _rows(look, await self._able(look)), len(tasks) > limit

    async def running(self) -> list[TaskRow]:
        async with self._database.connection() as connection:
            look = await self._look(connection, await repository.running(connection))
        return _rows(look, await self._able(look))

    async def some(self, task_ids: Sequence[UUID]) -> list[TaskRow]:
        """As the list shows them."""
        async with self._database.connection() as connection:
            look = await self._look(connection, await repository.some(connection, task_ids))
        return _rows(look, await self._able(look))

    async def _look(self, connection: Connection, tasks: Sequence[Task]) -> _Look:
        made = [task.priority for task in tasks if _is_made(task)]
        ahead = await repository.made_before(connection, min(made)) if made else []
        everybody = _Look(tasks, ahead, {}, {}).all()
        running = [task.id for task in everybody if task.state is TaskState.RUNNING]
        totals = await self._counting.of(connection, everybody)
        return _Look(tasks, ahead, totals, await speed_repository.seen(connection, running))

    async def _able(self, look: _Look) -> dict[UUID, Able]:
        """Who can run the workflows of the tasks that are being made."""
        workflows = {task.workflow_id for task in look.all() if _is_made(task)}
        return {workflow_id: await self._readiness.able_now(workflow_id) for workflow_id in workflows}


def _is_made(task: Task) -> bool:
    return task.state is TaskState.RUNNING and task.paused_at is None


def _rows(look: _Look, able: Mapping[UUID, Able]) -> list[TaskRow]:
    runs = {task.id: _run(task, look, able) for task in look.all() if task.id in look.seen}
    others = [runs[task.id] for task in look.ahead]
    return [
        TaskRow(task, look.totals[task.id], speed(runs[task.id], others) if task.id in runs else NOTHING)
        for task in look.tasks
    ]


def _run(task: Task, look: _Look, able: Mapping[UUID, Able]) -> Run:
    seen = look.seen[task.id]
    workers = able[task.workflow_id].workers if _is_made(task) else frozenset[UUID]()
    return Run(task.priority, look.totals[task.id].counts, workers, seen.minutes, seen.forecast)


async def _page(
    connection: Connection, task: Task, after_position: int, limit: int, *, only_failed: bool
) -> list[PromptProgress]:
    """One more than `limit`, which says whether more follow."""
    if limit == 0:
        return []
    if task.state is not TaskState.DRAFT:
        return await progress_repository.page(connection, task.id, after_position, limit + 1, only_failed=only_failed)
    if only_failed:
        return []
    prompts = await progress_repository.untouched_page(connection, task.id, after_position, limit + 1)
    return untouched_prompts(prompts, task.seeds_per_prompt)
