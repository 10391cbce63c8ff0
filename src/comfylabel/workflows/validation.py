"""The verdict on an uploaded graph: would a worker run it, may it, and can this product steer it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from comfylabel.comfy.graph import Bindings, Graph, class_of, upstream
from comfylabel.comfy.object_info import ObjectInfo, node_info
from comfylabel.errors import ComfyLabelError, InvalidInput
from comfylabel.workflows import server_rules
from comfylabel.workflows.guardrails import check_guardrails
from comfylabel.workflows.metadata import check_bindings, given_bindings, limits_under
from comfylabel.workflows.model_names import model_of
from comfylabel.workflows.proposals import Proposal, gives_pictures, propose
from comfylabel.workflows.reach import check_links, check_shape
from comfylabel.workflows.samplers import Sampler
from comfylabel.workflows.schemas import (
    Ceilings,
    GivenBindings,
    GivenLimits,
    Limits,
    Line,
    SeedMode,
    Status,
)
from comfylabel.workflows.sizes import seed_behavior
from comfylabel.workflows.wiring import Wiring

# The largest of 400 published workflows has 200 nodes; following every link of many more would take a server's time.
MAX_NODES = 2000
# A report is read by a person.
_MOST_LINES = 200

_NEEDED = {
    "images": ("no_image_output", "No node of this workflow leaves image files that could be kept."),
    "seed": ("no_seed", "No sampler of this workflow takes a seed that could be set."),
    "prompt": ("no_prompt", "No text of this workflow reaches a sampler as its positive prompt."),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that is known of a graph; `refusal` is None where it can be kept."""

    status: Status
    report: tuple[Line, ...]
    bindings: Bindings
    proposed: tuple[str, ...]
    seed_mode: SeedMode
    model: str
    limits: Limits
    max_batch_size: int
    forbidden_nodes: tuple[str, ...]
    refusal: ComfyLabelError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Given:
    """What the upload says beside the graph."""

    bindings: GivenBindings
    limits: GivenLimits
    model: str | None = None


def validate(graph: Graph, object_info: ObjectInfo | None, given: Given, ceilings: Ceilings) -> Verdict:
    """`object_info` is a worker's, or None when no worker could be asked.

    Raises InvalidField for what the upload says wrongly; what is wrong with the graph stands in the verdict.
    """
    limits, max_batch_size = limits_under(ceilings, given.limits)
    lines = _check_graph(graph, object_info)
    wiring = Wiring(graph if object_info is None else server_rules.as_served(graph, object_info), object_info or {})
    named, missing = given_bindings(given.bindings)
    check_bindings(wiring, given.bindings)
    broken = _has_errors(lines)  # following the links of a broken graph finds nothing worth saying
    proposal = Proposal(named, ()) if broken else propose(wiring, named, missing)
    samplers = proposal.samplers
    alive = upstream(wiring.graph, _outputs(wiring))
    lines += check_guardrails(wiring, samplers, alive, limits, max_batch_size)
    seed_mode, seed_lines = _seed_mode(wiring, samplers, proposal.bindings)
    lines += seed_lines
    lines += _said(proposal, missing)
    status: Status = "warnings" if any(line.level == "warning" for line in lines) else "valid"
    return Verdict(
        status="unverified" if object_info is None else status,
        report=tuple(_shortened(lines)),
        bindings=proposal.bindings,
        proposed=tuple(kind for kind in missing if getattr(proposal.bindings, kind)),
        seed_mode=seed_mode,
        model=given.model or model_of(wiring, samplers),
        limits=limits,
        max_batch_size=max_batch_size,
        forbidden_nodes=tuple(line.node for line in lines if line.code == "api_node" and line.node),
        refusal=_refusal(lines, proposal),
    )


def _check_graph(graph: Graph, object_info: ObjectInfo | None) -> list[Line]:
    """What a server would say, then what it would only meet while running."""
    if len(graph) > MAX_NODES:
        return [Line("error", "too_many_nodes", None, f"{len(graph)} nodes are more than {MAX_NODES}.")]
    if object_info is None:
        alive = upstream(graph, _outputs(Wiring(graph, {}))) or set(graph)
        lines = [
            Line("info", "unverified", None, "No healthy worker could be asked: whether one can run this is not known.")
        ]
        return lines + check_links(graph, alive) + check_shape(graph, alive)
    served = server_rules.as_served(graph, object_info)
    outputs = server_rules.output_nodes(served, object_info)
    alive = upstream(served, outputs)
    lines = server_rules.check_classes(graph, object_info)
    lines += server_rules.check_api_nodes(served, object_info, alive)
    if not outputs and not lines:
        lines.append(Line("error", "no_output_node", None, "No node of this graph gives out anything."))
    checked = list(server_rules.check_inputs(Wiring(served, object_info)))
    told = {line.node for line in checked if line.code == "dangling_link"}
    lines += checked
    lines += [line for line in check_links(served, alive) if line.node not in told]
    lines += check_shape(served, alive)
    return lines + _remarks(graph, object_info, alive)


