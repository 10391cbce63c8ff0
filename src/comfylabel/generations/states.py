"""Rule: every state of a generation and of a submission, and every allowed move, stands in this file.

Any other pair of states is refused, in Python by `sources` and in SQL by the `state = any(sources)` made from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class GenerationState(StrEnum):
    """An image waiting for its retry is pending, so total = done + running + pending + failed always."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class SubmissionState(StrEnum):
    """One POST /prompt, from the reserved slot to its images in the store."""

    RESERVED = "reserved"
    SENT = "sent"
    ACCEPTED = "accepted"
    GENERATED = "generated"
    INGESTED = "ingested"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


_G = GenerationState
_S = SubmissionState

GENERATION_MOVES: Mapping[GenerationState, frozenset[GenerationState]] = {
    _G.PENDING: frozenset({_G.RUNNING, _G.FAILED}),  # failed: given up before it was ever sent
    _G.RUNNING: frozenset({_G.DONE, _G.FAILED, _G.PENDING}),  # pending: lost, cancelled, or to be retried
    _G.FAILED: frozenset({_G.PENDING}),  # run again
    _G.DONE: frozenset(),
}

SUBMISSION_MOVES: Mapping[SubmissionState, frozenset[SubmissionState]] = {
    _S.RESERVED: frozenset({_S.SENT, _S.CANCELLED, _S.LOST}),
    _S.SENT: frozenset({_S.ACCEPTED, _S.FAILED, _S.LOST, _S.CANCELLED}),
    _S.ACCEPTED: frozenset({_S.GENERATED, _S.FAILED, _S.LOST, _S.CANCELLED}),
    _S.GENERATED: frozenset({_S.INGESTED, _S.FAILED, _S.LOST}),
    _S.INGESTED: frozenset(),
    _S.FAILED: frozenset(),
    _S.LOST: frozenset(),
    _S.CANCELLED: frozenset(),
}

HOLDS_SLOT = frozenset({_S.RESERVED, _S.SENT, _S.ACCEPTED})
OPEN = HOLDS_SLOT | {_S.GENERATED}

State = TypeVar("State", GenerationState, SubmissionState)


def sources(moves: Mapping[State, frozenset[State]], to: State) -> list[str]:
    """The states from which `to` may be reached, as SQL takes them."""
    return sorted(state.value for state, targets in moves.items() if to in targets)
