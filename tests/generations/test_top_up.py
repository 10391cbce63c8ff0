"""A window of jobs, not the whole task: filled in the order of the prompts, once each, and only while it runs."""

from collections import Counter

import pytest

from comfylabel.db.jobs import enqueue, generate_job, pilot_job
from comfylabel.generations.repository import SMALLEST_WINDOW, WINDOW_PER_SLOT, refill, top_up
from tests.support import rows


async def jobs(connection) -> list[str]:
    return [row["dedupe_key"] for row in await connection.fetch("select dedupe_key from pgqueuer order by id")]


async def running_task(connection, *, slots: int, prompts: int = 10, state: str = "RUNNING"):
    worker = await rows.add_worker(connection, max_concurrent_jobs=slots)
    return await rows.add_task(connection, state, prompts=prompts, seeds=4, batch_size=2, worker_id=worker)


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_a_window_is_twice_all_slots(database, slots):
    async with database.transaction() as connection:
        task = await running_task(connection, slots=slots)
        window = max(WINDOW_PER_SLOT * slots, SMALLEST_WINDOW)
        assert await top_up(connection, task.id) == window
        keys = await jobs(connection)
        assert keys == [f"{task.id}:{task.prompts[i // 2]}:{i % 2}" for i in range(window)]


async def test_a_second_call_adds_nothing_and_no_chunk_gets_two_jobs(database):
    async with database.transaction() as connection:
        task = await running_task(connection, slots=3)
        await top_up(connection, task.id)
        assert await top_up(connection, task.id) == 0
        past = (await jobs(connection))[:1]
        assert (await refill(connection, task.id, past)).added == 1
        assert max(Counter(await jobs(connection)).values()) == 1


async def test_chunks_whose_front_all_have_jobs_are_passed_over(database):
    """However many of the first chunks are taken, the next free ones are found."""
    async with database.transaction() as connection:
        task = await running_task(connection, slots=4, prompts=10)
        taken = [generate_job(task.id, task.prompts[i // 2], i % 2, 0) for i in range(7)]
        await enqueue(connection, taken)
        assert await top_up(connection, task.id) == 1
        assert (await jobs(connection))[-1] == f"{task.id}:{task.prompts[3]}:1"


async def test_it_says_when_every_pending_chunk_has_a_job(database):
    async with database.transaction() as connection:
        task = await running_task(connection, slots=2, prompts=3)
        full = await refill(connection, task.id)
        assert (full.added, full.window, full.is_dry) == (4, 4, False)
        past = await jobs(connection)
        last = await refill(connection, task.id, past)
        assert (last.added, last.is_dry) == (2, True)


async def test_chunks_that_always_fail_do_not_keep_out_those_that_come_after_them(database):
    """Their jobs wait for another try: until then the window is there for others."""
    async with database.transaction() as connection:
        task = await running_task(connection, slots=2)
        first = await refill(connection, task.id)
        await connection.execute("update pgqueuer set attempts = 1, execute_after = now() + interval '5 minutes'")
        second = await refill(connection, task.id)
        assert (first.added, second.added) == (4, 4)
        assert max(Counter(await jobs(connection)).values()) == 1


@pytest.mark.parametrize("state", ["FROZEN", "DONE", "FAILED"])
async def test_only_a_running_task_gets_jobs(database, state):
    async with database.transaction() as connection:
        task = await running_task(connection, slots=2, state=state)
        assert await top_up(connection, task.id) == 0


async def test_a_rollback_takes_the_jobs_back(database):
    class Stop(Exception):
        pass

    async with database.transaction() as connection:
        task = await running_task(connection, slots=2)
    with pytest.raises(Stop):
        async with database.transaction() as connection:
            assert await top_up(connection, task.id) > 0
            raise Stop
    async with database.connection() as connection:
        assert await jobs(connection) == []


async def test_a_job_may_be_added_again_once_it_has_ended(database):
    async with database.transaction() as connection:
        task = await running_task(connection, slots=1)
        assert await enqueue(connection, [pilot_job(task.id)]) == 1
        assert await enqueue(connection, [pilot_job(task.id)]) == 0
        await connection.execute("delete from pgqueuer")
        assert await enqueue(connection, [pilot_job(task.id)]) == 1
