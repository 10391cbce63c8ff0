"""Laws of the time that is left: a range that holds the truth and narrows, and none where nothing is known."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.tasks.eta import Ahead, Evidence, Minute, Range, behind, images_per_second, remaining, share_of

numbers = st.integers(0, 10**6)
minutes = st.lists(
    st.builds(
        Minute,
        ago=st.integers(0, 90),
        seconds=st.floats(0.5, 60),
        images=st.integers(0, 5000),
        able_images=st.integers(0, 5000),
        able_submissions=st.integers(1, 5000),
        busy=st.floats(0, 6000),
    ),
    max_size=12,
    unique_by=lambda minute: minute.ago,
)
ranges = st.none() | st.tuples(numbers, numbers).map(lambda two: Range(min(two), max(two)))
evidence = st.builds(
    Evidence, left=numbers, running=st.integers(0, 4000), total=numbers, minutes=minutes, forecast=ranges
)


def steady(age: float, *, workers: int, seconds: float, batch: int) -> tuple[list[Minute], int]:
    """What workers do that are never idle, and how many images that makes: one submission after another."""
    made = [workers * math.floor(min(age, 60 * end) / seconds) for end in range(math.ceil(age / 60) + 1)]
    told = [
        Minute(
            ago=len(made) - 2 - index,
            seconds=min(60.0, age - 60 * index),
            images=batch * (made[index + 1] - made[index]),
            able_images=batch * (made[index + 1] - made[index]),
            able_submissions=made[index + 1] - made[index],
            busy=seconds * (made[index + 1] - made[index]),
        )
        for index in range(len(made) - 1)
    ]
    return [minute for minute in told if minute.ago <= 60], batch * made[-1]


@given(evidence)
def test_a_range_is_never_negative_nor_upside_down(known: Evidence):
    eta = remaining(known)
    assert eta is None or 0 <= eta.low <= eta.high


@given(st.floats(2, 7200), st.integers(1, 100), st.floats(0.5, 300), st.integers(1, 8), st.integers(1, 100_000))
def test_while_the_pace_is_steady_the_truth_lies_in_the_range(age, workers, seconds, batch, left):
    told, _ = steady(age, workers=workers, seconds=seconds, batch=batch)
    eta = remaining(Evidence(left=left, running=workers * batch, total=left, minutes=told))
    if eta is None:
        assert not any(minute.able_images for minute in told) or age > 600
        return
    truth = left / (workers * batch / seconds)
    assert eta.low - 1 <= truth
    assert truth <= eta.high + seconds + 1


@given(st.integers(1, 100), st.floats(0.5, 30), st.integers(1, 8))
def test_the_range_converges(workers, seconds, batch):
    """After an hour it is within a tenth."""
    left = 10**6
    told, _ = steady(3600, workers=workers, seconds=seconds, batch=batch)
    eta = remaining(Evidence(left=left, running=workers * batch, total=left, minutes=told))
    assert eta is not None
    assert eta.high / eta.low < 1.2


@given(st.integers(1, 20), st.floats(0.5, 10))
def test_more_evidence_makes_no_wider_range(workers, seconds):
    """From one look to a later one with four times the evidence; ends come in bunches, which is felt."""
    widths = []
    for rounds in (4, 16, 64):
        told, _ = steady(rounds * seconds, workers=workers, seconds=seconds, batch=1)
        eta = remaining(Evidence(left=10**6, running=workers, total=10**6, minutes=told))
        if eta is not None:
            widths.append(eta.high / eta.low)
    assert all(later <= earlier * 1.05 for earlier, later in pairwise(widths))


@given(evidence, st.integers(1, 1000))
def test_more_images_never_take_less_time(known: Evidence, more: int):
    eta = remaining(known)
    longer = remaining(Evidence(known.left + more, known.running, known.total, known.minutes, known.forecast))
    if eta is not None and longer is not None:
        assert (eta.low, eta.high) <= (longer.low, longer.high)


@given(numbers.filter(bool), ranges.filter(lambda one: one is not None and one.low > 0))
def test_at_first_the_pilots_word_stands(total: int, forecast: Range):
    eta = remaining(Evidence(left=total, running=0, total=total, forecast=forecast))
    assert eta is not None
    assert eta.low == pytest.approx(forecast.low, abs=1)
    assert eta.high == pytest.approx(forecast.high, abs=1)


def test_a_pilot_that_was_wrong_is_soon_overruled():
    told, made = steady(60, workers=8, seconds=1, batch=1)
    eta = remaining(Evidence(left=4800, running=8, total=4800 + made, minutes=told, forecast=Range(80_000, 90_000)))
    assert eta is not None
    assert 480 < eta.low <= eta.high < 900


def test_nothing_known_is_no_range():
    assert remaining(Evidence(left=10, running=0, total=10)) is None
    # What was made was made by workers that are gone.
    gone = [Minute(ago=1, seconds=60, images=100, able_images=0, able_submissions=0, busy=60)]
    assert remaining(Evidence(left=10, running=0, total=10, minutes=gone)) is None


def test_a_task_that_stands_still_has_no_range():
    told = [Minute(ago=40, seconds=60, images=60, able_images=60, able_submissions=60, busy=60)]
    assert remaining(Evidence(left=10, running=4, total=100, minutes=told)) is None


def test_a_pause_does_not_make_the_pace_look_slower():
    before = [Minute(ago, 60, 60, 60, 60, 60) for ago in (7, 6)]
    after = [Minute(ago, 60, 60, 60, 60, 60) for ago in (1, 0)]
    assert images_per_second([*before, *after]) == 1


def test_the_end_has_no_time_left():
    assert remaining(Evidence(left=0, running=0, total=10)) == Range(0, 0)


def test_a_lost_half_of_the_fleet_is_soon_felt():
    """A minute ago four of eight workers went: what those four made says nothing about what is to come."""
    told = [Minute(ago, 60, 480, 240, 240, 480) for ago in range(9, 0, -1)] + [Minute(0, 60, 240, 240, 240, 240)]
    eta = remaining(Evidence(left=24_000, running=4, total=50_000, minutes=told))
    assert eta is not None
    assert eta.low <= 6000 <= eta.high


@given(minutes)
def test_a_pace_is_positive_or_not_known(told: list[Minute]):
    pace = images_per_second(told)
    assert pace is None or pace > 0


@given(minutes, st.lists(st.dictionaries(st.integers(0, 12), st.integers(0, 5000)), min_size=1, max_size=5))
def test_the_shares_of_the_workers_are_the_pace_of_the_task(told: list[Minute], workers: list[dict[int, int]]):
    minutes = [replace(one, images=sum(made.get(one.ago, 0) for made in workers)) for one in told]
    shares = [share_of(minutes, made) or 0 for made in workers]
    assert sum(shares) == pytest.approx(images_per_second(minutes) or 0)


@given(ranges, st.lists(st.builds(Ahead, ranges, st.booleans()), max_size=4))
def test_who_comes_before_adds_its_time_and_nothing_of_it_is_forgotten(own: Range | None, ahead: list[Ahead]):
    eta = behind(own, ahead)
    known = [one.left for one in ahead if one.left is not None]
    if own is None or len(known) < len(ahead):
        assert eta is None
        return
    assert eta is not None
    assert own.low <= eta.low <= eta.high == own.high + sum(one.high for one in known)
    if all(one.takes_all for one in ahead):
        assert eta.low == own.low + sum(one.low for one in known)
