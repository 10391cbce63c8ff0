"""What POST /prompt finds wrong with a graph, in ComfyUI's order, words and places: pure, but that values are coerced
in the graph itself, as ComfyUI does.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfylabel.comfy.simulator.node_class import NodeClass
from comfylabel.comfy.simulator.releases import Release

Graph = dict[str, Any]
Reason = dict[str, Any]

DEEPEST = 976  # nodes in a row: one more ends ComfyUI's recursion
LONG_LIST = 20  # an option list longer than this is not repeated in the error


class BrokenRequest(Exception):
    """ComfyUI answers 500: its code meets a value that it did not expect."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outputs` are the output nodes that will run; `error` is set when there are none."""

    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Validator:
    classes: Mapping[str, NodeClass]
    files: dict[str, list[str]]
    uploads: Collection[str]
    release: Release

    def check(self, graph: Any, targets: Collection[str] | None = None) -> Verdict:
        if not isinstance(graph, dict) and (graph != [] or self.release.has("leaves_0_3")):
            raise BrokenRequest
        outputs = []
        for node_id, node in dict(graph).items():
            error = self._unknown_class(node_id, node)
            if error:
                return Verdict(error=error)
            if self.classes[node["class_type"]].output_node and (targets is None or node_id in targets):
                outputs.append(node_id)
        if not outputs:
            return Verdict(error=_error("prompt_no_outputs", "Prompt has no outputs", ""))
        return self._check_outputs(graph, outputs)

    def _check_outputs(self, graph: Graph, outputs: list[str]) -> Verdict:
        run = _Run(self, graph)
        good: list[str] = []
        failures: list[Reason] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            try:
                valid = run.validate(output)
            except _Cycle as cycle:
                valid = False
                if self.release.has("leaves_0_3"):
                    run.reasons |= cycle.reasons(graph)
            if valid:
                good.append(output)
                continue
            failures += run.reasons.get(output, [])
            for node_id in run.reached(output):
                if run.reasons.get(node_id):
                    report = node_errors.setdefault(
                        node_id,
                        {
                            "errors": run.reasons[node_id],
                            "dependent_outputs": [],
                            "class_type": graph[node_id]["class_type"],
                        },
                    )
                    report["dependent_outputs"].append(output)
        if good:
            return Verdict(good, node_errors)
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in failures)
        head = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
        return Verdict(node_errors=node_errors, error=head)

    def _unknown_class(self, node_id: str, node: Any) -> dict[str, Any] | None:
        if not isinstance(node, dict) and (self.release.has("missing_node_type") or not isinstance(node, str | list)):
            raise BrokenRequest
        node = node if isinstance(node, dict) else {}
        class_type = node.get("class_type")
        if class_type in self.classes:
            return None
        details = f"Node ID '#{node_id}'"
        if not self.release.has("missing_node_type"):
            what = f"node {class_type} does not exist" if class_type else "a node is missing the class_type property"
            return _error("invalid_prompt", f"Cannot execute because {what}.", details)
        title = (node.get("_meta") or {}).get("title")
        name = title or class_type
        message = (
            f"Node '{name}' not found. The custom node may not be installed."
            if class_type
            else f"Node '{title or f'ID #{node_id}'}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing."
        )
        extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
        return _error("missing_node_type", message, details, extra)


