"""What a worker's `/object_info` says of a node class. Pure.

Two ages of node description arrive in one shape, and nothing but `input` and `output` can be relied on:
choices are `[["a", "b"], {...}]` in old nodes and `["COMBO", {"options": [...]}]` in new ones; new nodes also
have inputs that unfold by what is given (`images.image0`, `resize_type.width`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ObjectInfo: TypeAlias = Mapping[str, Any]
NodeInfo: TypeAlias = Mapping[str, Any]

COMBO = "COMBO"
# Links from or to these pass unchecked: the front end decides them.
ANY_TYPES = frozenset({"*", "COMFY_MATCHTYPE_V3"})
_AUTOGROW = "COMFY_AUTOGROW_V3"
_DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
_DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"
_DYNAMIC_GROUP = "COMFY_DYNAMICGROUP_V3"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One declared input; `type` is a name, or the list of choices of an old node."""

    type: Any
    required: bool
    options: Mapping[str, Any]


def node_info(object_info: ObjectInfo, class_type: str) -> NodeInfo | None:
    info = object_info.get(class_type)
    return info if isinstance(info, Mapping) else None


def is_output_node(info: NodeInfo) -> bool:
    return info.get("output_node") is True


def is_api_node(info: NodeInfo) -> bool:
    """Whether running it calls a paid service: by the flag, or by category where a server sends none."""
    flag = info.get("api_node")
    return flag is True or (flag is None and str(info.get("category", "")).startswith("api node"))


def output_types(info: NodeInfo) -> list[Any]:
    outputs = info.get("output")
    return list(outputs) if isinstance(outputs, (list, tuple)) else []


def declared_inputs(info: NodeInfo, given: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Every input that the server looks at when a node is `given` these inputs; all others it ignores."""
    declared: dict[str, InputSpec] = {}
    for name, spec in _sections(info.get("input")):
        _unfold(declared, name, spec, given)
    return declared


def _sections(section: Any) -> Iterator[tuple[str, InputSpec]]:
    if not isinstance(section, Mapping):
        return
    for kind in ("required", "optional"):
        inputs = section.get(kind)
        if isinstance(inputs, Mapping):
            for name, definition in inputs.items():
                yield name, _spec(definition, required=kind == "required")


def _spec(definition: Any, *, required: bool) -> InputSpec:
    if not isinstance(definition, (list, tuple)) or not definition:
        return InputSpec("*", required, {})
    options = definition[1] if len(definition) > 1 else None
    return InputSpec(definition[0], required, options if isinstance(options, Mapping) else {})


def _unfold(declared: dict[str, InputSpec], name: str, spec: InputSpec, given: Mapping[str, Any]) -> None:
    if spec.type == _AUTOGROW:
        _unfold_autogrow(declared, name, spec, given)
    elif spec.type == _DYNAMIC_COMBO:
        _unfold_chosen(declared, name, spec, given)
    elif spec.type == _DYNAMIC_SLOT:
        if name in given:
            declared[name] = spec
            _unfold_all(declared, name, spec.options.get("inputs"), given)
    elif spec.type != _DYNAMIC_GROUP:
        declared[name] = spec


def _unfold_all(declared: dict[str, InputSpec], name: str, section: Any, given: Mapping[str, Any]) -> None:
    for inner, spec in _sections(section):
        _unfold(declared, f"{name}.{inner}", spec, given)


def _unfold_chosen(declared: dict[str, InputSpec], name: str, spec: InputSpec, given: Mapping[str, Any]) -> None:
    """The inputs of the chosen option. A choice that is none, or is missing, declares nothing at all."""
    if name not in given:
        return
    for option in spec.options.get("options") or ():
        if isinstance(option, Mapping) and option.get("key") == given[name]:
            declared[name] = spec
            _unfold_all(declared, name, option.get("inputs"), given)
            return


def _unfold_autogrow(declared: dict[str, InputSpec], name: str, spec: InputSpec, given: Mapping[str, Any]) -> None:
    """A row of equal inputs, the first `min` of them required when their template is."""
    template = spec.options.get("template")
    if not isinstance(template, Mapping):
        return
    first = next(_sections(template.get("input")), None)
    if first is None:
        return
    names = template.get("names")
    if names is None:
        names = [f"{template.get('prefix', '')}{number}" for number in range(int(template.get("max") or 0))]
    needed = int(template.get("min") or 0)
    for position, inner in enumerate(names):
        required = position < needed and first[1].required
        _unfold(declared, f"{name}.{inner}", InputSpec(first[1].type, required, first[1].options), given)


def choices(spec: InputSpec) -> list[Any] | None:
    """The values that the server takes; None for no choice at all, or one whose list only browsers know."""
    if isinstance(spec.type, (list, tuple)):
        return list(spec.type)
    if spec.type != COMBO or spec.options.get("remote_combo"):
        return None
    options = spec.options.get("options")
    return list(options) if isinstance(options, (list, tuple)) else []


def link_fits(received: Any, wanted: Any) -> bool:
    """Whether an output of type `received` may be linked to an input of type `wanted`."""
    if received == wanted:
        return True
    if isinstance(received, list) and wanted == COMBO:
        return True
    offered, accepted = _alternatives(received), _alternatives(wanted)
    if ANY_TYPES & (offered | accepted):
        return True
    return bool(offered & accepted)


def _alternatives(type_name: Any) -> set[str]:
    """`"IMAGE,MASK"` names two types; a list of choices names none that a link could match."""
    return {part.strip() for part in type_name.split(",")} if isinstance(type_name, str) else set()
