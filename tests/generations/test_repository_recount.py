import asyncio

import pytest

from comfylabel.db.pool import Database
from comfylabel.generations.recount_repository import (
    _WRONG,
    repair_counters,
    repair_labellers,
    tasks_with_batches,
    wrong_counters,
    wrong_labellers,
)
from tests.support.plans import plan
from tests.support.rows import TaskRows, add_task, add_user, add_worker, annotate
from tests.support.waiting import until


@pytest.fixture
async def task(database: Database) -> TaskRows:
    async with database.transaction() as connection:
        worker = await add_worker(connection)
        return await add_task(connection, state="DONE", prompts=3, seeds=2, worker_id=worker)


async def test_right_counters_are_no_finding(database: Database, task: TaskRows) -> None:
    async with database.connection() as connection:
        assert await wrong_counters(connection, task.id) == []
        assert await tasks_with_batches(connection) == [(task.id, 3)]


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        ("done = 1, failed = 1", (2, 1, 1, 0, 2, 0)),
        ("total = 3", (3, 2, 0, 0, 2, 0)),
        ("done = 1, running = 1", (2, 1, 0, 1, 2, 0)),
        ("candidates = 1", (2, 2, 0, 0, 1, 0)),
        ("taken = 1", (2, 2, 0, 0, 2, 1)),
    ],
)
async def test_each_counter_is_compared_and_put_right(
    database: Database, task: TaskRows, fault: str, stored: tuple[int, ...]
) -> None:
    async with database.transaction() as connection:
        await connection.execute(f"update batches set {fault} where id = $1", task.batches[1])
        (wrong,) = await wrong_counters(connection, task.id)
        assert (wrong.batch_id, wrong.task_id, wrong.stored) == (task.batches[1], task.id, stored)
        assert wrong.counted == (2, 2, 0, 0, 2, 0)
        assert await repair_counters(connection, [wrong.batch_id]) == 1
        assert await wrong_counters(connection, task.id) == []
        assert await repair_counters(connection, task.batches) == 0


async def test_a_place_is_taken_by_an_answer_that_counts_or_by_a_lease(database: Database, task: TaskRows) -> None:
    async with database.transaction() as connection:
        people = [await add_user(connection, name) for name in ("ann", "ben", "cem", "dia")]
        for user_id, kind, surplus in zip(people, ["choice", "tie", "skip"], [False, True, False], strict=False):
            await annotate(connection, task.batches[0], user_id, kind=kind, surplus=surplus, chosen=CHOSEN.get(kind))
        await connection.execute(LEASE, task.batches[0], people[3], task.id)
        await connection.execute("update batches set taken = 9 where id = $1", task.batches[0])

        (wrong,) = await wrong_counters(connection, task.id)
        assert (wrong.stored[-1], wrong.counted[-1]) == (9, 2)
        assert await repair_counters(connection, [wrong.batch_id]) == 1
        assert await wrong_counters(connection, task.id) == []


CHOSEN = {"choice": 0}
LEASE = "insert into leases (batch_id, user_id, task_id) values ($1, $2, $3)"


async def test_what_people_have_answered_is_counted_and_put_right(database: Database, task: TaskRows) -> None:
    async with database.transaction() as connection:
        ann, ben, cem = [await add_user(connection, name) for name in ("ann", "ben", "cem")]
        for user_id in (ann, ben, cem):
            await annotate(connection, task.batches[0], user_id, kind="tie")
        await annotate(connection, task.batches[1], ann, kind="skip")
        assert await wrong_labellers(connection, task.id) == []
        await connection.execute("update labellers set answered = 7 where user_id = $1", ben)
        await connection.execute("delete from labellers where user_id = $1", cem)

        wrong = await wrong_labellers(connection, task.id)

        assert {(labeller.user_id, labeller.stored, labeller.counted) for labeller in wrong} == {
            (ben, 7, 1),
            (cem, 0, 1),
        }
        assert await repair_labellers(connection, task.id, [labeller.user_id for labeller in wrong]) == 2
        assert await wrong_labellers(connection, task.id) == []
        assert await connection.fetchval("select answered from labellers where user_id = $1", ann) == 2


async def test_a_repair_beside_an_answer_loses_neither(database: Database, task: TaskRows) -> None:
    """An answer is stored, and not yet committed, while the number of its person's answers is put right."""
    async with database.connection() as answerer, database.connection() as repairer:
        ann = await add_user(repairer, "ann")
        await annotate(repairer, task.batches[0], ann, kind="tie")
        await repairer.execute("update labellers set answered = 5 where user_id = $1", ann)
        answer = answerer.transaction()
        await answer.start()
        await annotate(answerer, task.batches[1], ann, kind="tie")

        async def repair() -> None:
            async with repairer.transaction():
                await repair_labellers(repairer, task.id, [ann])

        repairing = asyncio.create_task(repair())
        await until(lambda: answerer.fetchval("select exists (select from pg_locks where not granted)"))
        await answer.commit()
        await repairing
        assert await wrong_labellers(repairer, task.id) == []


async def test_a_repair_beside_a_change_loses_neither(database: Database, task: TaskRows) -> None:
    """An image changes in a transaction that is still open while the counters of its batch are repaired."""
    batch, image = task.batches[0], task.generations[0][0]
    async with database.connection() as changer, database.connection() as repairer:
        await repairer.execute("update batches set done = 1 where id = $1", batch)
        change = changer.transaction()
        await change.start()
        await changer.execute("update generations set state = 'failed' where id = $1", image)
        await changer.execute("update batches set done = done - 1, failed = failed + 1 where id = $1", batch)

        async def repair() -> int:
            async with repairer.transaction():
                return await repair_counters(repairer, [batch])

        repairing = asyncio.create_task(repair())
        await change.commit()
        await repairing
        assert await wrong_counters(repairer, task.id) == []


async def test_a_recount_reads_the_batches_of_one_task(crowded_database: Database) -> None:
    async with crowded_database.connection() as connection:
        task_id = await connection.fetchval("select id from tasks limit 1")
        text = await plan(connection, _WRONG, task_id)
    assert "batches_position" in text or "batches_ready" in text or "batches_open" in text
    assert "Seq Scan on batches" not in text
    assert "batch_id_position_idx" in text
