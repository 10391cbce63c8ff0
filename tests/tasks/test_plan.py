import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.db.ids import uuid7, uuid7_time
from comfylabel.errors import InvalidField, InvalidInput
from comfylabel.tasks.plan import (
    MAX_PROMPTS,
    SEED_SPACE,
    CountedIds,
    SeedDraw,
    TaskPlan,
    batch_size,
    check_capacity,
    check_size,
    chunks,
    generation_id,
    overrides_of,
    pool_versions,
)
from comfylabel.variable_pools.schemas import Mode, VariablePool

seeds = st.integers(0, SEED_SPACE - 1)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it


def pool(name: str, *items: str, mode: Mode = "permutation", version: int = 1) -> VariablePool:
    return VariablePool(uuid4(), name, version, mode, items)


def task_plan(*pools: VariablePool, prompts: int, seeds: int = 2, sampling_seed: int = 7) -> TaskPlan:
    return TaskPlan(uuid7(), sampling_seed, "a {dress}", pools, prompts, seeds)


# --- seeds


@given(seeds, st.lists(st.integers(0, SEED_SPACE - 1), unique=True, max_size=50))
def test_no_two_numbers_of_a_task_share_a_seed(sampling_seed: int, numbers: list[int]) -> None:
    draw = SeedDraw(sampling_seed)
    drawn = [draw[number] for number in numbers]
    assert len(set(drawn)) == len(numbers)
    assert all(0 <= seed < SEED_SPACE for seed in drawn)


@given(seeds, st.integers(0, 10**6), st.integers(1, 1000))
def test_the_same_sampling_seed_draws_the_same_again(sampling_seed: int, position: int, count: int) -> None:
    assert SeedDraw(sampling_seed).of_prompt(position, count) == SeedDraw(sampling_seed).of_prompt(position, count)


@given(seeds)
def test_a_fresh_seed_is_no_seed_of_the_plan(sampling_seed: int) -> None:
    draw = SeedDraw(sampling_seed)
    assert not {draw.fresh(number) for number in range(20)} & set(draw.of_prompt(0, 100))


def test_seeds_of_two_tasks_differ() -> None:
    assert not set(SeedDraw(1).of_prompt(0, 1000)) & set(SeedDraw(2).of_prompt(0, 1000))


# --- submissions


@given(st.integers(1, 1000), st.integers(1, 4096))
def test_chunks_cover_every_image_once(seeds_per_prompt: int, size: int) -> None:
    sizes = chunks(seeds_per_prompt, size)
    assert sum(sizes) == seeds_per_prompt
    assert all(1 <= part <= size for part in sizes)
    assert all(part == size for part in sizes[:-1])


@given(st.integers(1, 1000), st.integers(1, 4096))
def test_a_native_batch_never_exceeds_the_limit_and_a_loop_sends_one_by_one(wanted: int, limit: int) -> None:
    assert batch_size("native", wanted, limit) == min(wanted, limit)
    assert batch_size("loop", wanted, limit) == 1


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_pilot_may_only_lower_the_batch_size(found: int, planned: int) -> None:
    overrides = overrides_of({"width": 768, "height": 512, "batch_size": found}, planned)
    assert overrides == {"width": 768, "height": 512, "batch_size": min(found, planned)}


def test_without_a_pilot_nothing_is_overridden() -> None:
    assert overrides_of(None, 4) == {"width": None, "height": None, "batch_size": None}


# --- ids


@given(moments, st.uuids(), st.integers(0, 999))
def test_a_generation_id_is_a_uuid7_of_the_freeze(frozen_at: datetime, prompt_id: UUID, position: int) -> None:
    identity = generation_id(frozen_at, prompt_id, position)
    assert (identity.version, identity.variant) == (7, uuid4().variant)
    assert abs(uuid7_time(identity) - frozen_at) <= timedelta(milliseconds=1)


@given(moments, st.uuids(), st.uuids(), st.integers(0, 999), st.integers(0, 999))
def test_generation_ids_are_equal_exactly_for_the_same_image(
    frozen_at: datetime, prompt: UUID, other_prompt: UUID, position: int, other_position: int
) -> None:
    same = (prompt, position) == (other_prompt, other_position)
    first = generation_id(frozen_at, prompt, position)
    assert (first == generation_id(frozen_at, other_prompt, other_position)) is same


