"""Laws of the forecast: what it may say follows from what was measured, and from nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.tasks.forecast import MassRun, Measured, OtherWorker, forecast, memory_of
from comfylabel.tasks.plan import chunks

PILOTED = UUID(int=1)
GIB = 2**30
GUESSED = (
    "One more worker can run this, but made no such images before: it is counted in the shortest time only, as if as "
    "fast as the piloted one."
)


@dataclass(frozen=True)
class Gpu:
    type: str
    vram_total: int
    vram_free: int


seconds = st.floats(0.01, 1000)
measurements = st.lists(st.builds(Measured, st.integers(1, 8), seconds, st.booleans()), min_size=1, max_size=15)
runs = st.builds(
    lambda prompts, seeds, size: MassRun(prompts, chunks(seeds, size), size),
    st.integers(1, 50_000),
    st.integers(1, 20),
    st.integers(1, 8),
)
full_runs = st.builds(
    lambda prompts, size, submissions: MassRun(prompts, [size] * submissions, size),
    st.integers(1, 50_000),
    st.integers(2, 8),
    st.integers(1, 5),
)
others = st.lists(
    st.builds(OtherWorker, st.uuids(), st.none() | seconds, st.booleans()), max_size=6, unique_by=lambda one: one.id
)
gpus = st.lists(st.builds(Gpu, st.just("cuda"), st.just(24 * GIB), st.integers(0, 24 * GIB)), max_size=6)


def told(run: MassRun, measured: Sequence[Measured], others: Sequence[OtherWorker] = (), **more: Any) -> dict[str, Any]:
    return dict(forecast(run, measured, more.pop("looks", []), piloted=PILOTED, others=others))


@given(runs, measurements, others)
def test_the_range_holds_what_the_known_workers_take_at_their_paces(
    run: MassRun, measured: list[Measured], others: list[OtherWorker]
) -> None:
    answer = told(run, measured, others)
    alone = answer["gpu_hours"] * 3600
    helping = [other.pace for other in others if other.is_able and other.pace is not None]
    together = 1 / (1 / max(alone, 1e-9) + sum(1 / (pace * run.images) for pace in helping))
    rounding = 1 + 3600 * 0.0001
    assert 0 <= answer["eta_seconds"]["low"] <= together + rounding
    assert together <= answer["eta_seconds"]["high"] + rounding


@given(runs, measurements, others, st.randoms())
def test_the_order_of_measuring_and_of_workers_does_not_matter(
    run: MassRun, measured: list[Measured], others: list[OtherWorker], random: Random
) -> None:
    answer = told(run, measured, others)
    shuffled, other_order = list(measured), list(others)
    random.shuffle(shuffled)
    random.shuffle(other_order)
    again = told(run, shuffled, other_order)
    for key in ("seconds_per_image", "gpu_hours"):
        assert again[key] == pytest.approx(answer[key], abs=0.011)
    assert again["workers"].keys() == answer["workers"].keys()
    assert again["eta_seconds"]["low"] == pytest.approx(answer["eta_seconds"]["low"], abs=1)


@given(runs, measurements, others)
def test_only_who_was_measured_or_made_such_images_has_a_figure(
    run: MassRun, measured: list[Measured], others: list[OtherWorker]
) -> None:
    figures = told(run, measured, others)["workers"]
    assert figures.keys() == {str(PILOTED), *(str(other.id) for other in others)}
    assert figures[str(PILOTED)] is not None
    for other in others:
        assert (figures[str(other.id)] is None) == (other.pace is None)


@given(runs, measurements, others, seconds)
def test_one_more_worker_that_is_known_makes_it_sooner_but_for_its_last_submission(
    run: MassRun, measured: list[Measured], others: list[OtherWorker], pace: float
) -> None:
    more = OtherWorker(UUID(int=2), pace, is_able=True)
    without, with_it = told(run, measured, others), told(run, measured, [*others, more])
    assert with_it["eta_seconds"]["low"] <= without["eta_seconds"]["low"]
    slowest = max(pace, *(other.pace or 0 for other in others), *(one.seconds for one in measured))
    assert (
        with_it["eta_seconds"]["high"]
        <= without["eta_seconds"]["high"] + slowest * run.batch_size * (len(measured) + 1) + 1
    )
    assert with_it["seconds_per_image"] == without["seconds_per_image"]
    unable = told(run, measured, [*others, replace(more, is_able=False)])
    assert unable["eta_seconds"] == without["eta_seconds"]


@given(runs, measurements, others)
def test_a_worker_of_unknown_pace_may_help_and_is_not_counted_on(
    run: MassRun, measured: list[Measured], others: list[OtherWorker]
) -> None:
    stranger = OtherWorker(UUID(int=2), None, is_able=True)
    without, with_it = told(run, measured, others), told(run, measured, [*others, stranger])
    assert with_it["eta_seconds"]["high"] == without["eta_seconds"]["high"]
    assert with_it["eta_seconds"]["low"] <= without["eta_seconds"]["low"]
    assert {**with_it, "eta_seconds": None, "notes": None, "workers": None} == {
        **without,
        "eta_seconds": None,
        "notes": None,
        "workers": None,
    }
    assert any("made no such images before" in note for note in with_it["notes"])


@given(runs, st.integers(1, 8), seconds, seconds)
def test_loading_models_counts_once_and_not_for_every_image(
    run: MassRun, size: int, warm: float, loading: float
) -> None:
    measured = [Measured(size, warm, is_cold=False)]
    cold = [Measured(size, warm + loading, is_cold=True), *measured]
    plain, with_load = told(run, measured), told(run, cold)
    assert with_load["seconds_per_image"] == plain["seconds_per_image"]
    assert with_load["eta_seconds"]["low"] == plain["eta_seconds"]["low"]
    assert with_load["eta_seconds"]["high"] == pytest.approx(plain["eta_seconds"]["high"] + loading, abs=1)


@given(full_runs, seconds, seconds)
def test_the_batch_size_that_will_be_sent_is_the_one_that_counts(run: MassRun, single: float, batch: float) -> None:
    """Where every submission is full, only the time of a full one matters, whatever single images took."""
    answer = told(run, [Measured(1, single, is_cold=False), Measured(run.batch_size, batch, is_cold=False)])
    assert answer["seconds_per_image"] == pytest.approx(batch / run.batch_size, abs=0.006)
    assert answer["by_batch_size"] == {
        "1": pytest.approx(single, abs=0.006),
        str(run.batch_size): pytest.approx(batch / run.batch_size, abs=0.006),
    }


def test_a_last_submission_that_is_smaller_takes_the_time_in_between() -> None:
    """5 seeds by 4: one of four in 10 s and one of one in 4 s. 6 seeds: one of two takes 4 + 1/3 of 6 s."""
    measured = [Measured(1, 4.0, is_cold=False), Measured(4, 10.0, is_cold=False)]
    assert told(MassRun(1, [4, 1], 4), measured)["seconds_per_image"] == 2.8
    assert told(MassRun(1, [4, 2], 4), measured)["seconds_per_image"] == round((10 + 6) / 6, 2)


def test_the_forecast_of_a_thousand_images() -> None:
    measured = [Measured(1, one, is_cold=False) for one in (3.0, 3.1, 3.2)]
    cold = Measured(1, 33.1, is_cold=True)
    known, unable = OtherWorker(UUID(int=2), 1.5, is_able=True), OtherWorker(UUID(int=3), 9.0, is_able=False)
    stranger = OtherWorker(UUID(int=4), None, is_able=True)
    looks = [Gpu("cuda", 24 * GIB, 20 * GIB), Gpu("cuda", 24 * GIB, 6 * GIB), Gpu("cuda", 24 * GIB, 9 * GIB)]
    answer = told(MassRun(250, [1] * 4, 1), [cold, *measured], [known, unable, stranger], looks=looks)
    assert answer == {
        "seconds_per_image": 3.1,
        "by_batch_size": {"1": 3.1},
        # 1 / (2 / 3.0 + 1 / 1.5) s an image, with the stranger as fast as the piloted one; 1 / (1 / 3.2 + 1 / 1.5),
        # 30 s of loading, and the last image on the slower of the two.
        "eta_seconds": {"low": 750, "high": 1021 + 30 + 3},
        "gpu_hours": 0.8611,
        "workers": {str(PILOTED): 3.1, str(known.id): 1.5, str(unable.id): 9.0, str(stranger.id): None},
        "batch_size": 1,
        "vram": {"total": 24 * GIB, "lowest_free": 6 * GIB, "headroom": 0.25},
        "notes": [
            GUESSED,
        ],
    }


def test_a_hundred_workers_of_known_pace_leave_no_room_for_guesses() -> None:
    known = [OtherWorker(UUID(int=number), 3.1, is_able=True) for number in range(2, 101)]
    eta = told(MassRun(25_000, [1] * 4, 1), [Measured(1, 3.1, is_cold=False)], known)["eta_seconds"]
    assert eta == {"low": 3100, "high": 3103}


def test_one_submission_is_not_shared_out() -> None:
    """Eight images in one: a hundred workers are no faster than the one that makes it."""
    known = [OtherWorker(UUID(int=number), 3.1, is_able=True) for number in range(2, 101)]
    assert told(MassRun(1, [8], 8), [Measured(8, 24.8, is_cold=False)], known)["eta_seconds"]["high"] >= 25


def test_what_was_not_measured_is_not_told() -> None:
    answer = told(MassRun(10, [4], 4), [], [OtherWorker(UUID(int=2), None, is_able=True)])
    unknown = ("seconds_per_image", "eta_seconds", "gpu_hours", "vram")
    assert [answer[key] for key in unknown] == [None] * 4
    assert (answer["by_batch_size"], answer["batch_size"], set(answer["workers"].values())) == ({}, 4, {None})
    assert [note.partition(",")[0] for note in answer["notes"]] == [
        "The worker does not say how much video memory is free.",
        "The worker does not say how long it worked",
    ]


@given(gpus)
def test_the_least_that_was_seen_free_is_the_headroom(looks: list[Gpu]) -> None:
    memory, note = memory_of(looks)
    if not looks:
        assert memory is None
        assert note
        return
    assert memory is not None
    assert memory.lowest_free == min(look.vram_free for look in looks)
    assert 0 <= memory.headroom <= 1


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (Gpu("cpu", 64 * GIB, 30 * GIB), "computes on its CPU"),
        (Gpu("mps", 64 * GIB, 30 * GIB), "shares its memory"),
        (Gpu("privateuseone", GIB, GIB), "cannot tell"),
        (Gpu("cuda", 0, 0), "does not say"),
        (Gpu("cuda", GIB, 2 * GIB), "does not say"),
        (Gpu("cuda", GIB, -1), "does not say"),
    ],
)
def test_a_worker_that_says_nothing_useful_of_its_memory_is_not_believed(gpu: Gpu, words: str) -> None:
    memory, note = memory_of([gpu])
    assert memory is None
    assert words in (note or "")
