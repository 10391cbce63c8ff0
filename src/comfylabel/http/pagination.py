"""Cursors: opaque to the caller, small JSON inside. None is trusted: it only says where to go on."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from comfylabel.errors import InvalidField
from comfylabel.http.envelope import as_json


def encode_cursor(position: Mapping[str, Any]) -> str:
    """`position` holds JSON values, UUIDs and datetimes (kept to the microsecond)."""
    return base64.urlsafe_b64encode(orjson.dumps(dict(position), default=as_json)).decode().rstrip("=")


def decode_cursor(cursor: str | None, kinds: Mapping[str, Callable[[Any], Any]] | None = None) -> dict[str, Any] | None:
    """`kinds` names every key and what makes its value, as in {"id": UUID, "at": datetime.fromisoformat}."""
    if not cursor:
        return None
    refused = InvalidField("cursor", "is not one that this server gave out")
    try:
        position = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        raise refused from None
    if not isinstance(position, dict):
        raise refused
    if kinds is None:
        return position
    try:
        return {key: make(position[key]) for key, make in kinds.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise refused from None
