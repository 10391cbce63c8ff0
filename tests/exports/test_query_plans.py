"""Exports stand on their indexes beside 200 000 images of other tasks, and stream: nothing sorts or hashes a task."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.exports import repository
from comfylabel.exports.dpo import Profile
from tests.support.plans import plan


@pytest.mark.parametrize("profile", ["default", "full"])
async def test_lines_stream_through_indexes(crowded_database: Database, profile: Profile):
    bounds = [uuid7(datetime(2026, 11, day, tzinfo=UTC)) for day in (1, 3)]
    arguments = [uuid4(), -1, *bounds, "file:///", "", *(["", ""] if profile == "full" else [])]
    async with crowded_database.transaction() as connection:
        await connection.execute(repository._STREAMING_PLAN)
        shown = await plan(connection, repository._LINES[profile], *arguments)
    for index in ("batches_position", "prompts_pkey", "annotations_batch_id_user_id_key", "batch_id_position_idx"):
        assert index in shown, shown
    assert "Seq Scan" not in shown, shown
    assert shown.startswith("Nested Loop"), shown  # a Sort on top would wait for the last line before the first
    assert "Subplans Removed" in shown, shown  # only the month of the freeze is looked into


@pytest.mark.parametrize(
    ("sql", "arguments", "index"),
    [
        (repository._FATES, (uuid4(),), "batches_position"),
        (repository._FATES, (uuid4(),), "annotations_task"),
        (repository._ANSWERS, (uuid4(),), "annotations_task"),
        (repository._SOME_CHOSEN, (uuid4(), 20), "annotations_task"),
        (repository._JUDGED, ([uuid4()], "file:///"), "batch_id_position_idx"),
    ],
)
async def test_the_summary_reads_its_own_task_only(
    crowded_database: Database, sql: str, arguments: tuple[Any, ...], index: str
):
    async with crowded_database.connection() as connection:
        shown = await plan(connection, sql, *arguments)
    assert index in shown, shown
    for table in ("batches", "annotations"):
        assert f"Seq Scan on {table}" not in shown, shown
