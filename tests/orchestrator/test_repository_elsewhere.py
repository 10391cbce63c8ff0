"""What waits for a slot in another process, as its jobs and the rows of its submissions tell."""

from uuid import uuid4

import pytest

from comfylabel.db.jobs import enqueue, generate_job, pilot_job
from comfylabel.orchestrator import workers_repository
from comfylabel.orchestrator.yielding import Elsewhere
from tests.orchestrator.test_repository_fencing import mark_sent, reserve
from tests.support import rows

HERE, THERE = uuid4(), uuid4()


async def elsewhere(connection, lowest: int = 0) -> list[Elsewhere]:
    return await workers_repository.waiting_elsewhere(connection, HERE, lowest)


async def picked(connection, process_id) -> None:
    await connection.execute("update pgqueuer set status = 'picked', queue_manager_id = $1", process_id)


@pytest.fixture
async def task(database) -> rows.TaskRows:
    """Of priority 5, its first two submissions with jobs of the other process."""
    async with database.transaction() as connection:
        worker = await rows.add_worker(connection, max_concurrent_jobs=4)
        task = await rows.add_task(connection, "RUNNING", prompts=2, seeds=2, batch_size=2, worker_id=worker)
        await connection.execute("update tasks set priority = 5")
        await enqueue(connection, [generate_job(task.id, prompt, 0, 5) for prompt in task.prompts])
        await picked(connection, THERE)
    return task


async def test_only_what_is_higher_than_the_lowest_here_and_not_here_itself(database, task):
    async with database.transaction() as connection:
        assert await elsewhere(connection, 4) == [Elsewhere(task.id, task.workflow_id, 5)] * 2
        assert await elsewhere(connection, 5) == []
        await picked(connection, HERE)
        assert await elsewhere(connection, 4) == []


async def test_what_has_its_slot_does_not_wait(database, task):
    async with database.transaction() as connection:
        submission = await reserve(connection, task)
        assert len(await elsewhere(connection)) == 1
        assert await mark_sent(connection, task, submission)
        assert len(await elsewhere(connection)) == 1


@pytest.mark.parametrize("change", ["paused_at = now()", "state = 'FAILED', ended_at = now()"])
async def test_nothing_of_a_task_that_is_paused_or_over(database, task, change):
    async with database.transaction() as connection:
        await connection.execute(f"update tasks set {change}")
        assert await elsewhere(connection) == []


async def test_what_has_no_image_to_make_does_not_wait(database, task):
    async with database.transaction() as connection:
        await connection.execute("update generations set state = 'failed'")
        assert await elsewhere(connection) == []


async def test_a_pilot_waits_whatever_its_priority(database):
    async with database.transaction() as connection:
        task = await rows.add_task(connection, "DRAFT", prompts=1, seeds=2)
        pilot = uuid4()
        await connection.execute(
            "insert into pilots (id, task_id, edits, state) values ($1, $2, 0, 'running')", pilot, task.id
        )
        await enqueue(connection, [pilot_job(pilot)])
        await picked(connection, THERE)
        assert await elsewhere(connection, 999) == [Elsewhere(task.id, task.workflow_id, 0, is_pilot=True)]
        await connection.execute("update pilots set state = 'cancelled', ended_at = now()")
        assert await elsewhere(connection, 999) == []
