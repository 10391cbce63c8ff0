"""Two owners of one chunk, and a `run` beside a failure: each in the worst order, on rows alone."""

import asyncio
from uuid import UUID, uuid4

from comfylabel.comfy.graph import Bindings
from comfylabel.generations.recount_repository import wrong_counters
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import repository, steps_repository
from comfylabel.orchestrator.schemas import Plan, Submission
from comfylabel.orchestrator.steps_repository import Sending, Wanted
from comfylabel.tasks import freeze_repository
from tests.support import rows
from tests.support.waiting import until


def plan_of(task: rows.TaskRows) -> Plan:
    return Plan(
        task_id=task.id,
        prompt_id=task.prompts[0],
        chunk=0,
        pilot_id=None,
        workflow_id=task.workflow_id,
        priority=0,
        graph={},
        bindings=Bindings.from_json(rows.BINDINGS),
        text="prompt 0",
        seed=1000,
        batch_size=2,
    )


async def reserve(connection, task: rows.TaskRows) -> Submission:
    wanted = Wanted(uuid4(), task.worker_id, plan_of(task), attempt=1)
    assert wanted.submission_id in await steps_repository.reserve(connection, [wanted])
    return Submission(wanted.submission_id, task.worker_id, SubmissionState.RESERVED, attempt=1)


def sending(task: rows.TaskRows, submission: Submission) -> Sending:
    return Sending(submission.id, task.id, task.worker_id, task.batches[0], 0, queue_length=1, graph_digest="x")


async def mark_sent(connection, task: rows.TaskRows, submission: Submission):
    (sent_at,) = await steps_repository.mark_sent(connection, [sending(task, submission)])
    return sent_at


async def running_task(connection) -> rows.TaskRows:
    worker = await rows.add_worker(connection, max_concurrent_jobs=4)
    return await rows.add_task(connection, "RUNNING", prompts=1, seeds=2, batch_size=2, worker_id=worker)


async def test_of_two_owners_of_a_chunk_only_one_may_send(database):
    """Both have read it as pending and hold a slot: a lease that ran out while its owner was alive."""
    async with database.transaction() as connection:
        task = await running_task(connection)
    async with database.transaction() as connection:
        first, second = await reserve(connection, task), await reserve(connection, task)
    async with database.transaction() as connection:
        assert await mark_sent(connection, task, first)
    async with database.transaction() as connection:
        assert await mark_sent(connection, task, second) is None


async def test_nor_when_both_send_in_one_statement(database):
    async with database.transaction() as connection:
        task = await running_task(connection)
        first, second = await reserve(connection, task), await reserve(connection, task)
        both = [sending(task, first), sending(task, second)]
        sent = await steps_repository.mark_sent(connection, both)
        assert [moment is not None for moment in sent] == [True, False]
        owners = await connection.fetch("select distinct submission_id from generations where state = 'running'")
        assert [row["submission_id"] for row in owners] == [first.id]
        states = await connection.fetch("select id, state from submissions")
        assert dict(states) == {first.id: "sent", second.id: "reserved"}


async def test_a_failure_that_meets_a_run_again_is_counted_once(database):
    """What was under way at a cancel may fail for good just while the task is run again."""
    async with database.transaction() as connection:
        task = await running_task(connection)
        submission = await reserve(connection, task)
        assert await mark_sent(connection, task, submission)
        await connection.execute("update batches set retries_used = 3")
        await connection.execute("update tasks set state = 'FAILED', ended_at = now(), end_reason = 'cancelled'")

    async with database.transaction() as failing:
        assert await repository.end_submission(failing, submission.id, SubmissionState.FAILED)
        await _give_up(failing, task, submission.id)
        again = asyncio.create_task(_run_again(database, task.id))
        await until(lambda: _somebody_waits(database))
    await again
    async with database.connection() as connection:
        assert await wrong_counters(connection, task.id) == []


async def test_the_budget_of_a_prompt_is_read_by_one_chunk_at_a_time(database):
    async with database.transaction() as connection:
        task = await running_task(connection)
        submission = await reserve(connection, task)
        assert await mark_sent(connection, task, submission)

    async with database.transaction() as first:
        assert await repository.lock_budget(first, submission.id, task.batches[0], 0) == (0, 0)
        second = asyncio.create_task(_budget(database, task))
        await until(lambda: _somebody_waits(database))
        await repository.give_back(
            first, submission.id, batch_id=task.batches[0], chunk=0, give_up=False, retry=True, loss=True, reason="x"
        )
    assert await second == (1, 1)


async def _budget(database, task: rows.TaskRows) -> tuple[int, int]:
    async with database.transaction() as connection:
        return await repository.lock_budget(connection, uuid4(), task.batches[0], 1)


async def _give_up(connection, task: rows.TaskRows, submission_id: UUID) -> None:
    await repository.give_back(
        connection, submission_id, batch_id=task.batches[0], chunk=0, give_up=True, retry=False, loss=False, reason="x"
    )


async def _run_again(database, task_id: UUID) -> None:
    async with database.transaction() as connection:
        await freeze_repository.retry_failed(connection, task_id)


async def _somebody_waits(database) -> bool:
    return await database.pool.fetchval(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    )


async def test_a_run_locks_batches_in_the_order_in_which_everybody_does(database):
    """Images of before a cancel are still stored while the task is run again: neither may wait for the other."""
    async with database.transaction() as connection:
        task = await rows.add_task(connection, "RUNNING", prompts=30, seeds=1, batch_size=1)
        await connection.execute("update generations set state = 'failed' where task_id = $1", task.id)
        await connection.execute("update batches set failed = 1, reason = 'x' where task_id = $1", task.id)
        # Where they lie says nothing of their ids any more.
        for batch in sorted(task.batches, key=lambda batch: batch.int * 7919 % 1009):
            await connection.execute("update batches set losses = losses + 1 where id = $1", batch)

    async with database.transaction() as storing:
        await storing.execute(steps_repository._LOCK_BATCHES, [min(task.batches)])
        run = asyncio.create_task(_run_again(database, task.id))
        await until(lambda: _somebody_waits(database))
        await storing.execute(steps_repository._LOCK_BATCHES, task.batches)
    await run
    async with database.connection() as connection:
        assert await wrong_counters(connection, task.id) == []
