"""What an upload says of its graph, checked against the graph and the server's ceilings. Pure."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from comfylabel.comfy.graph import Bindings, InputRef, as_link
from comfylabel.errors import InvalidField, InvalidInput
from comfylabel.workflows.proposals import may_give_pictures
from comfylabel.workflows.schemas import (
    BINDING_KINDS,
    Ceilings,
    GivenBindings,
    GivenInput,
    GivenLimits,
    Limits,
    Metadata,
)
from comfylabel.workflows.wiring import Wiring

_WANTED = {"prompt": str, "seed": int, "width": int, "height": int, "batch_size": int}
_WORDS = {str: "a text", int: "a whole number"}
_TYPES = {str: {"STRING"}, int: {"INT"}}


def parse_metadata(text: str | bytes) -> Metadata:
    """The upload's `metadata` part; every fault is named with its path."""
    try:
        return Metadata.model_validate_json(text)
    except ValidationError as error:
        faults = [
            {"path": _path(fault["loc"]), "error": _words(fault["type"], fault["msg"])} for fault in error.errors()
        ]
        first = faults[0]
        raise InvalidInput(
            f"{first['path']} {first['error']}.", code="invalid_field", data={"errors": faults}
        ) from error


def _path(location: tuple[int | str, ...]) -> str:
    """`("bindings", "prompt", 0, "input")` -> `bindings.prompt[0].input`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path or "metadata"


def _words(kind: str, message: str) -> str:
    if kind == "json_invalid":
        return "is not JSON"
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a known field"
    return message[0].lower() + message[1:].replace("Input should be", "must be").rstrip(".")


def given_bindings(given: GivenBindings) -> tuple[Bindings, list[str]]:
    """The bindings that the upload names, and the kinds that it leaves to be found."""
    named = given.model_dump(exclude_none=True)
    return Bindings.from_json(named), [kind for kind in BINDING_KINDS if kind not in named]


def check_bindings(wiring: Wiring, given: GivenBindings) -> None:
    """Every input named must be there, be written and not linked, and take what will be put into it."""
    taken: dict[InputRef, str] = {}
    for kind, path, ref in _named(given):
        _check_input(wiring, kind, path, ref)
        other = taken.setdefault(InputRef(ref.node, ref.input), kind)
        if other != kind and {other, kind} != {"width", "height"}:
            raise InvalidField(path, f"is bound as {other} already")
    for position, node in enumerate(given.images or ()):
        path = f"bindings.images[{position}]"
        if node not in wiring.graph:
            raise InvalidField(path, f"names node {node!r}, which is not in the graph")
        if not may_give_pictures(wiring, node):
            raise InvalidField(path, f"names node {node!r}, whose class {wiring.class_of(node)} leaves no image files")


def _named(given: GivenBindings) -> Iterator[tuple[str, str, GivenInput]]:
    for kind in _WANTED:
        for position, ref in enumerate(getattr(given, kind) or ()):
            yield kind, f"bindings.{kind}[{position}]", ref


def _check_input(wiring: Wiring, kind: str, path: str, ref: GivenInput) -> None:
    if ref.node not in wiring.graph:
        raise InvalidField(f"{path}.node", f"is {ref.node!r}, which is not in the graph")
    inputs = wiring.inputs_of(ref.node)
    if ref.input not in inputs:
        raise InvalidField(
            f"{path}.input", f"is {ref.input!r}, which node {ref.node} ({wiring.class_of(ref.node)}) does not have"
        )
    value, wanted = inputs[ref.input], _WANTED[kind]
    link = as_link(value)
    if link is not None:
        raise InvalidField(f"{path}.input", f"is linked to node {link.node}; bind what stands there")
    if not _takes(wiring, ref, wanted, value):
        raise InvalidField(f"{path}.input", f"does not take {_WORDS[wanted]}")


def _takes(wiring: Wiring, ref: GivenInput, wanted: type, value: Any) -> bool:
    declared = wiring.spec(ref.node, ref.input)
    if declared is not None and declared.type != "*":
        types = set(declared.type.split(",")) if isinstance(declared.type, str) else set()
        return bool(types & _TYPES[wanted])
    if wanted is str:
        return isinstance(value, str)
    return isinstance(value, int) and not isinstance(value, bool)


def limits_under(ceilings: Ceilings, given: GivenLimits) -> tuple[Limits, int]:
    """The workflow's limits and its max_batch_size: as given, else the server's own; never more than that."""
    for name in ("max_batch_size", "max_pixels"):
        asked, ceiling = getattr(given, name), getattr(ceilings, name)
        if asked is not None and asked > ceiling:
            raise InvalidField(name, f"must be at most {ceiling}, the limit of this server")
    for name in ("allow_controlnet", "allow_dynamic_resolution"):
        if getattr(given, name) and not getattr(ceilings, name):
            raise InvalidField(name, "must be false: this server does not allow it")
    limits = Limits(
        allow_controlnet=_lower(given.allow_controlnet, ceilings.allow_controlnet),
        allow_dynamic_resolution=_lower(given.allow_dynamic_resolution, ceilings.allow_dynamic_resolution),
        max_pixels=given.max_pixels or ceilings.max_pixels,
    )
    return limits, given.max_batch_size or ceilings.max_batch_size


def _lower(asked: bool | None, ceiling: bool) -> bool:
    return ceiling if asked is None else asked
