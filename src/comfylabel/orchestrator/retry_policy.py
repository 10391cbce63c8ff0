"""What happens after a submission did not bring its images. Pure: a failure and two counters in, a decision out.

At most 3 retries a prompt. A retry is a resubmission after the prompt was tried and failed; what was lost with its
worker is sent again uncounted, unless the prompt was running in 3 such losses: then it is the cause.
"""

from dataclasses import dataclass

from comfylabel.generations.failures import FailureKind

__all__ = ["MAX_LOSSES", "MAX_RETRIES", "Decision", "Failure", "FailureKind", "decide"]

MAX_RETRIES = 3
MAX_LOSSES = 3


_COUNTED = frozenset(
    {
        FailureKind.EXECUTION_ERROR,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.BROKEN_IMAGE,
        FailureKind.DEADLINE,
        FailureKind.NOT_TAKEN,
    }
)
_PERMANENT = frozenset({FailureKind.VALIDATION})
# The prompt itself was not tried to the end.
_LOSSES = frozenset(
    {
        FailureKind.NETWORK,
        FailureKind.PROXY_AUTH,
        FailureKind.WORKER_LOST,
        FailureKind.WORKER_RESTARTED,
        FailureKind.INTERRUPTED,
    }
)
# Another worker may be able to run the same graph, or to let us send it.
_WORKERS_FAULT = frozenset({FailureKind.MISSING_NODE, FailureKind.MISSING_MODEL, FailureKind.PROXY_AUTH})


@dataclass(frozen=True, slots=True)
class Failure:
    """`message` is shown to people; `was_running`: the worker had begun it.

    A deadline that passed while it only waited is no failure of the prompt: the worker's queue stood still.
    """

    kind: FailureKind
    message: str
    was_running: bool = False

    @property
    def is_loss(self) -> bool:
        return self.kind in _LOSSES or (self.kind is FailureKind.DEADLINE and not self.was_running)

    @property
    def is_workers_fault(self) -> bool:
        return self.kind in _WORKERS_FAULT


@dataclass(frozen=True, slots=True)
class Decision:
    """`give_up`: the images fail for good; `retry` and `loss` say which counter of the prompt grows."""

    give_up: bool
    retry: bool
    loss: bool


def decide(failure: Failure, *, retries_used: int, losses: int) -> Decision:
    if failure.kind in _PERMANENT:
        return Decision(give_up=True, retry=False, loss=False)
    if failure.kind in _COUNTED and not failure.is_loss:
        has_budget = retries_used < MAX_RETRIES
        return Decision(give_up=not has_budget, retry=has_budget, loss=False)
    is_loss = failure.is_loss and failure.was_running
    return Decision(give_up=is_loss and losses + 1 >= MAX_LOSSES, retry=False, loss=is_loss)
