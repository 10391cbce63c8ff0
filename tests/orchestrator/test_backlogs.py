"""Laws of telling people about strangers' queues."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.backlogs import Backlogs
from comfylabel.workers.schemas import Worker

GPU = Worker(
    id=UUID(int=1),
    name="gpu-1",
    base_url="http://127.0.0.1:8188",
    api_key=None,
    enabled=True,
    status="HEALTHY",
    priority=0,
    max_concurrent_jobs=2,
    current_queue_len=0,
    failed_checks=0,
    reason=None,
    comfyui_version=None,
    last_checked_at=None,
    removed_at=None,
    tags=(),
    headers=None,
    header_names=(),
    device=None,
    vram_total=None,
    vram_free=None,
    created_at=datetime.now(UTC),
)


def with_queue(length: int) -> Worker:
    return replace(GPU, current_queue_len=length)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_beginning_and_end_take_turns_however_often_it_is_looked_at(looks: list[tuple[int, bool]]):
    known = Backlogs()
    said = [told.begins for length, waits in looks for told in known.look([with_queue(length)], {}, work_waits=waits)]

    assert said == [place % 2 == 0 for place in range(len(said))]


@given(st.integers(2, 100), st.integers(2, 20))
def test_a_backlog_is_said_once_however_long_it_lasts(length: int, looks: int):
    known = Backlogs()
    said = [told for _ in range(looks) for told in known.look([with_queue(length)], {}, work_waits=True)]

    assert [told.begins for told in said] == [True]
    (over,) = known.look([with_queue(1)], {}, work_waits=True)
    assert not over.begins
    assert known.look([with_queue(1)], {}, work_waits=True) == []


def test_a_moment_is_no_backlog():
    known = Backlogs()
    assert [known.look([with_queue(length)], {}, work_waits=True) for length in (3, 1, 3, 1)] == [[]] * 4


def test_nobody_is_told_while_nothing_waits():
    known = Backlogs()
    assert [known.look([with_queue(9)], {}, work_waits=False) for _ in range(5)] == [[]] * 5


def test_a_worker_that_is_not_well_has_another_alert():
    known = Backlogs()
    assert [known.look([replace(with_queue(9), status="UNHEALTHY")], {}, work_waits=True) for _ in range(5)] == [[]] * 5


def test_a_worker_that_is_gone_is_forgotten():
    known = Backlogs()
    for _ in range(2):
        known.look([with_queue(9)], {}, work_waits=True)
    assert known.look([], {}, work_waits=True) == []
    assert known.look([with_queue(0)], {}, work_waits=True) == []


@given(st.integers(0, 50))
def test_our_own_work_is_no_backlog(ours: int):
    known = Backlogs()
    said = [known.look([with_queue(ours + 1)], {GPU.id: ours}, work_waits=True) for _ in range(5)]
    assert said == [[]] * 5
