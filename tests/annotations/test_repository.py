"""Which index a query of labelling walks when it shares its tables with 200,000 images of other tasks."""

import re
from datetime import UTC, datetime

import asyncpg
import pytest

from comfylabel.annotations import answers_repository, batches_repository, repository
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from tests.support.plans import plan
from tests.support.rows import add_task, add_user

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ONE, OTHER = uuid7(), uuid7()


def scanned(plan: str) -> set[str]:
    """Tables read from end to end. Partitions without rows do not count: a month to come is read as nothing."""
    return {name for name in re.findall(r"Seq Scan on (\w+)", plan) if not name.startswith("generations_")}


@pytest.mark.parametrize("query", [batches_repository.PAGE_FORWARDS, batches_repository.PAGE_BACKWARDS])
async def test_a_page_reads_its_own_rows_by_index_only(crowded_database: Database, query: str):
    async with crowded_database.connection() as connection:
        shown = await plan(connection, query, ONE, NOW, OTHER, 21, ONE)

    assert re.search(r"Index Scan (Backward )?using batches_ready on batches", shown), shown
    assert "ROW(task_id, ready_at, id)" in shown, shown
    for index in ("prompts_pkey", "batch_id_position", "annotations_batch_id_user_id_key"):
        assert index in shown, shown
    assert scanned(shown) == set(), shown
    assert "Hash" not in shown, shown


async def test_a_page_reads_no_month_with_images_from_end_to_end(crowded_database: Database):
    async with crowded_database.connection() as connection:
        shown = await plan(connection, batches_repository.PAGE_FORWARDS, ONE, NOW, OTHER, 21, ONE)
        for month in re.findall(r"Seq Scan on (generations_\w+)", shown):
            assert await connection.fetchval(f"select count(*) from {month}") == 0, shown


async def test_batches_named_by_id_are_shown_by_index_only(crowded_database: Database):
    async with crowded_database.connection() as connection:
        shown = await plan(connection, batches_repository.SHOWN, [ONE, OTHER], ONE)

    for index in ("batches_pkey", "prompts_pkey", "batch_id_position", "annotations_batch_id_user_id_key"):
        assert index in shown, shown
    assert scanned(shown) == set(), shown
    assert "Hash" not in shown, shown


# Tables that are empty in the crowd, as they are after some weeks of labelling.
WEEKS_LATER = """
set local session_replication_role = replica;
insert into annotation_history (id, annotation_id, batch_id, user_id, client_id, undone_by, answer)
select gen_random_uuid(), id, batch_id, user_id, 'old-' || client_id, 'undo-' || client_id, '{}' from annotations;
insert into ab_assignments (id, test_id, user_id, variant_key)
select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'A' from generate_series(1, 1000);
analyze annotation_history, ab_assignments;
"""
FILLED = ("choice", 0, 1, ONE, OTHER, False, False, [1, 0], "A", "c1", 1830)
TURN = (ONE, OTHER, ONE, 1, False)


async def test_what_bears_on_an_answer_is_found_by_index_only(crowded_database: Database):
    async with crowded_database.transaction() as connection:
        await connection.execute(WEEKS_LATER)
    async with crowded_database.connection() as connection:
        held = await plan(connection, answers_repository.HOLD, ONE, OTHER, ONE, "c1", [0, 1])
        found = await plan(connection, answers_repository.FIND, ONE, "c1")

    for index in (
        "batches_pkey",
        "annotations_batch_id_user_id_key",
        "batch_id_position",
        "annotations_client",
        "annotation_history_client",
        "annotation_history_undo",
        "ab_assignments_test_id_user_id_key",
    ):
        assert index in held, held
    assert scanned(held) <= {"tasks"}, held  # 50 tasks lie on one page or two: no index beats that
    assert scanned(found) == set(), found


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (answers_repository.INSERT, (*TURN, ONE, OTHER, *FILLED)),
        (answers_repository.REPLACE, (*TURN, ONE, OTHER, *FILLED)),
        (answers_repository.WITHDRAW, (*TURN, ONE, OTHER, "u1", True)),
    ],
    ids=["insert", "replace", "withdraw"],
)
async def test_an_answer_is_stored_by_index_however_few_leases_there_were(
    crowded_database: Database, query: str, arguments: tuple[object, ...]
):
    """Planned when nobody held anything; a busy hour leaves thousands of dead rows to scan."""
    async with crowded_database.connection() as connection:
        shown = await plan(connection, query, *arguments, settings="set_config('enable_seqscan', 'off', true)")
    assert scanned(shown) == set(), shown


async def test_nothing_that_an_answer_writes_is_planned_with_scans(database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, state="DONE", prompts=1)
        somebody = await add_user(connection)
    async with database.transaction() as connection:
        held = await answers_repository.hold(
            connection, task_id=task.id, batch_id=task.batches[0], user_id=somebody, client_id=None
        )
        assert held is not None
        assert await connection.fetchval("show enable_seqscan") == "off"
    async with database.connection() as connection:
        assert await connection.fetchval("show enable_seqscan") == "on"


async def test_the_list_of_tasks_counts_by_index(crowded_database: Database):
    async with crowded_database.connection() as connection:
        at, last = repository.AFTER_ALL
        shown = await plan(connection, repository.LABELLING, ONE, at, last, 21)

    assert "labellers_pkey" in shown, shown
    assert not scanned(shown) & {"batches", "labellers"}, shown


@pytest.mark.parametrize("columns", ["'choice', null, null", "'tie', 1, null", "'choice', 1, 1", "'spam', null, null"])
async def test_the_schema_itself_refuses_half_an_answer(database: Database, columns: str):
    async with database.connection() as connection:
        task = await add_task(connection, state="DONE", prompts=1)
        somebody = await add_user(connection, "ann")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                f"""insert into annotations
                      (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, rejected_index)
                    select $1, id, task_id, prompt_id, $2, {columns} from batches where id = $3""",
                uuid7(),
                somebody,
                task.batches[0],
            )
