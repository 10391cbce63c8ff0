from comfylabel.db.pool import Database
from tests.support.rows import add_task, add_user, annotate


async def test_a_finished_task_holds_what_was_asked_for(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, "DONE", prompts=3, seeds=4, batch_size=3, failed={1})
        await annotate(connection, task.batches[0], await add_user(connection), chosen=0, rejected=1)
        rows = await connection.fetch(
            "select * from generations where batch_id = $1 order by position", task.batches[1]
        )
        batch = await connection.fetchrow("select * from batches where id = $1", task.batches[1])
        answer = await connection.fetchrow("select * from annotations")
    assert [row["state"] for row in rows] == ["done", "failed", "done", "done"]
    assert [row["candidate_index"] for row in rows] == [0, None, 1, 2]
    assert [(row["seed_value"], row["batch_index"], row["batch_size"], row["chunk"]) for row in rows] == [
        (2000, 0, 3, 0),
        (2000, 1, 3, 0),
        (2000, 2, 3, 0),
        (2003, 0, 1, 1),
    ]
    assert batch is not None
    assert (batch["total"], batch["done"], batch["failed"], batch["candidates"]) == (4, 3, 1, 3)
    assert answer is not None
    assert answer["rejected_generation_id"] == task.generations[0][2]


async def test_a_draft_holds_prompts_and_seeds_only(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, prompts=2, seeds=3)
        assert await connection.fetchval("select state from tasks where id = $1", task.id) == "DRAFT"
        assert await connection.fetchval("select count(*) from seeds") == 6
        assert await connection.fetchval("select count(*) from generations") == 0


async def test_a_running_task_waits_for_its_images(database: Database):
    async with database.connection() as connection:
        await add_task(connection, "RUNNING", prompts=2, seeds=3)
        assert await connection.fetchval("select count(*) from generations where state = 'pending'") == 6
