"""The hot queries of the orchestrator stand on their indexes beside 200 000 images of other tasks."""

from uuid import uuid4

import pytest

from comfylabel.generations import repository as generations
from comfylabel.orchestrator import repository, upkeep_repository, workers_repository
from tests.support.plans import plan

HOT = {
    "the images of a chunk": (repository._CHUNK_IMAGES, (uuid4(), 0), "batch_id_position_idx"),
    "a chunk": (repository._CHUNK, (uuid4(), 0), "submissions_chunk"),
    "slots of a worker": (repository._HELD, (uuid4(),), "submissions_slots"),
    "slots of all workers": (workers_repository._HELD, (), "submissions_slots"),
    "start of a chunk": (repository._RUNNING, (uuid4(), uuid4(), uuid4(), 0), "batch_id_position_idx"),
    "the last ready batch": (repository._READY, (uuid4(),), "batches_ready"),
    "chunks that wait": (generations._WAITING_CHUNKS, (uuid4(), 10, 5), "batches_open"),
    "open submissions": (upkeep_repository._OF_TASK, (uuid4(),), "submissions_open"),
}


@pytest.mark.parametrize("name", HOT)
async def test_hot_queries_use_their_index(crowded_database, name):
    sql, arguments, index = HOT[name]
    async with crowded_database.connection() as connection:
        shown = await plan(connection, sql, *arguments)
        partitions = await connection.fetch("select distinct tableoid::regclass::text as name from generations")
    assert index in shown, shown
    words = " ".join(shown.split()) + " "
    for table in ("batches", *(row["name"] for row in partitions)):  # an empty partition has no page to read
        assert f"Seq Scan on {table} " not in words, shown
