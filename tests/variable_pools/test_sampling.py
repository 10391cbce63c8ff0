import itertools
import math
import uuid
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comfylabel.variable_pools.sampling import IndexPermutation, capacity, combinations
from comfylabel.variable_pools.schemas import Mode, VariablePool

modes: st.SearchStrategy[Mode] = st.sampled_from(get_args(Mode))
sampling_seeds = st.integers(0, 2**63 - 1)


def pool(size: int, mode: Mode, name: str = "p") -> VariablePool:
    return VariablePool(uuid.UUID(int=0), name, 1, mode, tuple(f"{name}{number}" for number in range(size)))


@st.composite
def several_pools(draw: st.DrawFn) -> list[VariablePool]:
    sizes = draw(st.lists(st.integers(1, 7), max_size=4))
    return [pool(size, draw(modes), f"p{index}-") for index, size in enumerate(sizes)]


@given(st.integers(1, 400), sampling_seeds)
def test_an_index_permutation_is_a_bijection(size, seed):
    permutation = IndexPermutation(size, seed)
    assert sorted(permutation[index] for index in range(size)) == list(range(size))


@given(st.integers(2, 10**40), sampling_seeds, st.data())
def test_two_indexes_never_meet_however_large_the_product(size, seed, data):
    first, second = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    assume(first != second)
    permutation = IndexPermutation(size, seed)
    assert permutation[first] != permutation[second]
    assert 0 <= permutation[first] < size


@given(several_pools(), sampling_seeds)
def test_every_combination_comes_once_and_none_twice(pools, seed):
    drawn = list(combinations(pools, seed))
    assert len(drawn) == capacity(pools) == len(set(drawn))
    assert set(drawn) == set(itertools.product(*(each.items for each in pools)))


@given(several_pools(), sampling_seeds, st.integers(0, 50), st.integers(0, 50))
def test_a_longer_draw_begins_with_the_shorter_one(pools, seed, start, count):
    longer = list(itertools.islice(combinations(pools, seed), start + count))
    assert list(itertools.islice(combinations(pools, seed, start), count)) == longer[start:]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), sampling_seeds)
def test_permutation_pools_are_walked_in_order_with_the_last_one_fastest(sizes, seed):
    pools = [pool(size, "permutation", f"p{index}-") for index, size in enumerate(sizes)]
    assert list(combinations(pools, seed)) == list(itertools.product(*(each.items for each in pools)))


@given(st.integers(1, 6), st.integers(1, 6), sampling_seeds)
def test_mixed_pools_walk_the_one_and_draw_anew_from_the_other(walked, drawn, seed):
    pools = [pool(walked, "permutation", "walked"), pool(drawn, "no_replacement", "drawn")]
    steps = list(combinations(pools, seed))
    assert [step[0] for step in steps] == [f"walked{index % walked}" for index in range(walked * drawn)]
    first_round = [step[1] for step in steps[: min(drawn, math.lcm(walked, drawn))]]
    assert len(set(first_round)) == len(first_round)


def test_seeds_make_different_orders():
    pools = [pool(100, "no_replacement")]
    orders = {tuple(combinations(pools, seed)) for seed in range(10)}
    assert len(orders) == 10
    assert tuple((item,) for item in pools[0].items) not in orders


def test_a_product_of_a_million_millions_is_drawn_without_being_made():
    pools = [pool(10_000, "no_replacement", f"p{index}-") for index in range(3)]
    assert capacity(pools) == 10**12
    drawn = list(itertools.islice(combinations(pools, 7), 20_000))
    assert len(set(drawn)) == 20_000
    assert next(combinations(pools, 7, 10**12 - 1)) not in drawn


def test_without_pools_there_is_one_empty_combination():
    assert capacity([]) == 1
    assert list(combinations([], 3)) == [()]


def test_no_index_outside_the_product():
    for index in (-1, 10):
        with pytest.raises(IndexError):
            IndexPermutation(10, 1)[index]
