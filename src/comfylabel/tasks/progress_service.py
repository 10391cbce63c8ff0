"""How far tasks are, how fast they are made and when they will be done: for one page, for the list, and live."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection, Database
from comfylabel.generations import failures_repository, progress_repository
from comfylabel.generations.progress import PromptProgress, Totals, untouched, untouched_prompts
from comfylabel.tasks import repository, speed_repository
from comfylabel.tasks.answers import Speed, TaskProgress, TaskRow
from comfylabel.tasks.eta import Evidence, images_per_second, remaining
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.schemas import Task
from comfylabel.tasks.service import found
from comfylabel.tasks.speed_repository import Seen

REASONS_SHOWN = 10

# Why nothing of a running task can be made now, in a sentence; None when something can.
WaitingFor = Callable[[Task], Awaitable[str | None]]

_NOTHING = Speed(None, None)


class ProgressService:
    def __init__(self, database: Database, waiting_for: WaitingFor) -> None:
        self._database = database
        self._waiting_for = waiting_for

    async def of_task(
        self, task_id: UUID, *, after_position: int, limit: int, only_failed: bool = False
    ) -> TaskProgress:
        """With the `limit` prompts that follow that position, or those of them with an image that failed."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id, with_snapshot=False), task_id)
            row = (await _rows(connection, [task]))[0]
            prompts = await _page(connection, task, after_position, limit, only_failed=only_failed)
            reasons = (
                await progress_repository.reasons(connection, task_id, REASONS_SHOWN)
                if row.totals.failed_prompts
                else []
            )
            failures = await failures_repository.of_task(connection, task_id)
        waiting_for = await self._waiting_for(task)
        speed = Speed(row.speed.images_per_second, None) if waiting_for else row.speed
        next_position = prompts[limit - 1].position if limit and len(prompts) > limit else None
        return TaskProgress(task, row.totals, speed, prompts[:limit], reasons, failures, waiting_for, next_position)

    async def newest(self, before: tuple[datetime, UUID] | None, limit: int) -> tuple[list[TaskRow], bool]:
        """Tasks with how far they are, and whether older ones follow."""
        async with self._database.connection() as connection:
            tasks = await repository.newest(connection, before, limit + 1)
            rows = await _rows(connection, tasks[:limit])
        return await self._honest(rows), len(tasks) > limit

    async def running(self) -> list[TaskRow]:
        async with self._database.connection() as connection:
            rows = await _rows(connection, await repository.running(connection))
        return await self._honest(rows)

    async def some(self, task_ids: Sequence[UUID]) -> list[TaskRow]:
        """As the list shows them."""
        async with self._database.connection() as connection:
            rows = await _rows(connection, await repository.some(connection, task_ids))
        return await self._honest(rows)

    async def _honest(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """Of a task of which nothing is under way: no time to its end when no worker that is well can run it."""
        told = []
        for row in rows:
            is_idle = row.speed.eta is not None and row.totals.counts.running == 0
            waits = is_idle and await self._waiting_for(row.task) is not None
            told.append(replace(row, speed=Speed(row.speed.images_per_second, None)) if waits else row)
        return told


async def _rows(connection: Connection, tasks: Sequence[Task]) -> list[TaskRow]:
    totals = await progress_repository.totals(connection, [task.id for task in tasks])
    seen = await speed_repository.seen(connection, [task.id for task in tasks if task.state is TaskState.RUNNING])
    rows = []
    for task in tasks:
        of_task = totals.get(task.id) or untouched(task.target_prompts, task.seeds_per_prompt)
        rows.append(TaskRow(task, of_task, _speed(task, of_task, seen.get(task.id))))
    return rows


def _speed(task: Task, totals: Totals, seen: Seen | None) -> Speed:
    """Nothing of a task that does not run. A pause stops the clock; without a worker nobody knows."""
    if seen is None:
        return _NOTHING
    pace = images_per_second(seen.minutes)
    if task.paused_at is not None or not seen.anybody:
        return Speed(pace, None)
    counts = totals.counts
    evidence = Evidence(
        left=counts.pending + counts.running,
        running=counts.running,
        total=counts.total,
        minutes=seen.minutes,
        forecast=seen.forecast,
    )
    return Speed(pace, remaining(evidence))


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
