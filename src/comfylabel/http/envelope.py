"""The one shape of every JSON answer: `{"success", "data", "error"}`, errors with a stable `code` beside."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel
from starlette.responses import Response

T = TypeVar("T")

# Times are `2026-11-22T18:00:00Z` everywhere: one precision, so that two answers never differ in form.
_JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_OMIT_MICROSECONDS


class Envelope(BaseModel, Generic[T]):
    """What a route declares as its `response_model`; the answer itself is made by `ok`."""

    success: Literal[True]
    data: T
    error: None


class ErrorEnvelope(BaseModel):
    success: Literal[False]
    data: Any
    error: str
    code: str


def ok(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`data`: JSON values, UUIDs, datetimes, dataclasses or pydantic models."""
    return _answer({"success": True, "data": data, "error": None}, status, headers)


def failed(
    message: str, code: str, status: int, *, data: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    return _answer({"success": False, "data": data, "error": message, "code": code}, status, headers)


def _answer(envelope: dict[str, Any], status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(as_bytes(envelope), status, dict(headers or {}), "application/json")


def as_bytes(data: Any) -> bytes:
    return orjson.dumps(data, default=as_json, option=_JSON_OPTIONS)


def as_json(value: Any) -> Any:
    """What orjson does not know by itself."""
    if isinstance(value, UUID):
        return str(value)  # asyncpg's own kind of UUID
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)  # PostgreSQL's sum() of bigint
    raise TypeError(f"{type(value).__name__} is no JSON value")
