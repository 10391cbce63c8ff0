"""A ComfyUI graph in API format: `{node id: {"class_type": ..., "inputs": {...}}}`. Pure: dicts in and out.

Node ids are opaque strings: graphs exported from subgraphs have ids such as "104:90" and "150:41:99".
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from comfylabel.errors import InvalidInput

Node: TypeAlias = dict[str, Any]
Graph: TypeAlias = dict[str, Node]

# What PostgreSQL and orjson keep as an integer; larger ones become floats, as in every JavaScript front end.
_SMALLEST_INTEGER = -(2**63)
_LARGEST_INTEGER = 2**64 - 1
_LARGEST_INTEGER_DIGITS = 20
# From here on orjson writes whole floats with an exponent, and PostgreSQL reads them back as integers.
_FIRST_FLOAT_WITH_EXPONENT = 1e16


@dataclass(frozen=True, slots=True, order=True)
class InputRef:
    """One input of one node."""

    node: str
    input: str


@dataclass(frozen=True, slots=True)
class Link:
    """The output `slot` of the node `node`, as an input's value."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Bindings:
    """Which inputs take what we set, and whose images are kept. One value may go into several inputs."""

    prompt: tuple[InputRef, ...] = ()
    seed: tuple[InputRef, ...] = ()
    width: tuple[InputRef, ...] = ()
    height: tuple[InputRef, ...] = ()
    batch_size: tuple[InputRef, ...] = ()
    images: tuple[str, ...] = field(default=())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Bindings":
        refs = {
            kind: tuple(InputRef(str(ref["node"]), str(ref["input"])) for ref in value.get(kind) or ())
            for kind in ("prompt", "seed", "width", "height", "batch_size")
        }
        return cls(**refs, images=tuple(str(node) for node in value.get("images") or ()))

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": _refs_to_json(self.prompt),
            "seed": _refs_to_json(self.seed),
            "width": _refs_to_json(self.width),
            "height": _refs_to_json(self.height),
            "batch_size": _refs_to_json(self.batch_size),
            "images": list(self.images),
        }


def _refs_to_json(refs: Iterable[InputRef]) -> list[dict[str, str]]:
    return [{"node": ref.node, "input": ref.input} for ref in refs]


# --- reading a file


def parse_graph(raw: bytes) -> Graph:
    """The graph in a `workflow_api.json`, also when wrapped as `{"prompt": graph}`.

    Refuses what is no graph at all; what is wrong with a graph is the validator's to say.
    """
    document = _parse_json(raw)
    if isinstance(document, dict) and _is_wrapped(document):
        document = document["prompt"]
    if not isinstance(document, dict):
        raise InvalidInput(
            f"The workflow file holds {_in_words(document)}, not an object of nodes.", code="not_a_graph"
        )
    if isinstance(document.get("nodes"), list):
        raise InvalidInput(
            "This is a workflow saved for the ComfyUI screen. Export it with Workflow > Export (API) "
            "and upload that file.",
            code="ui_format",
        )
    _check_nodes(document)
    return document


