from collections import Counter
from math import isclose
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.ab_tests.bucketing import Variant, propose, repeated_key, weights_sum

UUIDS = st.uuids()
VARIANTS = (
    st.lists(st.integers(0, 100), min_size=1, max_size=8)
    .filter(any)
    .map(lambda counts: [Variant(chr(65 + i), count / sum(counts)) for i, count in enumerate(counts)])
)


@given(UUIDS, UUIDS, VARIANTS)
def test_a_proposal_is_a_variant_that_somebody_may_get_and_always_the_same(test_id, user_id, variants):
    key = propose(test_id, user_id, variants)
    assert key in {variant.key for variant in variants if variant.weight > 0}
    assert propose(test_id, user_id, variants) == key


@given(UUIDS, UUIDS, VARIANTS, st.randoms())
def test_renaming_the_others_never_moves_a_person(test_id, user_id, variants, random):
    key = propose(test_id, user_id, variants)
    renamed = [v if v.key == key else Variant(f"{v.key}{random.random()}", v.weight) for v in variants]
    assert propose(test_id, user_id, renamed) == key


@given(UUIDS, st.floats(0.01, 0.5), st.floats(0, 0.49))
def test_more_weight_never_takes_a_person_out_of_the_first_variant(test_id, weight, more):
    users = [UUID(int=number) for number in range(50)]

    def first(share: float) -> set[UUID]:
        variants = [Variant("A", share), Variant("B", 1 - share)]
        return {user for user in users if propose(test_id, user, variants) == "A"}

    assert first(weight) <= first(weight + more)


def test_people_spread_by_weight():
    variants = [Variant("A", 0.5), Variant("B", 0.3), Variant("C", 0.2)]
    test_id = UUID("0199b6a0-0000-7000-8000-000000000001")
    counts = Counter(propose(test_id, UUID(int=number), variants) for number in range(20_000))
    # Four standard deviations of a fair draw of 20,000 are at most 283.
    for variant in variants:
        assert abs(counts[variant.key] - 20_000 * variant.weight) < 283


def test_two_tests_divide_people_independently():
    variants = [Variant("A", 0.5), Variant("B", 0.5)]
    one, other = UUID(int=1), UUID(int=2)
    pairs = Counter(
        (propose(one, UUID(int=number), variants), propose(other, UUID(int=number), variants))
        for number in range(20_000)
    )
    assert all(abs(count - 5_000) < 245 for count in pairs.values())
    assert len(pairs) == 4


@given(st.lists(st.sampled_from("ABCDE"), max_size=8))
def test_a_repeated_key_is_found_where_it_repeats(keys):
    position = repeated_key([Variant(key, 0.1) for key in keys])
    if position is None:
        assert len(set(keys)) == len(keys)
    else:
        assert keys[position] in keys[:position]
        assert len(set(keys[:position])) == position


def test_tenths_sum_to_one():
    assert isclose(weights_sum([Variant(str(uuid4()), 0.1) for _ in range(10)]), 1, abs_tol=1e-12)
