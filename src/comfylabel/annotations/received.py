"""The body of POST /api/annotations: one answer or undo, or a list in which each stands or falls on its own.

The document describes the body whole; it is read element by element, so that a list is never refused for one of them.
"""

from typing import Annotated, Any

from pydantic import Field, SkipValidation, ValidationError

from comfylabel.annotations.schemas import AnnotationAnswer, NewAnnotation, RefusedAnswer, Stored, Undo
from comfylabel.errors import ComfyLabelError, InvalidField
from comfylabel.http.field_errors import refusal

# What an outbox sends at once: at a few ms each, a list is answered within a blink.
MOST = 50
_CLIENT_ID_LENGTH = 200

Given = NewAnnotation | Undo
Body = Annotated[Given | Annotated[list[Given], Field(min_length=1, max_length=MOST)], SkipValidation]


def read(element: Any, where: str) -> Given:
    if not isinstance(element, dict):
        raise InvalidField(where, "must be an object")
    model = Undo if "undo_of" in element else NewAnnotation
    try:
        return model.model_validate(element)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise refusal([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def check_length(elements: list[Any]) -> None:
    if not 1 <= len(elements) <= MOST:
        raise InvalidField("body", f"must hold 1 to {MOST} answers, not {len(elements)}")


def stored(given: Given, result: Stored) -> AnnotationAnswer:
    return AnnotationAnswer(client_id=given.client_id, status=result.status, id=result.id, surplus=result.surplus)


def refused(element: Any, error: ComfyLabelError) -> RefusedAnswer:
    return RefusedAnswer(client_id=_client_id(element), status="refused", code=error.code, error=error.message)


def _client_id(element: Any) -> str | None:
    """As it was sent, where it is one at all: the sender finds its answer by it."""
    client_id = element.get("client_id") if isinstance(element, dict) else None
    if not isinstance(client_id, str) or len(client_id) > _CLIENT_ID_LENGTH:
        return None
    return client_id if client_id.isprintable() else None  # half a character is no JSON text
