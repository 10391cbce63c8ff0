"""What pydantic finds wrong with a request, in the words and paths of all our refusals."""

from collections.abc import Mapping, Sequence
from typing import Any

from comfylabel.errors import InvalidField, InvalidInput

# pydantic speaks of the input; our errors continue the path: "seeds_per_prompt must be at least 1".
_REWORDED = (
    ("Input should be a valid dictionary or object to extract fields from", "must be an object"),
    ("Input should be ", "must be "),
    ("Value error, ", ""),
    ("Field required", "is required"),
    ("Extra inputs are not permitted", "is not a known field"),
    ("JSON decode error", "is not JSON"),
)


def refusal(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """The first error as the sentence, all of them as its data. A `loc` begins with the part of the request."""
    fields = [{"path": _path(error["loc"]), "error": _words(error["msg"])} for error in errors]
    first = fields[0]
    return InvalidInput(f"{first['path']} {first['error']}.", code=InvalidField.code, data={"errors": fields})


def _path(location: Sequence[int | str]) -> str:
    """`("body", "variants", 0, "weight")` -> `variants[0].weight`; the body as a whole is `body`."""
    where, *steps = location
    if where == "body" and len(steps) == 1 and isinstance(steps[0], int):
        return "body"  # the position of a JSON syntax error
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".") or str(where)


def _words(message: str) -> str:
    for theirs, ours in _REWORDED:
        message = message.replace(theirs, ours)
    return message[0].lower() + message[1:].rstrip(".")
