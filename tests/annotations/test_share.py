from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.annotations.share import HOLD, HOLD_OFFLINE, Held, in_order_of, share, sort_out

counts = st.integers(0, 10**7)
people = st.integers(0, 10**4)
caps = st.sampled_from([HOLD, HOLD_OFFLINE])
ids = st.integers(0, 12).map(lambda number: UUID(int=number))
held = st.lists(st.builds(Held, ids, st.booleans()), unique_by=lambda lease: lease.batch_id)


@given(counts, people, caps)
def test_a_share_is_at_least_one_and_at_most_the_cap(open_batches, active, cap):
    assert 1 <= share(open_batches, active, cap) <= cap


@given(counts, people, caps)
def test_the_shares_together_cover_what_is_open_unless_the_cap_cuts_them(open_batches, active, cap):
    each = share(open_batches, active, cap)
    assert each == cap or each * max(1, active) >= open_batches


@given(st.integers(1, 10**7), st.integers(1, 10**4), caps)
def test_nobody_could_do_with_less(open_batches, active, cap):
    """One less each, and something that is open would be in nobody's share."""
    each = share(open_batches, active, cap)
    assert each == 1 or (each - 1) * active < open_batches


@given(counts, people, caps)
def test_more_people_never_get_more_and_more_batches_never_give_less(open_batches, active, cap):
    each = share(open_batches, active, cap)
    assert share(open_batches, active + 1, cap) <= each <= share(open_batches + 1, active, cap)


@given(held, st.lists(ids), st.integers(1, 20))
def test_what_is_held_is_kept_or_given_back(leases, have, hold):
    result = sort_out(leases, have, hold)
    assert sorted([*result.keep, *result.give_back]) == sorted(lease.batch_id for lease in leases)
    assert len(result.keep) == min(hold, sum(lease.good for lease in leases))
    assert {lease.batch_id for lease in leases if not lease.good} <= set(result.give_back)


@given(held, st.lists(ids), st.integers(1, 20))
def test_what_is_on_the_screen_is_kept_first(leases, have, hold):
    result = sort_out(leases, have, hold)
    shown = [batch_id for batch_id in result.keep if batch_id in have]
    assert result.keep[: len(shown)] == shown == sorted(shown, key=have.index)
    if any(batch_id not in have for batch_id in result.keep):
        assert not any(lease.good and lease.batch_id in have for lease in leases if lease.batch_id in result.give_back)


@given(st.lists(ids), st.lists(ids, unique=True))
def test_an_order_loses_nothing_and_repeats_nothing(have, batch_ids):
    assert sorted(in_order_of(have, batch_ids)) == sorted(batch_ids)
