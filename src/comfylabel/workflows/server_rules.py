"""What ComfyUI's POST /prompt would say of a graph, foreseen from a worker's /object_info. Pure.

The server looks only at what its output nodes depend on, except that it must know every class. Its tolerance is
kept: unknown inputs, texts for numbers, NaN and any size of step pass here as they pass there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfylabel.comfy.graph import Graph, class_of, inputs_of
from comfylabel.comfy.object_info import (
    InputSpec,
    ObjectInfo,
    choices,
    is_api_node,
    is_output_node,
    link_fits,
    node_info,
)
from comfylabel.workflows.reach import outputs_of
from comfylabel.workflows.schemas import Line
from comfylabel.workflows.wiring import Wiring

# What a server replaces when it lacks the old class: the new one, and new input <- old input.
REPLACED_CLASSES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "T2IAdapterLoader": ("ControlNetLoader", {"control_net_name": "t2i_adapter_name"}),
    "Load3DAnimation": ("Load3D", {}),
    "Preview3DAnimation": ("Preview3D", {}),
    "SDV_img2vid_Conditioning": ("SVD_img2vid_Conditioning", {}),
    "ConditioningAverage ": ("ConditioningAverage", {}),
}
# Nodes that check their choice themselves and take any: the front end makes their list.
_OWN_CHOICES = frozenset({"CustomCombo"})

_FILE_NAME = re.compile(
    r"\.(safetensors|sft|ckpt|pt|pt2|pth|pkl|bin|gguf|onnx|engine|yaml|yml|json|npz|npy|latent|task"
    r"|png|jpe?g|webp|gif|bmp|tiff?|exr|hdr|svg|avif|mp4|webm|mov|mkv|avi|mp3|wav|flac|ogg|opus|m4a"
    r"|glb|gltf|obj|fbx|stl|usdz|ply|spz|splat|ksplat|txt|csv|cube|srt|vtt)(\s*\[(input|output|temp)\])?$",
    re.IGNORECASE,
)


def check_classes(graph: Graph, object_info: ObjectInfo) -> list[Line]:
    """A line for every node whose class the server does not know; one is enough for it to refuse all."""
    lines = []
    for node_id in graph:
        name = class_of(graph, node_id)
        if not name:
            lines.append(
                Line("error", "missing_class_type", node_id, f"Node {node_id} names no class_type: its custom "
                     "node was missing on the machine that exported the file.")
            )  # fmt: skip
        elif node_info(object_info, name) is None and not _replacement(name, object_info):
            lines.append(Line("error", "unknown_node", node_id, f"No node class is called '{name}'."))
        elif _replacement(name, object_info) and not isinstance(graph[node_id].get("_meta"), dict):
            lines.append(
                Line("error", "unknown_node", node_id, f"'{name}' is an old class, which a server replaces only "
                     "where the node has a _meta object; export the file again.")
            )  # fmt: skip
    return lines


def check_api_nodes(graph: Graph, object_info: ObjectInfo, alive: set[str]) -> list[Line]:
    """Nodes that call a paid service; also those that would not run, for a switch or an edit may wake them."""
    lines = []
    for node_id in graph:
        name = class_of(graph, node_id)
        info = node_info(object_info, name)
        if info is not None and is_api_node(info):
            where = "" if node_id in alive else " No output depends on it, so it can be deleted."
            lines.append(Line("error", "api_node", node_id, f"{name} calls a paid service.{where}"))
    return lines


def as_served(graph: Graph, object_info: ObjectInfo) -> Graph:
    """The graph with its replaced classes as the server puts them."""
    served: Graph = {}
    for node_id, node in graph.items():
        replacement = _replacement(class_of(graph, node_id), object_info)
        if replacement is None:
            served[node_id] = node
            continue
        new_class, mapping = replacement
        old = inputs_of(graph, node_id)
        inputs = {new: old[name] for new, name in mapping.items() if name in old}
        served[node_id] = {**node, "class_type": new_class, "inputs": inputs}
    return served


def _replacement(name: str, object_info: ObjectInfo) -> tuple[str, Mapping[str, str]] | None:
    found = REPLACED_CLASSES.get(name)
    if found is None or name in object_info or found[0] not in object_info:
        return None
    return found


def output_nodes(graph: Graph, object_info: ObjectInfo) -> list[str]:
    infos = ((node_id, node_info(object_info, class_of(graph, node_id))) for node_id in graph)
    return [node_id for node_id, info in infos if info is not None and is_output_node(info)]


def check_inputs(wiring: Wiring) -> Iterator[Line]:
    """Every input of every node that an output depends on, as the server checks it."""
    for node_id in _validated_nodes(wiring):
        if not wiring.knows(node_id):
            continue
        if not isinstance(wiring.graph[node_id].get("inputs"), dict):
            yield Line("error", "missing_inputs", node_id, f"{wiring.class_of(node_id)} has no inputs object.")
            continue
        for name, spec in wiring.declared_by(node_id).items():
            line = _check_input(wiring, node_id, name, spec)
            if line is not None:
                yield line


def _validated_nodes(wiring: Wiring) -> list[str]:
    """The outputs and all they depend on through declared inputs; links in other inputs are not followed."""
    found: dict[str, None] = {}
    waiting = output_nodes(wiring.graph, wiring.object_info)
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found[node_id] = None
            waiting += outputs_of(wiring.graph, node_id, only=wiring.declared_by(node_id).keys())
    return [node_id for node_id in wiring.graph if node_id in found]


def _check_input(wiring: Wiring, node_id: str, name: str, spec: InputSpec) -> Line | None:
    given = wiring.inputs_of(node_id)
    what = f"{wiring.class_of(node_id)}.{name}"
    if name not in given:
        if not spec.required:
            return None
        return Line("error", "required_input_missing", node_id, f"{what} is missing.")
    value = given[name]
    if isinstance(value, list):
        return _check_link(wiring, node_id, what, value, spec)
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    return _check_value(wiring, node_id, what, value, spec)


def _check_link(wiring: Wiring, node_id: str, what: str, value: list[Any], spec: InputSpec) -> Line | None:
    if len(value) != 2:  # noqa: PLR2004 - [node id, slot]
        return Line("error", "bad_link", node_id, f"{what} is a list of {len(value)}, neither link nor value.")
    source, slot = value
    if not isinstance(source, str) or source not in wiring.graph:
        return Line("error", "dangling_link", node_id, f"{what} is linked to node {source}, which is not there.")
    types = wiring.output_types(source)
    if not isinstance(slot, int) or not -len(types) <= slot < len(types):
        words = f"{what} is linked to output {slot} of node {source}, which has {len(types)}."
        return Line("error", "dangling_link", node_id, words)
    if not link_fits(types[slot], spec.type):
        words = f"{what} wants {_shown(spec.type)}, but node {source} gives {_shown(types[slot])}."
        return Line("error", "link_type_mismatch", node_id, words)
    return None


_CONVERTERS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _check_value(wiring: Wiring, node_id: str, what: str, value: Any, spec: InputSpec) -> Line | None:
    converter = _CONVERTERS.get(spec.type) if isinstance(spec.type, str) else None
    try:
        converted = value if converter is None else converter(value)
        lowest, highest = spec.options.get("min"), spec.options.get("max")
        if lowest is not None and converted < lowest:
            return Line("error", "value_too_small", node_id, f"{what} is {converted}, less than {lowest}.")
        if highest is not None and converted > highest:
            return Line("error", "value_too_big", node_id, f"{what} is {converted}, more than {highest}.")
    except (TypeError, ValueError, OverflowError):
        words = f"{what} must be of type {spec.type}, not {_shown(value)}."
        return Line("error", "invalid_value", node_id, words)
    return _check_choice(wiring.class_of(node_id), node_id, what, converted, spec)


def _check_choice(class_name: str, node_id: str, what: str, value: Any, spec: InputSpec) -> Line | None:
    absent = _absent_choices(class_name, value, spec)
    if not absent:
        return None
    shown = ", ".join(_shown(item) for item in absent)
    kind = _file_kind(absent, spec)
    if kind is None:
        return Line("error", "value_not_in_list", node_id, f"{what} cannot be {shown}.")
    code = "missing_model" if kind == "model" else "missing_input_file"
    return Line("warning", code, node_id, f"{what}: the {kind} {shown} is not there.")


def _absent_choices(class_name: str, value: Any, spec: InputSpec) -> list[Any]:
    allowed = choices(spec)
    if allowed is None or class_name in _OWN_CHOICES:
        return []
    several = spec.options.get("multiselect") and isinstance(value, list)
    return [item for item in (value if several else [value]) if item not in allowed]


def _file_kind(absent: list[Any], spec: InputSpec) -> str | None:
    """What a choice is that differs from worker to worker; None for words that only a version can add."""
    if any(str(option).endswith("_upload") for option in spec.options):
        return "input file"
    return "model" if not choices(spec) or any(_FILE_NAME.search(str(item)) for item in absent) else None


def absent_files(wiring: Wiring) -> Iterator[str]:
    """The models and input files that the graph names and this worker lacks: "the model sdxl.safetensors"."""
    for node_id in _validated_nodes(wiring):
        given = wiring.inputs_of(node_id)
        for name, spec in wiring.declared_by(node_id).items():
            if name in given and not isinstance(given[name], (list, dict)):
                absent = _absent_choices(wiring.class_of(node_id), given[name], spec)
                kind = _file_kind(absent, spec) if absent else None
                if kind is not None:
                    yield from (f"the {kind} {item}" for item in absent)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "one of a list"
    longest = 80
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[:longest] + "..."
