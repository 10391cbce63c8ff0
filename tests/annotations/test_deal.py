from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.annotations.deal import deal

ids = st.uuids()
sizes = st.integers(0, 40)


@given(ids, ids, sizes)
def test_every_candidate_has_one_place(batch_id, user_id, candidates):
    assert sorted(deal(batch_id, user_id, candidates)) == list(range(candidates))


@given(ids, ids, sizes)
def test_the_same_person_sees_the_same_order_again(batch_id, user_id, candidates):
    assert deal(batch_id, user_id, candidates) == deal(batch_id, user_id, candidates)


def test_every_candidate_stands_in_every_place_about_as_often():
    """Over 6000 batches: a place expects 1500 of each of 4; five standard deviations (33.5) off is no chance."""
    places: list[Counter[int]] = [Counter() for _ in range(4)]
    for number in range(6000):
        for place, candidate in enumerate(deal(UUID(int=number), UUID(int=7), 4)):
            places[place][candidate] += 1
    assert all(abs(count - 1500) < 168 for place in places for count in place.values())


def test_two_people_see_different_orders():
    """Of 24 orders of 4; a hundred batches alike by chance: never."""
    batches = [UUID(int=number) for number in range(100)]
    assert any(deal(batch, UUID(int=1), 4) != deal(batch, UUID(int=2), 4) for batch in batches)
