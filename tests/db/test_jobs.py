"""When PgQueuer is told to look for jobs: at once when some were added, seldom when many are, never for their ends."""

import asyncio

import orjson

from comfylabel.db.jobs import _Bell
from tests.support.waiting import until


def changed(operation: str) -> str:
    """As its trigger writes it."""
    return orjson.dumps({"type": "table_changed_event", "operation": operation}).decode()


async def test_the_first_of_many_rings_at_once_and_the_rest_once_more():
    heard: list[object] = []
    bell = _Bell(heard.append)
    for _ in range(100):
        bell(changed("insert"))
    assert len(heard) == 1
    await until(lambda: len(heard) == 2)
    await until(lambda: not bell._is_held)
    assert len(heard) == 2


async def test_the_end_of_a_job_is_no_reason_to_look_for_one():
    heard: list[object] = []
    bell = _Bell(heard.append)
    for operation in ("delete", "update", "truncate"):
        bell(changed(operation))
    await asyncio.sleep(0)
    assert not heard


async def test_what_else_pgqueuer_says_to_itself_is_passed_on():
    heard: list[object] = []
    bell = _Bell(heard.append)
    told = [orjson.dumps({"type": kind}) for kind in ("health_check_event", "cancellation_event")]
    for payload in told:
        bell(payload)
    assert heard == told
