"""Which index a query of labelling walks when it shares its tables with 200,000 images of other tasks."""

import re
from datetime import UTC, datetime

import asyncpg
import pytest

from comfylabel.annotations import answers_repository, batches_repository, first_answer_repository, repository
from comfylabel.annotations.hints import AFTER_ALL
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
    assert re.search(r"Index Cond: \(\(task_id = \$1\) AND \(ROW\(ready_at, id\) [<>] ROW", shown), shown
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


FILLED = ("choice", 0, 1, ONE, OTHER, False, False, [1, 0], "A", "c1", 1830)
TURN = (ONE, OTHER, ONE, 1, False)
STATEMENTS = {
    "hold": (answers_repository.HOLD, (ONE, OTHER, ONE, "c1", [0, 1])),
    "ordinary": (
        first_answer_repository.STORE,
        (ONE, OTHER, ONE, "c1", [0, 1], ["DONE"], 4, OTHER, "choice", 0, 1, [1, 0], 1830),
    ),
    "find": (answers_repository.FIND, (ONE, "c1")),
    "insert": (answers_repository.INSERT, (*TURN, ONE, OTHER, *FILLED)),
    "replace": (answers_repository.REPLACE, (*TURN, ONE, OTHER, *FILLED)),
    "withdraw": (answers_repository.WITHDRAW, (*TURN, ONE, OTHER, "u1", True)),
}


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("rows", ["many rows", "none yet"])
async def test_an_answer_finds_its_rows_by_index_only(
    crowded_database: Database, database: Database, statement: str, rows: str
):
    """Also when its statements were prepared before there was anything to find."""
    query, arguments = STATEMENTS[statement]
    async with (crowded_database if rows == "many rows" else database).connection() as connection:
        await connection.execute("analyze")
        shown = await plan(connection, query, *arguments, by_index=True)
    assert scanned(shown) == set(), shown


async def test_the_list_of_tasks_counts_by_index(crowded_database: Database):
    async with crowded_database.connection() as connection:
        at, last = AFTER_ALL
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