def _remarks(graph: Graph, object_info: ObjectInfo, alive: set[str]) -> list[Line]:
    """What is worth knowing and stops nothing."""
    lines = []
    for node_id in graph:
        name = class_of(graph, node_id)
        info = node_info(object_info, name)
        if node_id not in alive:
            lines.append(Line("info", "dead_node", node_id, f"No output depends on node {node_id} ({name})."))
        elif info is None and name in server_rules.REPLACED_CLASSES:
            new = server_rules.REPLACED_CLASSES[name][0]
            lines.append(Line("warning", "legacy_node", node_id, f"{name} is a legacy node; {new} runs for it."))
        elif info is not None and info.get("deprecated") is True:
            lines.append(Line("warning", "legacy_node", node_id, f"{name} is a legacy node."))
    return lines


def _outputs(wiring: Wiring) -> list[str]:
    known = server_rules.output_nodes(wiring.graph, wiring.object_info)
    return known or [node_id for node_id in wiring.graph if gives_pictures(wiring, node_id)]


def _seed_mode(wiring: Wiring, samplers: Sequence[Sampler], bindings: Bindings) -> tuple[SeedMode, list[Line]]:
    """native: one submission gives several different images of one seed. loop: one image, one seed."""
    found = seed_behavior(wiring, samplers)
    if found is None:
        return "loop", []
    node_id, behavior = found
    if behavior != "random":
        return "loop", [
            Line("warning", "fixed_seed_behavior", node_id, "LatentBatchSeedBehavior is not set to random, so all "
                 "images of a batch would be equal: every image is made alone.")
        ]  # fmt: skip
    if not bindings.batch_size:
        return "loop", [
            Line("warning", "batch_size_not_bound", node_id, "There is no batch size to set beside "
                 "LatentBatchSeedBehavior: every image is made alone.")
        ]  # fmt: skip
    return "native", []


def _said(proposal: Proposal, kinds: Sequence[str]) -> list[Line]:
    """A line for every binding that was found, and for those of size that were not."""
    lines = []
    bindings = proposal.bindings.to_json()
    for kind in kinds:
        where = ", ".join(ref if isinstance(ref, str) else f"{ref['node']}.{ref['input']}" for ref in bindings[kind])
        if where and kind not in proposal.choices:
            lines.append(Line("info", "binding_found", None, f"{kind} is bound to {where}."))
    if {"width", "height"} <= set(kinds) and not (bindings["width"] and bindings["height"]) and proposal.samplers:
        lines.append(
            Line("info", "size_not_bound", None, "The size comes from an input image, from arithmetic or from "
                 "several places: it cannot be lowered.")
        )  # fmt: skip
    return lines


def _refusal(lines: Sequence[Line], proposal: Proposal) -> ComfyLabelError | None:
    errors = [line for line in lines if line.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        return InvalidInput(
            f"This workflow cannot be used: {errors[0].message}{more}", code="workflow_invalid",
            data={"report": _shortened(lines), "forbidden_nodes": [e.node for e in errors if e.code == "api_node"]},
        )  # fmt: skip
    if proposal.choices:
        kinds = " and ".join(proposal.choices)
        return InvalidInput(
            f"More than one answer would do for {kinds}; name it in bindings.", code="binding_ambiguous",
            data={"choices": proposal.choices, "report": _shortened(lines)},
        )  # fmt: skip
    for kind, (code, message) in _NEEDED.items():
        if not getattr(proposal.bindings, kind):
            line = Line("error", code, None, message)
            return InvalidInput(message, code=code, data={"report": [*_shortened(lines), line]})
    return None


def _has_errors(lines: Sequence[Line]) -> bool:
    return any(line.level == "error" for line in lines)


def _shortened(lines: Sequence[Line]) -> list[Line]:
    """Errors first, then warnings, then remarks; no more than a person reads."""
    ordered = sorted(lines, key=lambda line: ("error", "warning", "info").index(line.level))
    if len(ordered) <= _MOST_LINES:
        return ordered
    left = len(ordered) - _MOST_LINES
    return [*ordered[:_MOST_LINES], Line("info", "more", None, f"{left} more lines are left out.")]
