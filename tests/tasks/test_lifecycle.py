import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.errors import WrongState
from comfylabel.tasks.lifecycle import MOVES, TaskState, Verb, diagram, next_state, states_for

every_pair = list(itertools.product(TaskState, Verb))


@pytest.mark.parametrize(("state", "verb"), [pair for pair in every_pair if pair not in MOVES])
def test_every_other_pair_is_refused_by_a_sentence_that_names_both(state: TaskState, verb: Verb) -> None:
    with pytest.raises(WrongState, match=f"The task is {state} and cannot ") as refused:
        next_state(state, verb)
    assert (refused.value.status, refused.value.code) == (409, "wrong_state")
    assert refused.value.data == {"state": state, "verb": verb}
    assert refused.value.message.endswith("can.")


def test_the_moves_are_those_of_the_design() -> None:
    changes = {(a.value, verb.value, b.value) for (a, verb), b in MOVES.items() if a is not b}
    assert changes == {
        ("DRAFT", "freeze", "FROZEN"),
        ("FROZEN", "run", "RUNNING"),
        ("RUNNING", "finish", "DONE"),
        ("RUNNING", "fail", "FAILED"),
        ("RUNNING", "cancel", "FAILED"),
        ("DONE", "run", "RUNNING"),
        ("FAILED", "run", "RUNNING"),
    }


@given(st.lists(st.sampled_from(Verb), max_size=30))
def test_frozen_once_is_frozen_for_ever(verbs: list[Verb]) -> None:
    state = TaskState.DRAFT
    was_frozen = False
    for verb in verbs:
        if (state, verb) in MOVES:
            state = next_state(state, verb)
        was_frozen = was_frozen or state is TaskState.FROZEN
        assert (state is not TaskState.DRAFT) == was_frozen


def test_states_are_listed_in_words() -> None:
    assert states_for(Verb.PILOT) == "DRAFT"
    assert states_for(Verb.RUN) == "FROZEN, DONE or FAILED"


def test_the_diagram_draws_every_change_of_state() -> None:
    assert diagram().splitlines()[:3] == ["stateDiagram-v2", "    [*] --> DRAFT", "    DRAFT --> FROZEN: freeze"]
    assert len(diagram().splitlines()) == 2 + 7