def test_a_generation_id_is_the_documented_hash() -> None:
    prompt = UUID("01994a00-0000-7000-8000-000000000001")
    frozen_at = datetime(2026, 11, 22, 18, 0, 0, 123456, UTC)
    digest = hashlib.sha256(b"01994a00-0000-7000-8000-000000000001:3").digest()
    identity = generation_id(frozen_at, prompt, 3)
    assert identity.int >> 80 == 1795370400123
    assert identity.int >> 64 & 0xFFF == int.from_bytes(digest[:2], "big") >> 4
    assert identity.int >> 62 & 0b11 == 0b10


@given(st.uuids(version=4), st.lists(st.integers(0, 2**32 - 1), unique=True, min_size=2, max_size=20))
def test_counted_ids_are_distinct_and_in_order(owner: UUID, numbers: list[int]) -> None:
    ids = CountedIds(owner, "prompt")
    made = [ids[number] for number in sorted(numbers)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(identity.version, identity.int >> 80) for identity in made} == {(7, owner.int >> 80)}


def test_counted_ids_of_two_kinds_never_meet() -> None:
    owner = uuid7()
    assert not {CountedIds(owner, "prompt")[i] for i in range(100)} & {CountedIds(owner, "seed")[i] for i in range(100)}


# --- rows


@given(seeds, st.integers(1, 12), st.integers(1, 5))
def test_a_plan_has_k_different_prompts_with_n_seeds_each(sampling_seed: int, prompts: int, n: int) -> None:
    pools = (
        pool("dress", "red", "blue", "green"),
        pool("light", "dim", "soft", "hard", "none", mode="no_replacement"),
    )
    drawn = task_plan(*pools, prompts=prompts, seeds=n, sampling_seed=sampling_seed)
    rows = list(drawn.prompt_rows())
    seed_rows = list(drawn.seed_rows())
    assert [row[2] for row in rows] == list(range(prompts))
    assert len({tuple(row[4].items()) for row in rows}) == prompts
    assert [(row[1], row[2]) for row in seed_rows] == [(row[0], place) for row in rows for place in range(n)]
    assert len({row[3] for row in seed_rows}) == prompts * n
    assert len({row[0] for row in rows} | {row[0] for row in seed_rows}) == prompts * (n + 1)


def test_prompts_are_the_template_with_its_variables() -> None:
    drawn = task_plan(pool("dress", "red dress", "blue dress"), prompts=2)
    assert [(row[3], row[4]) for row in drawn.prompt_rows()] == [
        ("a red dress", {"dress": "red dress"}),
        ("a blue dress", {"dress": "blue dress"}),
    ]


def test_a_plan_without_pools_is_the_workflows_own_text() -> None:
    assert [row[3] for row in task_plan(prompts=1).prompt_rows()] == ["a {dress}"]


# --- what is refused


@pytest.mark.parametrize(
    ("prompts", "n", "path"),
    [
        (0, 4, "target_prompts"),
        (-1, 4, "target_prompts"),
        (MAX_PROMPTS + 1, 1, "target_prompts"),
        (10, 0, "seeds_per_prompt"),
        (10, 1001, "seeds_per_prompt"),
        (10, 10**6, "seeds_per_prompt"),
        (MAX_PROMPTS, 1000, "target_prompts"),
    ],
)
def test_a_size_out_of_range_is_refused_with_its_field(prompts: int, n: int, path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        check_size(prompts, n)
    assert refused.value.data["errors"][0]["path"] == path


def test_more_prompts_than_the_pools_give_are_refused_with_the_number() -> None:
    pools = [pool("dress", "a", "b", "c"), pool("light", "d", "e")]
    check_capacity(pools, 6)
    with pytest.raises(InvalidInput, match=r"give 6 different prompts: 3 \(dress\) x 2 \(light\)") as refused:
        check_capacity(pools, 7)
    assert (refused.value.code, refused.value.data["capacity"]) == ("over_capacity", 6)


def test_pool_versions_are_always_a_text() -> None:
    assert pool_versions([pool("dress", "a", version=5)]) == "v5"
    assert pool_versions([pool("dress", "a", version=5), pool("light", "b", version=2)]) == "dress:v5,light:v2"
    assert pool_versions([]) == ""
