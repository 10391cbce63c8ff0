import re
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from comfylabel.annotations.answer import Answer, Kind, check_slot_order, read_answer
from comfylabel.errors import InvalidInput

INDEX = st.none() | st.integers(-2, 9) | st.integers()
PAYLOAD = st.fixed_dictionaries(
    {
        "kind": st.none() | st.sampled_from(Kind),
        "chosen_index": INDEX,
        "rejected_index": INDEX,
        "spam": st.none() | st.booleans(),
        "candidates": st.integers(1, 8),
    }
)


def read(**said: Any) -> Answer:
    left_out = {"kind": None, "chosen_index": None, "rejected_index": None, "spam": None}
    return read_answer(**(left_out | {"candidates": 4} | said))


@given(PAYLOAD)
def test_an_answer_is_one_that_the_database_takes_or_it_is_refused(payload):
    try:
        answer = read_answer(**payload)
    except InvalidInput as refusal:
        event(refusal.code)
        return
    candidates = range(payload["candidates"])
    assert (answer.kind is Kind.CHOICE) == (answer.chosen_index is not None)
    assert answer.chosen_index is None or answer.chosen_index in candidates
    assert answer.rejected_index is None or answer.rejected_index in candidates
    assert answer.rejected_index is None or answer.rejected_index != answer.chosen_index
    assert payload["kind"] in (None, answer.kind)
    assert payload["spam"] in (None, answer.kind is Kind.SPAM)


@given(PAYLOAD)
def test_saying_the_kind_that_is_meant_anyway_changes_nothing(payload):
    try:
        answer = read_answer(**payload)
    except InvalidInput:
        return
    spoken = payload | {"kind": answer.kind, "spam": answer.kind is Kind.SPAM}
    assert read_answer(**spoken) == answer


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        ({"chosen_index": 0, "spam": False}, Answer(Kind.CHOICE, 0, None)),
        ({"chosen_index": 0}, Answer(Kind.CHOICE, 0, None)),
        ({"chosen_index": 3, "rejected_index": 0}, Answer(Kind.CHOICE, 3, 0)),
        ({"kind": Kind.TIE, "spam": False}, Answer(Kind.TIE, None, None)),
        ({"kind": Kind.SKIP}, Answer(Kind.SKIP, None, None)),
        ({"chosen_index": 2, "spam": True}, Answer(Kind.SPAM, None, None)),
        ({"chosen_index": 99, "rejected_index": 99, "spam": True}, Answer(Kind.SPAM, None, None)),
        ({"kind": Kind.SPAM}, Answer(Kind.SPAM, None, None)),
    ],
)
def test_what_the_payloads_of_the_guide_mean(payload, answer):
    assert read(**payload) == answer


@pytest.mark.parametrize(
    ("payload", "code", "sentence"),
    [
        ({}, "invalid_field", "chosen_index is required for a choice."),
        ({"rejected_index": 1}, "invalid_field", "chosen_index is required for a choice."),
        ({"chosen_index": 4}, "index_out_of_range", "chosen_index 4: this batch has 4 images."),
        ({"chosen_index": -1}, "index_out_of_range", "chosen_index -1: this batch has 4 images."),
        (
            {"chosen_index": 0, "rejected_index": 7},
            "index_out_of_range",
            "rejected_index 7: this batch has 4 images.",
        ),
        (
            {"chosen_index": 1, "candidates": 1},
            "index_out_of_range",
            "chosen_index 1: this batch has 1 image.",
        ),
        (
            {"chosen_index": 2, "rejected_index": 2},
            "rejected_is_chosen",
            "rejected_index 2 is the chosen image; name another one or none.",
        ),
        (
            {"kind": Kind.TIE, "chosen_index": 0},
            "kind_contradiction",
            "A tie names no image: leave chosen_index out.",
        ),
        (
            {"kind": Kind.SKIP, "rejected_index": 0},
            "kind_contradiction",
            "A skip names no image: leave rejected_index out.",
        ),
        (
            {"kind": Kind.CHOICE, "chosen_index": 0, "spam": True},
            "kind_contradiction",
            "kind choice and spam true contradict each other.",
        ),
        (
            {"kind": Kind.SPAM, "spam": False},
            "kind_contradiction",
            "kind spam and spam false contradict each other.",
        ),
    ],
)
def test_every_refusal_says_what_is_wrong(payload, code, sentence):
    with pytest.raises(InvalidInput) as refusal:
        read(**payload)
    assert (refusal.value.code, refusal.value.message) == (code, sentence)


ORDER = st.integers(1, 8).flatmap(lambda count: st.permutations(range(count)))


@given(ORDER)
def test_what_was_dealt_may_be_said_or_left_out(dealt):
    check_slot_order(list(dealt), dealt)
    check_slot_order(None, dealt)


@given(ORDER, st.lists(st.integers(-1, 9), max_size=9) | ORDER)
def test_any_other_order_is_refused_with_the_right_one(dealt, order):
    if list(order) == list(dealt):
        return
    with pytest.raises(InvalidInput, match=re.escape(f"sees this batch in the order {list(dealt)}.")) as refusal:
        check_slot_order(order, dealt)
    assert refusal.value.code == "slot_order_not_dealt"
