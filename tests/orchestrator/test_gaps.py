"""Laws of the time that a worker stands still between two jobs."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.figures import Figures, by_minute
from comfylabel.orchestrator.gaps import Gaps, Run

W = "gpu-1"
pauses = st.floats(0, 2.9, allow_nan=False).map(lambda seconds: round(seconds, 3))


def line_of_jobs(gaps: list[float], *, waiting_since: float | None = 0.0) -> list[Run]:
    """Jobs of a second each with these gaps between, on a worker whose clock is an hour ahead of ours."""
    runs, now = [], 100.0
    for number, gap in enumerate([*gaps, 0.0]):
        runs.append(Run(float(number), now + 3600, now + 3601, waiting_since, now + 1))
        now += 1 + gap
    return runs


@given(st.lists(pauses, max_size=7), st.data())
def test_every_gap_is_found_in_whatever_order_the_ends_are_noted(gaps: list[float], data: st.DataObject):
    runs = data.draw(st.permutations(line_of_jobs(gaps)))
    known = Gaps()

    found = [gap for run in runs for gap in known.ended(W, run)]

    assert sorted(found) == pytest.approx(sorted(gaps), abs=1e-6)


@given(st.lists(pauses, min_size=1, max_size=7), st.integers(0, 6))
def test_somebody_elses_job_between_two_of_ours_makes_no_gap(gaps: list[float], place: int):
    """It took a number of its own."""
    runs = line_of_jobs(gaps)
    after = [
        Run(run.number + (at > place), run.began_at, run.ended_at, 0.0, run.noted_at) for at, run in enumerate(runs)
    ]
    known = Gaps()

    assert sum(len(known.ended(W, run)) for run in after) == len(gaps) - (place < len(gaps))


def test_nothing_is_a_gap_that_nobody_waited_through():
    first, second = line_of_jobs([2.0])
    known = Gaps()
    known.ended(W, first)
    assert known.ended(W, Run(1.0, second.began_at, second.ended_at, first.noted_at + 1, second.noted_at)) == []
    assert known.ended(W, Run(1.0, second.began_at, second.ended_at, None, second.noted_at)) == []


@pytest.mark.parametrize("jump", [-3600.0, -5.0, 60.0, 3600.0])
def test_a_clock_that_is_set_makes_no_gap(jump: float):
    first, second = line_of_jobs([1.0])
    known = Gaps()
    known.ended(W, first)
    assert known.ended(W, Run(1.0, second.began_at + jump, second.ended_at + jump, 0.0, second.noted_at)) == []


def test_a_worker_that_might_not_work_is_begun_anew():
    first, second = line_of_jobs([1.0])
    known = Gaps()
    known.ended(W, first)
    known.forget([W, "another"])
    assert known.ended(W, second) == []


@given(st.floats(0, 90_000, allow_nan=False))
def test_a_long_job_was_work_in_each_of_its_minutes(seconds: float):
    minutes = by_minute(seconds)
    assert sum(minutes) == pytest.approx(seconds)
    assert all(0 < busy <= 60 for busy in minutes)


WORKFLOW = uuid4()

calls = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4), st.floats(0, 300), st.booleans()),
    max_size=12,
)


@given(calls, st.integers(0, 12))
def test_figures_kept_and_added_are_those_never_parted(made: list[tuple[Any, Any, int, float, bool]], cut: int):
    """Law: what could not be written and is written with what follows comes to the same."""
    whole, early, late = Figures(), Figures(), Figures()
    for at, (worker, task, images, seconds, failed) in enumerate(made):
        for figures in (whole, early if at < cut else late):
            figures.ran(worker, task, images=images, seconds=seconds, counts=True)
            figures.stood_still(worker, seconds)
            if images:
                figures.paced(worker, WORKFLOW, (64, 64), images=images, seconds=seconds)
            if failed:
                figures.failed(worker, task, "deadline")
    late.add(early)

    assert (late.tasks, late.workers, late.failures) == (whole.tasks, whole.workers, whole.failures)
    assert late.minutes.keys() == whole.minutes.keys()
    for worker, total in whole.totals.items():
        assert (late.totals[worker].images, late.totals[worker].gaps) == (total.images, total.gaps)
        assert late.totals[worker].busy == pytest.approx(total.busy)
