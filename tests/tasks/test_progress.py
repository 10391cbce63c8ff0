from uuid import UUID

import pytest

from comfylabel.db.pool import Database
from comfylabel.errors import NotFound
from comfylabel.generations.progress_repository import TEXT_SHOWN
from comfylabel.tasks.prompts_repository import BEFORE_FIRST
from comfylabel.tasks.service import TaskService
from tests.support.rows import add_task


async def test_of_a_draft_everything_is_pending(database: Database, tasks: TaskService) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, prompts=3, seeds=4)
    view = await tasks.progress(task.id, after_position=BEFORE_FIRST, limit=2)
    assert view.totals.counts.to_json() == {"total": 12, "done": 0, "running": 0, "pending": 12, "failed": 0}
    assert [(row.prompt_id, row.counts.pending) for row in view.prompts] == [(p, 4) for p in task.prompts[:2]]
    assert view.next_position == 1
    rest = await tasks.progress(task.id, after_position=1, limit=2)
    assert [row.prompt_id for row in rest.prompts] == task.prompts[2:]
    assert rest.next_position is None


async def test_counters_reasons_and_the_summary_of_a_task_with_failures(database: Database, tasks: TaskService) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, "DONE", prompts=4, seeds=2)
        await connection.execute(
            "update batches set done = 1, failed = 1, retries_used = 3, reason = 'error on node 3' where position > 1"
        )
    view = await tasks.progress(task.id, after_position=BEFORE_FIRST, limit=10)
    assert view.totals.counts.to_json() == {"total": 8, "done": 6, "running": 0, "pending": 0, "failed": 2}
    assert view.totals.summary == "2 of 4 prompts, 2 failed"
    assert [(reason.reason, reason.prompts) for reason in view.reasons] == [("error on node 3", 2)]
    assert view.totals.ready_batches == 4
    assert view.prompts[2].to_json() == {
        "prompt_id": task.prompts[2],
        "position": 2,
        "text": "prompt 2",
        "done": 1,
        "running": 0,
        "pending": 0,
        "failed": 1,
        "retries_used": 3,
        "reason": "error on node 3",
    }


async def test_pages_hold_every_prompt_once(database: Database, tasks: TaskService) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, "FROZEN", prompts=7, seeds=1)
    seen, position = [], BEFORE_FIRST
    while True:
        view = await tasks.progress(task.id, after_position=position, limit=3)
        seen += [row.prompt_id for row in view.prompts]
        if view.next_position is None:
            break
        position = view.next_position
    assert seen == task.prompts


async def test_only_the_prompts_with_failed_images_when_asked_for_them(database: Database, tasks: TaskService) -> None:
    async with database.connection() as connection:
        draft = await add_task(connection, prompts=2)
        task = await add_task(connection, "DONE", prompts=9, seeds=2, texts=["long " * 100])
        await connection.execute("update batches set done = 1, failed = 1 where position in (0, 4, 8)")
    first = await tasks.progress(task.id, after_position=BEFORE_FIRST, limit=2, only_failed=True)
    assert first.next_position is not None
    rest = await tasks.progress(task.id, after_position=first.next_position, limit=2, only_failed=True)
    assert [row.position for row in (*first.prompts, *rest.prompts)] == [0, 4, 8]
    assert rest.next_position is None
    assert first.prompts[0].text == ("long " * 100)[:TEXT_SHOWN]
    assert not (await tasks.progress(draft.id, after_position=BEFORE_FIRST, limit=2, only_failed=True)).prompts


async def test_an_unknown_task_is_not_found(tasks: TaskService) -> None:
    with pytest.raises(NotFound):
        await tasks.progress(UUID(int=0), after_position=BEFORE_FIRST, limit=1)
