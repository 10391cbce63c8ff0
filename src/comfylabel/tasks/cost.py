"""Rule: which prompt of a task is the heaviest to make, and why. Pure.

Pixels x steps x ControlNets x images a submission decide, then the length of the text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph, class_of, inputs_of, native_size, upstream

SAME_FOR_ALL = "size, steps and ControlNets are the same for all"


@dataclass(frozen=True, slots=True)
class Load:
    """What one prompt asks of a worker."""

    prompt_id: UUID
    position: int
    work: int
    text_length: int


def work_of(graph: Graph, bindings: Bindings, batch_size: int) -> int:
    """Pixels x steps x ControlNets x batch of one submission; what cannot be read from the graph counts once."""
    width, height = native_size(graph, bindings)
    needed = upstream(graph, bindings.images)
    steps = sum(_steps(graph, node_id) for node_id in needed)
    controlnets = sum(_applies_controlnet(class_of(graph, node_id)) for node_id in needed)
    return (width or 1) * (height or 1) * (steps or 1) * (1 + controlnets) * batch_size


def heaviest_first(loads: Iterable[Load]) -> list[Load]:
    return sorted(loads, key=lambda load: (-load.work, -load.text_length, load.position))


def why(ordered: Sequence[Load]) -> str:
    """Why the first of `heaviest_first` is the first, in words."""
    if len(ordered) == 1:
        return "the only prompt"
    first, second = ordered[:2]
    if first.work > second.work:
        return "most pixels x steps x ControlNets x batch size"
    if first.text_length > second.text_length:
        return f"longest text; {SAME_FOR_ALL}"
    return f"first of the longest texts; {SAME_FOR_ALL}"


def _steps(graph: Graph, node_id: str) -> int:
    steps = inputs_of(graph, node_id).get("steps")
    return steps if isinstance(steps, int) and steps > 0 else 0


def _applies_controlnet(class_type: str) -> bool:
    return "ControlNet" in class_type and "Apply" in class_type
