"""Every way to fail has words for people, and is counted once."""

from datetime import datetime

import pytest

from comfylabel.generations import failures_repository
from comfylabel.generations.failures import FailureKind, TaskFailure, in_words
from tests.support import rows


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_is_a_sentence(kind: FailureKind):
    words = in_words(kind)
    assert words[0].isupper()
    assert words.endswith(".")
    assert "_" not in words


def test_a_kind_of_another_release_is_shown_as_it_is():
    assert in_words("solar_flare") == "solar_flare"


@pytest.mark.postgres_16_too
async def test_failures_of_a_task_are_counted_by_kind_and_the_last_message_is_kept(database):
    async with database.transaction() as connection:
        task, other = await rows.add_task(connection, "FROZEN"), await rows.add_task(connection, "FROZEN")
        worker = task.worker_id
        for message in ("first", "second"):
            await failures_repository.lock(connection, task.id, worker)
            await failures_repository.count(connection, task.id, FailureKind.OUT_OF_MEMORY, message, worker)
        await failures_repository.count(connection, task.id, FailureKind.DEADLINE, "late", worker)
        await failures_repository.count(connection, other.id, FailureKind.DEADLINE, "elsewhere", worker)
        told = await failures_repository.of_task(connection, task.id)
    assert [(failure.kind, failure.count, failure.last_message) for failure in told] == [
        ("out_of_memory", 2, "second"),
        ("deadline", 1, "late"),
    ]
    assert all(isinstance(failure, TaskFailure) and isinstance(failure.last_at, datetime) for failure in told)
    assert told[0].words == "The GPU ran out of memory."
