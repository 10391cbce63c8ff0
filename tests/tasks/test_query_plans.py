"""How the statements of tasks run among 200 000 images of other people's: by which index."""

import re

import pytest

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.generations import progress_repository
from comfylabel.tasks import freeze_repository, prompts_repository, repository, under_way_repository
from tests.support.plans import plan

ID = uuid7()

HOT = {
    "totals": (progress_repository._TOTALS, [[ID]], "batches_position"),
    "progress page": (progress_repository._PAGE, [ID, 10, 100, False], "batches_position"),
    "failed prompts": (progress_repository._PAGE, [ID, 10, 100, True], "batches_position"),
    "prompts page": (prompts_repository._PAGE, [ID, 10, 100], "prompts_task_id_position_key"),
    "seeds of a prompt": (prompts_repository._PAGE, [ID, 10, 100], "seeds_prompt_id_position_key"),
    "prompts by id": (prompts_repository._BY_ID, [[ID]], "prompts_pkey"),
    "work left": (repository._WORK_LEFT, [ID], "task_id_id_idx"),
    "open submissions": (repository._WORK_LEFT, [ID], "submissions_open"),
    "nothing open": (under_way_repository._WITHOUT_OPEN, [[ID]], "submissions_open"),
    "can be labelled": (repository._CAN_BE_LABELLED, [ID], "batches_ready"),
    "failed images": (freeze_repository._RETRY_FAILED, [ID], "task_id_prompt_id_idx"),
    "pilot images": (repository._PILOT_IMAGES, [ID], "pilot_id_idx"),
    "last pilot": (repository._LAST_PILOT, [ID], "pilots"),
    "missing images": (freeze_repository._HAS_MISSING, [ID], "batches_position"),
}


@pytest.mark.parametrize(("sql", "arguments", "index"), HOT.values(), ids=HOT.keys())
async def test_hot_statements_use_their_index(
    crowded_database: Database, sql: str, arguments: list[object], index: str
) -> None:
    async with crowded_database.connection() as connection:
        shown = await plan(connection, sql, *arguments)
        read_whole = re.findall(r"Seq Scan on (\w+)", shown)
        sizes = {table: await connection.fetchval(f"select count(*) from {table}") for table in read_whole}
    assert index in shown, shown
    assert not any(sizes.values()), f"{shown}\n{sizes}"  # months to come are empty
