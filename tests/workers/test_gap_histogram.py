"""Laws of counting pauses."""

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.workers.gap_histogram import BOUNDS_MS, place, quantile_ms

counts = st.lists(st.integers(0, 50), min_size=len(BOUNDS_MS) + 1, max_size=len(BOUNDS_MS) + 1)
shares = st.sampled_from([0.5, 0.95, 1.0])


@given(st.floats(0, 1e4, allow_nan=False))
def test_a_pause_is_counted_up_to_its_own_bound(seconds: float):
    column = place(seconds)
    assert column == len(BOUNDS_MS) or seconds * 1000 <= BOUNDS_MS[column]
    assert column == 0 or seconds * 1000 > BOUNDS_MS[column - 1]


@given(st.lists(st.floats(0, 2.999, allow_nan=False), min_size=1, max_size=60), shares)
def test_a_quantile_lies_in_the_count_that_holds_it(pauses: list[float], share: float):
    held = [0] * (len(BOUNDS_MS) + 1)
    for pause in pauses:
        held[place(pause)] += 1
    rank = max(0, -(-int(share * 100) * len(pauses) // 100) - 1)  # the ceiling, counted from 0
    true = sorted(pauses)[rank]

    said = quantile_ms(held, share)

    assert said is not None
    column = place(true)
    assert (BOUNDS_MS[column - 1] if column else 0) <= said <= BOUNDS_MS[column]


@given(counts)
def test_a_larger_share_lies_no_lower(held: list[int]):
    half, most = quantile_ms(held, 0.5), quantile_ms(held, 0.95)
    assert (half is None) == (most is None) == (sum(held) == 0)
    assert half is None or most is None or half <= most


def test_beyond_the_last_bound_nothing_else_is_known():
    assert quantile_ms([0] * len(BOUNDS_MS) + [3], 0.5) == 3000