@dataclass(slots=True)
class _Run:
    """The walk up from the outputs of one graph; every node is looked at once."""

    validator: Validator
    graph: Graph
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    verdicts: dict[str, bool] = field(default_factory=dict)
    raised: dict[str, Exception] = field(default_factory=dict)

    def validate(self, output: str) -> bool:
        for node_id in self._sources_first(output):
            try:
                self.verdicts[node_id] = self._validate_inputs(node_id)
            except BrokenRequest:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a wrong value causes becomes a reason, as in ComfyUI
                self.raised[node_id] = error
        if output in self.raised:
            self.reasons[output] = [_exception_reason(self.raised[output])]
        return self.verdicts.get(output, False)

    def _sources_first(self, output: str) -> list[str]:
        """What the output needs and was not looked at yet. Walks without recursion, because graphs may be as deep as
        ComfyUI's own recursion goes; deeper ones fail as they do there.
        """
        ordered: list[str] = []
        path, waiting = [output], [iter(self._links_of(output))]
        seen = set(self.verdicts) | set(self.raised)
        while path:
            source = next((source for source in waiting[-1] if source not in seen), None)
            if source is None:
                seen.add(path[-1])
                ordered.append(path.pop())
                waiting.pop()
            elif source in path:
                raise _Cycle(path[path.index(source) :])
            elif len(path) >= DEEPEST:
                seen.add(source)
                self.raised[source] = RecursionError("maximum recursion depth exceeded")
            else:
                path.append(source)
                waiting.append(iter(self._links_of(source)))
        return [node_id for node_id in ordered if node_id not in self.verdicts and node_id not in self.raised]

    def _links_of(self, node_id: str) -> list[str]:
        """The nodes that its links lead to; a link of the wrong type is not followed."""
        node = self.graph[node_id]
        if not isinstance(node.get("inputs"), dict):
            return []
        specs = self.validator.classes[node["class_type"]].inputs(self.validator.files, self.validator.release)
        found = []
        for name, spec in (specs["required"] | specs["optional"]).items():
            match node["inputs"].get(name):
                case [str() as source, int() as slot] if source in self.graph:
                    outputs = self.validator.classes[self.graph[source]["class_type"]].outputs
                    if -len(outputs) <= slot < len(outputs) and _fits(outputs[slot], spec[0]):
                        found.append(source)
        return found

    def reached(self, output: str) -> Iterable[str]:
        """The nodes with reasons that lie upstream of an output, itself last."""
        seen: dict[str, None] = {}
        waiting = [output]
        while waiting:
            node_id = waiting.pop()
            if node_id in seen:
                continue
            seen[node_id] = None
            waiting += self._links_of(node_id)
        return reversed(seen)

    def _validate_inputs(self, node_id: str) -> bool:
        node = self.graph[node_id]
        inputs, node_class = node["inputs"], self.validator.classes[node["class_type"]]
        if inputs is None and self.validator.release.has("leaves_0_3"):
            raise BrokenRequest
        specs = node_class.inputs(self.validator.files, self.validator.release)
        reasons: list[Reason] = []
        parents_valid = True
        for group in ("required", "optional"):
            for name, spec in specs[group].items():
                if name not in inputs:
                    if group == "required":
                        reasons.append(_missing(name))
                elif isinstance(inputs[name], list):
                    parents_valid &= self._validate_link(name, spec, inputs[name], reasons)
                else:
                    reasons += self._value_reasons(inputs, name, spec, checked=not node_class.checks_image)
        if node_class.checks_image and not reasons and parents_valid:
            reasons += self._image_reasons(inputs["image"])
        if reasons:
            self.reasons[node_id] = reasons
        return parents_valid and not reasons

    def _validate_link(self, name: str, spec: list[Any], link: list[Any], reasons: list[Reason]) -> bool:
        """Whether what it leads to is valid. A link to nowhere raises: the reason then stands one node downstream."""
        if len(link) != 2:  # noqa: PLR2004 - [node id, slot]
            text = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            reasons.append(_reason("bad_linked_input", text, name, name, spec, received_value=link))
            return True
        source = self.graph[link[0]]["class_type"]
        received = self.validator.classes[source].outputs[link[1]]
        if not _fits(received, spec[0]):
            details = f"{name}, received_type({received}) mismatch input_type({_type_name(spec[0])})"
            reasons.append(
                _reason(
                    "return_type_mismatch",
                    "Return type mismatch between linked nodes",
                    details,
                    name,
                    spec,
                    received_type=received,
                    linked_node=link,
                )
            )
            return True
        if link[0] in self.raised:
            self.reasons[link[0]] = [_exception_reason(self.raised[link[0]], name, spec, link)]
            return False
        return self.verdicts[link[0]]

    def _value_reasons(self, inputs: dict[str, Any], name: str, spec: list[Any], *, checked: bool) -> list[Reason]:
        value = inputs[name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        kind = spec[0]
        try:
            value = inputs[name] = _coerced(kind, value)
        except (TypeError, ValueError, OverflowError) as error:
            return [
                _reason(
                    "invalid_input_type",
                    f"Failed to convert an input value to a {kind} value",
                    f"{name}, {value}, {error}",
                    name,
                    spec,
                    received_value=value,
                    exception_message=str(error),
                )
            ]
        return _range_reasons(name, spec, value) + (_option_reasons(name, spec, value) if checked else [])

    def _image_reasons(self, image: str) -> list[Reason]:
        if image in self.validator.uploads:
            return []
        return [
            {
                "type": "custom_validation_failed",
                "message": "Custom validation failed for node",
                "details": f"image - Invalid image file: {image}",
                "extra_info": {"input_name": "image"},
            }
        ]


class _Cycle(Exception):
    def __init__(self, nodes: list[str]) -> None:
        super().__init__()
        self.nodes = nodes

    def reasons(self, graph: Graph) -> dict[str, list[Reason]]:
        walk = " -> ".join(f"{node_id} ({graph[node_id]['class_type']})" for node_id in (*self.nodes, self.nodes[0]))
        return {
            node_id: [
                {
                    "type": "dependency_cycle",
                    "message": "Dependency cycle detected",
                    "details": walk,
                    "extra_info": {"node_id": node_id, "cycle_nodes": self.nodes},
                }
            ]
            for node_id in self.nodes
        }


def _coerced(kind: Any, value: Any) -> Any:
    match kind:
        case "INT":
            return int(value)
        case "FLOAT":
            return float(value)
        case "STRING":
            return str(value)
        case "BOOLEAN":
            return bool(value)
    return value


def _range_reasons(name: str, spec: list[Any], value: Any) -> list[Reason]:
    options = spec[1] if len(spec) > 1 else {}
    if "min" in options and value < options["min"]:
        text = f"Value {value} smaller than min of {options['min']}"
        return [_reason("value_smaller_than_min", text, name, name, spec, received_value=value)]
    if "max" in options and value > options["max"]:
        text = f"Value {value} bigger than max of {options['max']}"
        return [_reason("value_bigger_than_max", text, name, name, spec, received_value=value)]
    return []


def _option_reasons(name: str, spec: list[Any], value: Any) -> list[Reason]:
    if isinstance(spec[0], list):
        options = spec[0]
    elif spec[0] == "COMBO":
        options = spec[1]["options"]
    else:
        return []
    if value in options:
        return []
    short = len(options) <= LONG_LIST
    shown = str(options) if short else f"(list of length {len(options)})"
    details = f"{name}: '{value}' not in {shown}"
    config = spec if short else None
    return [_reason("value_not_in_list", "Value not in list", details, name, config, received_value=value)]


def _fits(received: str, wanted: Any) -> bool:
    if not isinstance(wanted, str):
        return received in {"COMBO", "*"}
    if received == wanted or "*" in {received, wanted}:
        return True
    return bool(set(received.split(",")) & set(wanted.split(",")))


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind)


def _missing(name: str) -> Reason:
    return {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": name,
        "extra_info": {"input_name": name},
    }


def _reason(kind: str, message: str, details: str, name: str, config: list[Any] | None, **extra: Any) -> Reason:
    return {
        "type": kind,
        "message": message,
        "details": details,
        "extra_info": {"input_name": name, "input_config": config, **extra},
    }


def _exception_reason(
    error: Exception, name: str | None = None, spec: list[Any] | None = None, link: list[Any] | None = None
) -> Reason:
    extra: dict[str, Any] = {"exception_type": type(error).__name__, "traceback": ["  simulated"]}
    if name is not None:
        extra |= {
            "input_name": name,
            "input_config": spec,
            "exception_message": str(error),
            "linked_node": link,
        }
    inner = "inner " if name is not None else ""
    return {
        "type": f"exception_during_{inner.replace(' ', '_')}validation",
        "message": f"Exception when validating {inner}node",
        "details": str(error),
        "extra_info": extra,
    }


def _error(kind: str, message: str, details: str, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra or {}}
