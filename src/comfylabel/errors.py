"""Every error a caller can meet: one base that carries the HTTP status and the stable code.

ComfyLabelError            500 internal
  InvalidInput             422 (own code)         the request as a whole: workflow_invalid, binding_ambiguous, ...
    InvalidField           422 invalid_field      a value in the request, with its path
    PilotOutOfMemory       422 pilot_out_of_memory
  NotSignedIn              401 not_signed_in
  Forbidden                403 forbidden
  NotFound                 404 not_found
  Conflict                 409 (own code)         name_taken, in_use, ...
    WrongState             409 wrong_state
    NoHealthyWorker        409 no_healthy_worker
  TooLarge                 413 too_large
  TooManyRequests          429 too_many_requests
  Unavailable              503 unavailable        database or store away
"""

from typing import Any


class ComfyLabelError(Exception):
    """The server could not do this."""

    status = 500
    code = "internal"

    def __init__(self, message: str | None = None, *, code: str | None = None, data: Any = None) -> None:
        super().__init__(message or self.__doc__ or "")
        self.code = code or self.code
        self.data = data

    @property
    def message(self) -> str:
        return str(self)


class InvalidInput(ComfyLabelError):
    """The request cannot be used as it is."""

    status = 422
    code = "invalid_input"


class InvalidField(InvalidInput):
    """One value of the request; `error` continues the path: "must be between 1 and 1000"."""

    code = "invalid_field"

    def __init__(self, path: str, error: str) -> None:
        super().__init__(f"{path} {error}.", data={"errors": [{"path": path, "error": error}]})


class PilotOutOfMemory(InvalidInput):
    """No smaller size was left to try: the worker ran out of memory at each."""

    code = "pilot_out_of_memory"


class NotSignedIn(ComfyLabelError):
    """Sign in first."""

    status = 401
    code = "not_signed_in"


class Forbidden(ComfyLabelError):
    """You may not do this."""

    status = 403
    code = "forbidden"


class NotFound(ComfyLabelError):
    """There is nothing here."""

    status = 404
    code = "not_found"


class Conflict(ComfyLabelError):
    """Something else stands in the way."""

    status = 409
    code = "conflict"


class WrongState(Conflict):
    """That is not possible in this state."""

    code = "wrong_state"


class NoHealthyWorker(Conflict):
    """No healthy worker can run this workflow."""

    code = "no_healthy_worker"


class TooLarge(ComfyLabelError):
    """That is too large."""

    status = 413
    code = "too_large"


class TooManyRequests(ComfyLabelError):
    """Too many requests."""

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str | None = None, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ComfyLabelError):
    """The database or the image store does not answer; try again shortly."""

    status = 503
    code = "unavailable"
