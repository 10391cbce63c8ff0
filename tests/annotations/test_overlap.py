from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.annotations.answer import Kind
from comfylabel.annotations.overlap import Settled, Standing, settle


def answer(number: int, kind: Kind, counts: bool) -> Standing:
    return Standing(UUID(int=number), kind, counts)


ANSWERS = st.lists(st.tuples(st.sampled_from(Kind), st.booleans()), max_size=8).map(
    lambda rows: [answer(number, kind, counts) for number, (kind, counts) in enumerate(rows)]
)
OVERLAP = st.integers(1, 5)


def after(answers: list[Standing], settled: Settled) -> list[Standing]:
    return [Standing(a.id, a.kind, a.id in settled.counted) for a in answers]


@given(ANSWERS, OVERLAP)
def test_who_counts_goes_on_counting_and_a_skip_never_does(answers, overlap):
    counted = settle(answers, overlap).counted
    for one in answers:
        if one.kind is Kind.SKIP:
            assert one.id not in counted
        elif one.counts:
            assert one.id in counted


@given(ANSWERS, OVERLAP)
def test_no_more_are_let_in_than_there_are_places(answers, overlap):
    before = sum(a.counts and a.kind is not Kind.SKIP for a in answers)
    assert len(settle(answers, overlap).counted) <= max(overlap, before)


@given(ANSWERS, OVERLAP)
def test_no_place_stays_free_while_somebody_waits_unless_spam_closed_the_batch(answers, overlap):
    settled = settle(answers, overlap)
    waiting = [a for a in answers if a.id not in settled.counted and a.kind is not Kind.SKIP]
    assert settled.spam or not waiting or len(settled.counted) >= overlap


@given(ANSWERS, OVERLAP)
def test_a_batch_is_closed_exactly_when_a_spam_counts(answers, overlap):
    settled = settle(answers, overlap)
    assert settled.spam == any(a.kind is Kind.SPAM and a.id in settled.counted for a in answers)


@given(ANSWERS, OVERLAP)
def test_settling_twice_changes_nothing(answers, overlap):
    settled = settle(answers, overlap)
    assert settle(after(answers, settled), overlap) == settled


@given(st.lists(st.sampled_from(Kind), max_size=8), OVERLAP)
def test_answers_that_arrive_one_by_one_count_in_the_order_of_arrival(kinds, overlap):
    answers: list[Standing] = []
    for number, kind in enumerate(kinds):
        answers.append(answer(number, kind, counts=False))
        answers = after(answers, settle(answers, overlap))
    takes_a_place = [kind for kind in kinds if kind is not Kind.SKIP]
    if Kind.SPAM in takes_a_place:
        takes_a_place = takes_a_place[: takes_a_place.index(Kind.SPAM) + 1]
    assert [a.kind for a in answers if a.counts] == takes_a_place[:overlap]