def _parse_json(raw: bytes) -> Any:
    try:
        document = json.loads(raw.decode("utf-8-sig"), parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The workflow file is not JSON: {error}.", code="not_json") from error
    try:
        text = orjson.dumps(document)
    except TypeError as error:  # half a surrogate pair, or nesting beyond what any reader takes
        raise InvalidInput(f"The workflow file cannot be kept: {error}.", code="not_storable") from error
    if b"\\u0000" in text.replace(b"\\\\", b""):
        raise InvalidInput("The workflow file holds a NUL character.", code="not_storable")
    return document


def _integer(digits: str) -> int | float | str:
    if len(digits) > _LARGEST_INTEGER_DIGITS:
        return _float(digits)
    value = int(digits)
    return value if _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER else float(value)


def _float(text: str) -> int | float | str:
    value = float(text)
    if math.isinf(value):
        return _constant("-Infinity" if value < 0 else "Infinity")
    if abs(value) >= _FIRST_FLOAT_WITH_EXPONENT and _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
        return int(value)
    return value or 0.0  # -0.0 does not survive PostgreSQL


def _constant(name: str) -> str:
    """NaN and Infinity, which JSON lacks and ComfyUI takes: their names mean the same to its float()."""
    return name


def _is_wrapped(document: dict[str, Any]) -> bool:
    inner = document.get("prompt")
    return isinstance(inner, dict) and not isinstance(inner.get("class_type"), str)


def _check_nodes(document: dict[str, Any]) -> None:
    if not document:
        raise InvalidInput("The workflow file holds no nodes.", code="not_a_graph")
    for node_id, node in document.items():
        if not isinstance(node, dict):
            raise InvalidInput(
                f"'{node_id}' is {_in_words(node)}; every entry of a workflow must be a node.",
                code="not_a_graph",
            )
        if not isinstance(node.get("inputs", {}), dict):
            raise InvalidInput(f"The inputs of node {node_id} are not an object.", code="not_a_graph")
    if not any(isinstance(node.get("class_type"), str) for node in document.values()):
        raise InvalidInput("No node of the workflow file names its class_type.", code="not_a_graph")


def _in_words(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


# --- looking at nodes


def class_of(graph: Graph, node_id: str) -> str:
    """The node's class, or an empty text where it names none."""
    name = graph[node_id].get("class_type")
    return name if isinstance(name, str) else ""


def inputs_of(graph: Graph, node_id: str) -> dict[str, Any]:
    inputs = graph[node_id].get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def as_link(value: Any) -> Link | None:
    """The link that an input's value is, or None for a plain value."""
    if not (isinstance(value, list) and len(value) == 2):  # noqa: PLR2004 - [node id, slot]
        return None
    node, slot = value
    return Link(node, int(slot)) if isinstance(node, str) and isinstance(slot, int) else None


def links_into(graph: Graph, node_id: str) -> Iterator[tuple[str, Link]]:
    """(input name, link) of the node's linked inputs."""
    for name, value in inputs_of(graph, node_id).items():
        if link := as_link(value):
            yield name, link


def upstream(graph: Graph, start: Iterable[str]) -> set[str]:
    """The nodes of `start` and all that they depend on; links to nowhere are passed over."""
    seen: set[str] = set()
    waiting = [node_id for node_id in start if node_id in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        waiting += [link.node for _, link in links_into(graph, node_id) if link.node in graph]
    return seen


def value_at(graph: Graph, ref: InputRef) -> Any:
    """The input's value; None where the node or the input is not there."""
    return inputs_of(graph, ref.node).get(ref.input) if ref.node in graph else None


def prompt_template(graph: Graph, bindings: Bindings) -> str:
    """The text that stands in the bound prompt inputs: the first that is not empty."""
    for ref in bindings.prompt:
        value = value_at(graph, ref)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def native_size(graph: Graph, bindings: Bindings) -> tuple[int | None, int | None]:
    """(width, height) that stand in the bound inputs; None for a side that is not bound to a number."""
    return _number_at(graph, bindings.width), _number_at(graph, bindings.height)


def _number_at(graph: Graph, refs: tuple[InputRef, ...]) -> int | None:
    for ref in refs:
        try:
            return int(value_at(graph, ref))
        except (TypeError, ValueError, OverflowError):
            continue
    return None


# --- filling and naming


def fill(
    graph: Graph,
    bindings: Bindings,
    *,
    prompt: str,
    seed: int,
    batch_size: int | None = None,
    width: int | None = None,
    height: int | None = None,
    filename_prefix: str | None = None,
) -> Graph:
    """A copy of `graph` with the bound inputs set; None leaves what stands there. Nothing else changes."""
    filled: Graph = orjson.loads(orjson.dumps(graph))
    for refs, value in (
        (bindings.prompt, prompt),
        (bindings.seed, seed),
        (bindings.batch_size, batch_size),
        (bindings.width, width),
        (bindings.height, height),
    ):
        if value is not None:
            for ref in refs:
                filled[ref.node]["inputs"][ref.input] = value
    if filename_prefix is not None:
        for node_id in bindings.images:
            if "filename_prefix" in inputs_of(filled, node_id):
                filled[node_id]["inputs"]["filename_prefix"] = filename_prefix
    return filled


def digest(graph: Graph) -> str:
    """SHA-256 (hex) of the graph as canonical JSON: keys sorted, no white space."""
    return hashlib.sha256(orjson.dumps(graph, option=orjson.OPT_SORT_KEYS)).hexdigest()
