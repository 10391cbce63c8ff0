"""When a task is done that is not the first in turn: never sooner than alone, and not without those before it."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.generations.progress import Counts
from comfylabel.tasks.eta import Minute, Range
from comfylabel.tasks.outlook import Run, speed

WORKERS = frozenset(UUID(int=number) for number in range(3))
A_SECOND_EACH = [Minute(ago, 60, 60, 60, 60, 60) for ago in (3, 2, 1)]

counts = st.builds(
    lambda done, running, pending: Counts(done + running + pending, done, running, 0), *[st.integers(0, 5000)] * 3
)
runs = st.builds(
    Run,
    priority=st.integers(-2, 2),
    counts=counts,
    able=st.frozensets(st.sampled_from(sorted(WORKERS))),
    minutes=st.sampled_from([[], A_SECOND_EACH]),
    forecast=st.none() | st.just(Range(500, 900)),
)


def waiting(images: int, priority: int = 0, **more: object) -> Run:
    return Run(priority, Counts(images, 0, 0, 0), **{"able": WORKERS, "minutes": A_SECOND_EACH} | more)  # type: ignore[arg-type]


@given(runs, st.lists(runs, max_size=4))
def test_others_never_make_it_sooner_and_are_spoken_of(run: Run, others: list[Run]):
    alone, told = speed(run, []), speed(run, others)
    assert told.images_per_second == alone.images_per_second
    if told.eta and alone.eta:
        assert told.eta.low >= alone.eta.low
        assert told.eta.high >= alone.eta.high
    if told.eta_note is None:
        assert told.eta == alone.eta


@given(runs, st.lists(runs, max_size=4))
def test_only_a_higher_priority_comes_before(run: Run, others: list[Run]):
    assert speed(run, [other for other in others if other.priority <= run.priority]) == speed(run, [])


def test_what_takes_all_workers_comes_before_all_of_it():
    first, last = waiting(6000, priority=1), waiting(60)
    (alone, before), told = (speed(one, []).eta for one in (last, first)), speed(last, [first])
    assert alone is not None
    assert before is not None
    assert told.eta == Range(before.low + alone.low, before.high + alone.high)
    assert told.eta_note == ("A task of higher priority is made first: the time that this may take is counted in.")


def test_where_a_worker_is_left_it_may_not_wait_at_all():
    first, last = waiting(6000, priority=1, able=frozenset(sorted(WORKERS)[:1])), waiting(60)
    alone, told = speed(last, []).eta, speed(last, [first]).eta
    assert alone is not None
    assert told is not None
    assert told.low == alone.low
    assert told.high > 5000


def test_it_is_not_said_to_stand_still_while_others_are_made():
    """Two hours' work of higher priority began twenty minutes ago."""
    before = [Minute(ago, 60, 60, 60, 60, 60) for ago in (23, 22, 21)]
    first, last = waiting(7200, priority=1), waiting(60, minutes=before)
    assert speed(last, []).eta is None
    told = speed(last, [first]).eta
    assert told is not None
    assert told.low <= 7260 <= told.high


def test_when_nobody_knows_of_those_before_nobody_knows_of_it():
    told = speed(waiting(60), [waiting(10, priority=1, minutes=[]), waiting(10, priority=2)])
    assert told.eta is None
    assert told.eta_note == ("2 tasks of higher priority are made first: nobody knows yet how long all of it takes.")


@pytest.mark.parametrize(
    "other",
    [
        waiting(6000, priority=1, able=frozenset()),
        waiting(6000, priority=1, able=frozenset({UUID(int=9)})),
        Run(1, Counts(100, 90, 10, 0), WORKERS, A_SECOND_EACH),
    ],
    ids=["nobody can make it", "others make it", "all of it is under way"],
)
def test_who_wants_none_of_its_workers_is_not_before_it(other: Run):
    assert speed(waiting(60), [other]) == speed(waiting(60), [])


def test_what_is_all_under_way_waits_for_nobody():
    last = Run(0, Counts(100, 90, 10, 0), WORKERS, A_SECOND_EACH)
    assert speed(last, [waiting(6000, priority=1)]) == speed(last, [])
