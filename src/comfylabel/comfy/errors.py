"""What can go wrong between us and a worker, by what may be done next.

WorkerError                502 worker_error
  WorkerUnreachable        nothing reached the worker: trying again, here or elsewhere, is safe
  WorkerMisbehaved         something answered, but not as ComfyUI does
  SubmissionUnclear        a POST /prompt that may or may not have been queued: look before sending again
  SubmissionRefused        a clear no: the same submission will be refused again by this worker
"""

from typing import Literal

from comfylabel.comfy.plain_text import plain
from comfylabel.errors import ComfyLabelError

Misbehaviour = Literal["network", "proxy_auth", "protocol", "too_large"]
RefusalReason = Literal["missing_node", "missing_model", "validation", "bad_id"]

MAX_MESSAGE = 1000


class WorkerError(ComfyLabelError):
    """The worker could not do this."""

    status = 502
    code = "worker_error"

    def __init__(self, message: str | None = None) -> None:
        """Most messages quote the worker, which may say anything at any length."""
        super().__init__(plain(message, MAX_MESSAGE) if message else None)


class WorkerUnreachable(WorkerError):
    """The worker does not answer."""


class WorkerMisbehaved(WorkerError):
    """The worker answered with something that ComfyUI does not send."""

    def __init__(self, message: str, *, kind: Misbehaviour, http_status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.http_status = http_status


class SubmissionUnclear(WorkerError):
    """It is not known whether the worker queued the submission."""


class SubmissionRefused(WorkerError):
    """The worker refused the submission."""

    def __init__(self, message: str, *, reason: RefusalReason) -> None:
        super().__init__(message)
        self.reason: RefusalReason = reason
