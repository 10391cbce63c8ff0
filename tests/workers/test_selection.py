from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import CHECK_EXPIRES_AFTER, is_selectable, ranked, why_not

NOW = datetime(2026, 11, 22, 17, 2, tzinfo=UTC)
GOOD = Worker(
    id=UUID(int=1),
    name="gpu-1",
    base_url="http://10.0.0.7:8188",
    api_key=None,
    enabled=True,
    status="HEALTHY",
    priority=0,
    max_concurrent_jobs=1,
    current_queue_len=0,
    failed_checks=0,
    reason=None,
    comfyui_version="0.28.1",
    last_checked_at=NOW,
    removed_at=None,
    tags=(),
    created_at=NOW,
)

workers = st.lists(
    st.builds(
        lambda name, priority, queue: replace(GOOD, name=name, priority=priority, current_queue_len=queue),
        st.text(max_size=3),
        st.integers(-2, 2),
        st.integers(0, 3),
    ),
    max_size=8,
)


@given(workers)
def test_priority_then_the_shorter_queue_then_the_name(given_workers: list[Worker]):
    order = ranked(given_workers)

    assert sorted(order, key=id) == sorted(given_workers, key=id)
    for first, second in pairwise(order):
        if first.priority != second.priority:
            assert first.priority > second.priority
        elif first.current_queue_len != second.current_queue_len:
            assert first.current_queue_len < second.current_queue_len
        else:
            assert first.name <= second.name


@given(workers, st.randoms(use_true_random=False))
def test_the_order_they_come_in_changes_nothing(given_workers: list[Worker], random):
    shuffled = list(given_workers)
    random.shuffle(shuffled)

    assert ranked(shuffled) == ranked(given_workers)


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (replace(GOOD, enabled=False), "is disabled"),
        (replace(GOOD, removed_at=NOW), "was removed"),
        (replace(GOOD, last_checked_at=None), "has not been checked yet"),
        (replace(GOOD, status="UNHEALTHY", reason="No answer."), "is unhealthy: No answer"),
        (replace(GOOD, last_checked_at=NOW - timedelta(seconds=91)), "has not been checked since 17:00 UTC"),
    ],
)
def test_who_gets_nothing_and_why(worker: Worker, reason: str):
    assert why_not(worker, NOW) == reason
    assert not is_selectable(worker, NOW)


@given(st.timedeltas(timedelta(0), timedelta(seconds=200)))
def test_a_check_counts_for_ninety_seconds(age: timedelta):
    assert is_selectable(GOOD, NOW + age) is (age <= CHECK_EXPIRES_AFTER)
