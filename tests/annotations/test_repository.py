"""Which index a query walks when it shares its tables with 200,000 rows of other tasks."""

import re

import asyncpg
import pytest

from comfylabel.annotations import repository
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database
from tests.support.rows import TaskRows, add_task, add_user

# 20 older tasks of 2,500 batches and 10,000 images each; somebody has answered 1,000 batches of each.
_PROMPTS = """
insert into prompts (id, task_id, position, text)
select gen_random_uuid(), task, n + 1, 'prompt ' || n from unnest($1::uuid[]) task, generate_series(1, 2499) n
"""
_BATCHES = """
insert into batches (id, task_id, prompt_id, position, total, done, candidates, ready_at)
select gen_random_uuid(), task_id, id, position, 4, 4, 4, now() - position * interval '1 second'
from prompts where task_id = any($1) and position > 1
"""
_IMAGES = """
insert into generations (id, task_id, prompt_id, batch_id, state, position, chunk, seed_value, batch_index, batch_size,
                         candidate_index, image_uri, thumbnail_uri, preview_uri, checksum, width, height, submission_id,
                         worker_id)
select overlay(gen_random_uuid()::text placing $2 from 1 for 13)::uuid, b.task_id, b.prompt_id, b.id, 'done',
       n, 0, 1, n, 4, n, 'a', 'b', 'c', 'd', 1, 1, gen_random_uuid(), w.id
from batches b, generate_series(0, 3) n, (select id from workers limit 1) w
where b.task_id = any($1) and b.position > 1
"""
_ANSWERS = """
insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind)
select gen_random_uuid(), id, task_id, prompt_id, $2, 'tie'
from batches where task_id = any($1) and position between 2 and 1001
"""


async def crowded(connection: Connection) -> TaskRows:
    older = [(await add_task(connection, state="RUNNING", prompts=1)).id for _ in range(20)]
    somebody = await add_user(connection, "somebody")
    await connection.execute("alter table prompts disable trigger user")  # the tasks are frozen already
    await connection.execute(_PROMPTS, older)
    await connection.execute(_BATCHES, older)
    await connection.execute(_IMAGES, older, str(uuid7())[:13])
    await connection.execute(_ANSWERS, older, somebody)
    await connection.execute("alter table prompts enable trigger user")
    task = await add_task(connection, state="DONE", prompts=100)
    await connection.execute("analyze")
    return task


async def plan_of(connection: Connection, query: str, *arguments: object) -> str:
    """The generic plan: what a prepared statement, and asyncpg prepares all, may settle for."""
    await connection.execute("set plan_cache_mode = force_generic_plan")
    await connection.execute(f"prepare asked as {query}")
    values = ", ".join(f"'{argument}'" for argument in arguments)
    rows = await connection.fetch(f"explain (analyze, costs off, timing off) execute asked ({values})")
    await connection.execute("deallocate asked")
    return "\n".join(row[0] for row in rows)


def walks_a_table(plan: str) -> bool:
    """A partition without rows is read by a sequential scan of its no pages; that is none."""
    return bool(re.search(r"Seq Scan on (?!generations_\w+ .*actual rows=0)", plan))


async def test_a_page_reads_its_own_rows_by_index_only(database: Database):
    async with database.connection() as connection:
        task = await crowded(connection)
        somebody = await add_user(connection, "ann")
        middle = (await repository.page(connection, task.id, somebody, None, 50))[-1]
        for query in (repository.PAGE_FORWARDS, repository.PAGE_BACKWARDS):
            plan = await plan_of(connection, query, task.id, middle.ready_at, middle.id, 21, somebody)
            assert not walks_a_table(plan), plan
            assert "batches_ready" in plan, plan
            assert "prompts_pkey" in plan, plan
            assert "batch_id_position" in plan, plan
            assert "annotations_batch_id_user_id_key" in plan, plan


async def test_an_answer_finds_its_rows_by_index_only(database: Database):
    async with database.connection() as connection:
        task = await crowded(connection)
        somebody = await add_user(connection, "ann")
        plans = {
            "batches_pkey": await plan_of(connection, repository.LOCK_BATCH, task.batches[0]),
            "annotations_batch_id_user_id_key": await plan_of(connection, repository.ANSWERS, task.batches[0]),
            "annotations_client": await plan_of(
                connection, repository.CLIENT_ID_ELSEWHERE, somebody, "c1", task.batches[0]
            ),
            "batch_id_position": await plan_of(connection, repository.CANDIDATES, task.batches[0], "{0,1}"),
        }
    for index, plan in plans.items():
        assert index in plan, plan
        assert not walks_a_table(plan), plan


async def test_the_list_of_tasks_counts_by_index(database: Database):
    async with database.connection() as connection:
        await crowded(connection)
        somebody = await add_user(connection, "ann")
        at, last = repository.AFTER_ALL
        plan = await plan_of(connection, repository.LABELLING, somebody, at, last, 21)
    for index in ("tasks_newest", "annotations_mine"):
        assert index in plan, plan
    assert not re.search("Seq Scan on (batches|annotations)", plan), plan


async def test_the_schema_itself_refuses_half_a_choice(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, state="DONE", prompts=1)
        somebody = await add_user(connection, "ann")
        for columns in ("'choice', null, null", "'tie', 1, null", "'choice', 1, 1", "'spam', null, null"):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute(
                    f"""insert into annotations
                          (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, rejected_index)
                        select $1, id, task_id, prompt_id, $2, {columns} from batches where id = $3""",
                    uuid7(),
                    somebody,
                    task.batches[0],
                )
