"""Why submissions end without their images, and how that is said to people. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FailureKind(StrEnum):
    """Stored as the class of a submission's error, and counted by task and by worker."""

    OUT_OF_MEMORY = "out_of_memory"
    VALIDATION = "validation"
    MISSING_MODEL = "missing_model"
    MISSING_NODE = "missing_node"
    EXECUTION_ERROR = "execution_error"
    NETWORK = "network"
    PROXY_AUTH = "proxy_auth"
    BROKEN_IMAGE = "broken_image"
    DEADLINE = "deadline"
    WORKER_LOST = "worker_lost"
    WORKER_RESTARTED = "worker_restarted"
    NOT_TAKEN = "not_taken"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


_K = FailureKind

_WORDS: Mapping[str, str] = {
    _K.OUT_OF_MEMORY: "The GPU ran out of memory.",
    _K.VALIDATION: "The worker refused the workflow.",
    _K.MISSING_MODEL: "The worker lacks a model or a file.",
    _K.MISSING_NODE: "The worker lacks a node.",
    _K.EXECUTION_ERROR: "A node failed while it ran.",
    _K.NETWORK: "The worker could not be reached.",
    _K.PROXY_AUTH: "The proxy in front of the worker did not let us through.",
    _K.BROKEN_IMAGE: "The worker sent a damaged or a missing image.",
    _K.DEADLINE: "The worker took longer than it may.",
    _K.WORKER_LOST: "The worker fell silent with the work.",
    _K.WORKER_RESTARTED: "The worker was restarted and forgot the work.",
    _K.NOT_TAKEN: "The worker did not take the work, and did not say why.",
    _K.INTERRUPTED: "Somebody interrupted it on the worker.",
    _K.CANCELLED: "It was cancelled.",
}


def in_words(kind: str) -> str:
    """A kind of another release is shown as it is."""
    return _WORDS.get(kind, kind)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """How often submissions of a task ended so, retried or not, and what was said the last time."""

    kind: str
    count: int
    last_message: str
    last_at: datetime

    @property
    def words(self) -> str:
        return in_words(self.kind)
