"""Rule: what may be done with a task in which state, and what state that leads to. This file is the whole of it.

Any pair of state and verb that is not in `MOVES` is refused and changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum

from comfylabel.errors import WrongState


class TaskState(StrEnum):
    DRAFT = "DRAFT"
    FROZEN = "FROZEN"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Verb(StrEnum):
    """What people do (edit to cancel), what reads need (read_snapshot), and how a run ends by itself."""

    EDIT = "edit"
    PILOT = "pilot"
    FREEZE = "freeze"
    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    READ_SNAPSHOT = "read_snapshot"
    FINISH = "finish"  # every image is done or given up, and a batch can be labelled
    FAIL = "fail"  # every image is done or given up, and no batch can be labelled


_T = TaskState

MOVES: Mapping[tuple[TaskState, Verb], TaskState] = {
    (_T.DRAFT, Verb.EDIT): _T.DRAFT,
    (_T.DRAFT, Verb.PILOT): _T.DRAFT,
    (_T.DRAFT, Verb.FREEZE): _T.FROZEN,
    (_T.FROZEN, Verb.RUN): _T.RUNNING,
    (_T.RUNNING, Verb.PAUSE): _T.RUNNING,  # `paused_at` says it: what runs ends, and labelling and export go on
    (_T.RUNNING, Verb.RESUME): _T.RUNNING,
    (_T.RUNNING, Verb.CANCEL): _T.FAILED,
    (_T.RUNNING, Verb.FINISH): _T.DONE,
    (_T.RUNNING, Verb.FAIL): _T.FAILED,
    (_T.DONE, Verb.RUN): _T.RUNNING,  # with failed images only: `refuse_nothing_missing`
    (_T.FAILED, Verb.RUN): _T.RUNNING,
    (_T.FROZEN, Verb.READ_SNAPSHOT): _T.FROZEN,
    (_T.RUNNING, Verb.READ_SNAPSHOT): _T.RUNNING,
    (_T.DONE, Verb.READ_SNAPSHOT): _T.DONE,
    (_T.FAILED, Verb.READ_SNAPSHOT): _T.FAILED,
}

_CANNOT = {
    Verb.EDIT: "be edited",
    Verb.PILOT: "be piloted",
    Verb.FREEZE: "be frozen",
    Verb.RUN: "be run",
    Verb.PAUSE: "be paused",
    Verb.RESUME: "be resumed",
    Verb.CANCEL: "be cancelled",
    Verb.READ_SNAPSHOT: "show a snapshot",
    Verb.FINISH: "be finished",
    Verb.FAIL: "fail",
}


def next_state(state: TaskState, verb: Verb) -> TaskState:
    """The state that `verb` leads to; WrongState names both when it leads nowhere."""
    try:
        return MOVES[state, verb]
    except KeyError:
        allowed = states_for(verb)
        raise WrongState(
            f"The task is {state} and cannot {_CANNOT[verb]}: only a task that is {allowed} can.",
            data={"state": state, "verb": verb},
        ) from None


def states_for(verb: Verb) -> str:
    """The states in which `verb` is possible, in words: "DONE, FAILED or FROZEN"."""
    states = [state for state in TaskState if (state, verb) in MOVES]
    return " or ".join(filter(None, [", ".join(states[:-1]), states[-1]]))


def refuse_nothing_missing() -> WrongState:
    """`run` of a task that is DONE without a failed image."""
    return WrongState(
        "The task is DONE and no image is missing: there is nothing to run.",
        data={"state": TaskState.DONE, "verb": Verb.RUN},
    )


def diagram() -> str:
    """The moves between different states as a Mermaid diagram, for the documentation."""
    lines = [f"    {state} --> {target}: {verb}" for (state, verb), target in MOVES.items() if state is not target]
    return "\n".join(["stateDiagram-v2", "    [*] --> DRAFT", *lines])
