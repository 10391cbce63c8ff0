"""When a worker that does not answer is given up, and what that makes of a submission."""

import asyncio

from comfylabel.comfy.errors import WorkerError, WorkerMisbehaved
from comfylabel.orchestrator.retry_policy import Failure, FailureKind
from comfylabel.orchestrator.schemas import SubmissionFailed


class Silence:
    """How long a worker has not answered."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: float | None = None

    def broken(self) -> None:
        self._since = None

    def goes_on(self, error: WorkerError, *, was_running: bool = True) -> None:
        now = asyncio.get_running_loop().time()
        self._since = self._since or now
        if now - self._since >= self._limit:
            message = f"The worker was silent for {self._limit:.0f} s: {error.message}"
            kind = FailureKind.PROXY_AUTH if kind_of(error) is FailureKind.PROXY_AUTH else FailureKind.WORKER_LOST
            raise lost(kind, message, was_running=was_running) from error


def lost(kind: FailureKind, message: str, *, was_running: bool) -> SubmissionFailed:
    return SubmissionFailed(Failure(kind, message, was_running=was_running))


def kind_of(error: WorkerError) -> FailureKind:
    """Of a request that failed, whatever it was for."""
    is_proxy = isinstance(error, WorkerMisbehaved) and error.kind == "proxy_auth"
    return FailureKind.PROXY_AUTH if is_proxy else FailureKind.NETWORK
