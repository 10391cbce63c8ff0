"""A submission is judged by the time that the worker spent on it, never by how long others kept it waiting."""

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.deadline import Deadline

gaps = st.lists(st.floats(0, 9.9), max_size=30)


@given(gaps)
def test_a_queue_that_moves_is_waited_for_however_long(gaps):
    deadline, now = Deadline(10, since=0), 0.0
    for number, gap in enumerate(gaps):
        now += gap
        assert not deadline.has_passed(now)
        deadline.waits_behind((f"stranger {number}",), now)
    assert not deadline.has_passed(now + 9.9)


def test_a_queue_that_stands_still_is_given_up():
    deadline = Deadline(10, since=0)
    for now in range(3, 13):
        deadline.waits_behind(("stranger",), now)
    assert not deadline.has_passed(12.9)
    assert deadline.has_passed(13)
    assert deadline.is_only_waiting
    assert deadline.words == "The worker's queue did not move for 10 s."


@given(st.floats(0, 1e6), gaps)
def test_once_begun_nothing_prolongs_it(waited, gaps):
    deadline = Deadline(10, since=0)
    deadline.waits_behind(("stranger",), waited / 2)
    deadline.begun(waited)
    now = waited
    for gap in gaps:
        now += gap
        deadline.begun(now)
        assert deadline.has_passed(now) == (now - waited >= 10)
    assert not deadline.is_only_waiting
    assert deadline.words == "Not done after 10 s."


def test_one_of_which_nothing_was_ever_seen_counts_from_when_it_was_followed():
    deadline = Deadline(10, since=5)
    assert not deadline.has_passed(14.9)
    assert deadline.has_passed(15)
    assert not deadline.is_only_waiting
