"""The hot queries of the orchestrator stand on their indexes beside 200 000 images of other tasks."""

from uuid import uuid4

import pytest

from comfylabel.generations import repository as generations
from comfylabel.generations import taking_back_repository
from comfylabel.orchestrator import repository, steps_repository, workers_repository
from tests.support.plans import plan

SENDING = ([uuid4()], [uuid4()], [uuid4()], [uuid4()], [0], ["reserved"])
SENT = ([uuid4()], [uuid4()], [uuid4()], [uuid4()], [1], [uuid4()], [1], [uuid4()], ["x"])
STORED = ([uuid4()], *([["x"]] * 5), [1], [1], [1], [{}], [uuid4()], [1])
ELSEWHERE = (uuid4(), ["x"], ["sent"])
HOT = {
    "the images of a chunk": (repository._CHUNKS, ([uuid4()], [0]), "batch_id_position_idx"),
    "a chunk": (repository._CHUNKS, ([uuid4()], [0]), "submissions_chunk"),
    "slots of workers": (steps_repository._HELD, ([uuid4()],), "submissions_slots"),
    "slots of all workers": (workers_repository._SLOTS, (), "submissions_slots"),
    "start of chunks": (steps_repository._LOCK_TO_SEND, SENDING, "batch_id_position_idx"),
    "the batches of what starts": (steps_repository._LOCK_TO_SEND, SENDING, "batches_pkey"),
    "the images of what starts": (steps_repository._SENT, SENT, "_pkey"),
    "ends on workers": (steps_repository._GENERATED, ([uuid4()], [1], [uuid4()], [1.0]), "submissions_pkey"),
    "images that are there": (steps_repository._LOCK_IMAGES, ([uuid4()], ["running"]), "_pkey"),
    "images that are kept": (steps_repository._DONE, STORED, "_pkey"),
    "the end of a submission": (steps_repository._INGESTED, ([uuid4()], ["generated"]), "batch_id_position_idx"),
    "the last ready batch": (repository._READY, ([uuid4()],), "batches_ready"),
    "chunks that wait elsewhere": (workers_repository._CHUNKS_ELSEWHERE, ELSEWHERE, "batch_id_position_idx"),
    "submissions elsewhere": (workers_repository._CHUNKS_ELSEWHERE, ELSEWHERE, "submissions_chunk"),
    "the worker of a pilot elsewhere": (workers_repository._PILOTS_ELSEWHERE, (uuid4(),), "submissions_pilot"),
    "chunks that wait": (generations._WAITING_CHUNKS, (uuid4(), 10, 5), "batches_open"),
    "open submissions": (taking_back_repository._LOCK_OF_TASK, (uuid4(), ["sent"]), "submissions_open"),
}


@pytest.mark.parametrize("name", HOT)
async def test_hot_queries_use_their_index(crowded_database, name):
    sql, arguments, index = HOT[name]
    async with crowded_database.connection() as connection:
        shown = await plan(connection, sql, *arguments, by_index=True)
        partitions = await connection.fetch("select distinct tableoid::regclass::text as name from generations")
    assert index in shown, shown
    words = " ".join(shown.split()) + " "
    for table in ("batches", *(row["name"] for row in partitions)):  # an empty partition has no page to read
        assert f"Seq Scan on {table} " not in words, shown
