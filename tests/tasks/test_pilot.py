from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.graph import Bindings
from comfylabel.tasks.pilot import (
    MAX_RETRIES,
    SAMPLES,
    SIDE_STEP,
    Attempt,
    Phase,
    Rung,
    next_rung,
    plan,
    sample_plan,
)
from comfylabel.tasks.plan import SeedDraw
from comfylabel.tasks.schemas import Prompt, Seed
from comfylabel.workflows.schemas import Limits
from tests.support.rows import BINDINGS, GRAPH

MAY_RESIZE = Limits(allow_controlnet=False, allow_dynamic_resolution=True, max_pixels=2**22)
MAY_NOT = Limits(allow_controlnet=False, allow_dynamic_resolution=False, max_pixels=2**22)
DRAW = SeedDraw(7)

sides = st.integers(16, 4096)
rungs = st.builds(Rung, sides, sides, st.integers(1, 16))


def prompts(count: int, seeds: int) -> list[Prompt]:
    return [
        Prompt(
            uuid4(),
            position,
            "x" * (count - position),
            {},
            edited=False,
            seeds=tuple(Seed(uuid4(), value) for value in DRAW.of_prompt(position, seeds)),
        )
        for position in range(count)
    ]


# --- the ladder


@given(rungs, st.sampled_from(["resolution", "batch"]))
def test_every_rung_is_smaller_and_nothing_grows(rung: Rung, phase: Phase) -> None:
    smaller = next_rung(rung, phase, MAY_RESIZE, can_resize=True)
    if smaller is None:
        return
    assert smaller != rung
    assert 1 <= smaller.batch_size <= rung.batch_size
    for before, after in ((rung.width, smaller.width), (rung.height, smaller.height)):
        assert before is not None
        assert after is not None
        assert after == before or (after < before and after % SIDE_STEP == 0)


@given(rungs)
def test_each_phase_changes_only_its_own_part(rung: Rung) -> None:
    by_resolution = next_rung(rung, "resolution", MAY_RESIZE, can_resize=True)
    by_batch = next_rung(rung, "batch", MAY_RESIZE, can_resize=True)
    assert by_resolution is None or by_resolution.batch_size == rung.batch_size
    assert by_batch is None or (by_batch.width, by_batch.height) == (rung.width, rung.height)


@given(rungs)
def test_no_resolution_changes_without_the_admins_leave_or_a_binding(rung: Rung) -> None:
    assert next_rung(rung, "resolution", MAY_NOT, can_resize=True) is None
    assert next_rung(rung, "resolution", MAY_RESIZE, can_resize=False) is None
    assert next_rung(Rung(None, None, 4), "resolution", MAY_RESIZE, can_resize=True) is None


@given(rungs, st.sampled_from(["resolution", "batch"]))
def test_a_ladder_ends(rung: Rung, phase: Phase) -> None:
    steps = 0
    while (smaller := next_rung(rung, phase, MAY_RESIZE, can_resize=True)) is not None:
        rung, steps = smaller, steps + 1
    assert steps < 30


def test_the_ladder_of_the_api_example() -> None:
    lower = next_rung(Rung(1024, 1024, 1), "resolution", MAY_RESIZE, can_resize=True)
    assert lower == Rung(768, 768, 1)
    assert next_rung(Rung(768, 768, 4), "batch", MAY_RESIZE, can_resize=True) == Rung(768, 768, 2)
    assert Attempt(Rung(768, 768, 2), "ok").to_json() == {
        "width": 768,
        "height": 768,
        "batch_size": 2,
        "outcome": "ok",
    }
    assert MAX_RETRIES == 3


@pytest.mark.parametrize(("side", "smaller"), [(1024, 768), (768, 576), (576, 384), (832, 576), (128, 64), (64, 64)])
def test_three_quarters_down_to_a_multiple_of_64(side: int, smaller: int) -> None:
    rung = next_rung(Rung(side, 4096, 1), "resolution", MAY_RESIZE, can_resize=True)
    assert rung == Rung(smaller, 3072, 1)


# --- the samples


@given(st.integers(1, 12), st.integers(1, 12))
def test_there_are_always_ten_samples_and_none_twice(count: int, seeds: int) -> None:
    ordered = prompts(count, seeds)
    samples = sample_plan(ordered[:SAMPLES], DRAW)
    assert [sample.number for sample in samples] == list(range(1, SAMPLES + 1))
    assert len({(sample.prompt.id, sample.seed) for sample in samples}) == SAMPLES
    assert samples[0].prompt == ordered[0]
    assert samples[0].seed == ordered[0].seeds[0].value


@given(st.integers(1, 12), st.integers(1, 12))
def test_other_prompts_come_before_further_seeds_and_those_before_fresh_ones(count: int, seeds: int) -> None:
    ordered = prompts(count, seeds)[:SAMPLES]
    samples = sample_plan(ordered, DRAW)
    planned = [sample for sample in samples if sample.seed_id is not None]
    assert len(planned) == min(SAMPLES, len(ordered) * seeds)
    assert samples[: len(planned)] == tuple(planned)
    assert len({sample.prompt.id for sample in samples}) == min(SAMPLES, len(ordered))
    known = {seed.id: seed.value for prompt in ordered for seed in prompt.seeds}
    assert all(known[sample.seed_id] == sample.seed for sample in planned if sample.seed_id)
    assert not {sample.seed for sample in samples[len(planned) :]} & set(known.values())


def test_a_fresh_seed_that_somebody_typed_in_is_passed_over() -> None:
    typed = DRAW.fresh(0)
    prompt = Prompt(uuid4(), 0, "x", {}, edited=True, seeds=(Seed(uuid4(), typed),))
    assert [sample.seed for sample in sample_plan([prompt], DRAW)].count(typed) == 1


def test_the_plan_starts_with_the_longest_text_at_batch_size_one() -> None:
    shorter, longer = prompts(2, 4)[::-1]
    made = plan([shorter, longer], GRAPH, Bindings.from_json(BINDINGS), planned_batch_size=4, draw=DRAW)
    assert made.heaviest == longer
    assert made.first_rung == Rung(1024, 1024, 1)
    assert (made.can_resize, made.is_native, made.planned_batch_size) == (True, True, 4)
    assert made.heaviest_json() == {
        "prompt_id": str(longer.id),
        "why": "longest text; size, steps and ControlNets are the same for all "
        "(2 characters; 1024 x 1024 pixels, 20 steps, no ControlNet, 4 images a submission)",
    }


def test_a_workflow_without_a_bound_size_has_no_resolution_rung() -> None:
    made = plan(prompts(1, 1), GRAPH, Bindings(images=("9",)), planned_batch_size=1, draw=DRAW)
    assert made.first_rung == Rung(None, None, 1)
    assert (made.can_resize, made.is_native) == (False, False)
