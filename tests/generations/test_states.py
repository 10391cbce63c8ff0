"""The table of states: what it allows is what the database ever sees."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.generations.states import (
    GENERATION_MOVES,
    HOLDS_SLOT,
    OPEN,
    SUBMISSION_MOVES,
    GenerationState,
    SubmissionState,
    sources,
)

ENDED = {SubmissionState.INGESTED, SubmissionState.FAILED, SubmissionState.LOST, SubmissionState.CANCELLED}


def test_every_state_has_its_row():
    assert set(GENERATION_MOVES) == set(GenerationState)
    assert set(SUBMISSION_MOVES) == set(SubmissionState)


@given(st.sampled_from(GenerationState), st.sampled_from(GenerationState))
def test_sources_are_the_moves_read_backwards(before, after):
    assert (before.value in sources(GENERATION_MOVES, after)) == (after in GENERATION_MOVES[before])


def test_what_is_done_stays_done():
    assert not GENERATION_MOVES[GenerationState.DONE]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_submission_moves_no_more(state):
    assert not SUBMISSION_MOVES[state]
    assert state not in OPEN


@given(st.lists(st.sampled_from(SubmissionState), min_size=2, max_size=8))
def test_no_path_leads_back_to_holding_a_slot(path):
    """Once a submission has left the three states that hold a slot, no allowed move takes one again."""
    is_allowed = all(after in SUBMISSION_MOVES[before] for before, after in itertools.pairwise(path))
    if is_allowed:
        held = [state in HOLDS_SLOT for state in path]
        assert held == sorted(held, reverse=True)
