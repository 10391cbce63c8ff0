"""Every error leaves in one shape with a stable code; nothing internal leaves at all."""

import traceback

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comfylabel.db.pool import AWAY
from comfylabel.errors import ComfyLabelError, Conflict, TooManyRequests, Unavailable
from comfylabel.http.envelope import failed
from comfylabel.http.field_errors import refusal

log = structlog.get_logger(__name__)

_INTERNAL = 500
_CODES = {
    400: "bad_request",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_field",
    429: "too_many_requests",
}


def install(app: FastAPI) -> None:
    app.add_exception_handler(ComfyLabelError, answer_known)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(asyncpg.UniqueViolationError, answer_race)
    for away in AWAY:
        app.add_exception_handler(away, answer_away)
    app.add_middleware(CatchAll)


class CatchAll:
    """For what goes wrong outside a route, in a middleware or while a body is read, and for what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if started or scope["type"] != "http":
                raise  # half an answer is out: all that is left is to cut the connection
            answer = await _answer_any(Request(scope, receive), error)
            await answer(scope, receive, send)


async def _answer_any(request: Request, error: Exception) -> Response:
    match error:
        case ComfyLabelError():
            return await answer_known(request, error)
        case HTTPException():
            return await answer_http(request, error)
        case _ if isinstance(error, AWAY):
            return await answer_away(request, error)
        case _:
            return await answer_unexpected(request, error)


async def answer_known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ComfyLabelError)
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["retry-after"] = str(error.retry_after)
    if error.status == Unavailable.status:
        headers["retry-after"] = "5"
    return failed(error.message, error.code, error.status, data=error.data, headers=headers)


async def answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await answer_known(request, refusal(error.errors()))


async def answer_http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown path, wrong method, a body over the limit."""
    assert isinstance(error, HTTPException)
    message = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
        408: "The request was not sent to its end.",
        413: "The request is too large.",
    }.get(error.status_code, f"{str(error.detail).rstrip('.')}.")
    code = _CODES.get(error.status_code, "internal" if error.status_code >= _INTERNAL else "bad_request")
    return failed(message, code, error.status_code, headers=error.headers)


async def answer_race(request: Request, _error: Exception) -> Response:
    """Each service looks before it writes; only two requests in the same moment come this far."""
    return await answer_known(request, Conflict("Another request has just taken that; load again."))


async def answer_away(request: Request, error: Exception) -> Response:
    log.warning("database_away", path=request.url.path, error=repr(error))
    return await answer_known(request, Unavailable("The database does not answer; try again shortly."))


async def answer_unexpected(request: Request, error: Exception) -> Response:
    # As plain text: a traceback that shows local variables would write session secrets into the log.
    trace = "".join(traceback.format_exception(error))
    log.error("unexpected_error", method=request.method, path=request.url.path, traceback=trace)
    return failed("The server failed on this request; its log says why.", "internal", _INTERNAL)
