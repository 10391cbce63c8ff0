"""Rule: which prompt of a task is the heaviest to make, and why. Pure.

Pixels x steps x ControlNets x images a submission decide, then the length of the text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph, class_of, inputs_of, native_size, upstream

SAME_FOR_ALL = "size, steps and ControlNets are the same for all"


@dataclass(frozen=True, slots=True)
class Work:
    """What one submission of a workflow computes; what cannot be read from its graph is None or 0."""

    width: int | None
    height: int | None
    steps: int
    controlnets: int
    batch_size: int

    @property
    def amount(self) -> int:
        """Pixels x steps x ControlNets x batch; what is not known counts once."""
        pixels = (self.width or 1) * (self.height or 1)
        return pixels * (self.steps or 1) * (1 + self.controlnets) * self.batch_size

    def __str__(self) -> str:
        parts = [
            f"{self.width} x {self.height} pixels" if self.width and self.height else None,
            _some(self.steps, "step") if self.steps else None,
            _some(self.controlnets, "ControlNet") if self.controlnets else "no ControlNet",
            f"{self.batch_size} images a submission" if self.batch_size > 1 else None,
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Load:
    """What one prompt asks of a worker."""

    prompt_id: UUID
    position: int
    work: int
    text_length: int


def work_of(graph: Graph, bindings: Bindings, batch_size: int) -> Work:
    """Of the nodes that lead to a kept image."""
    width, height = native_size(graph, bindings)
    needed = upstream(graph, bindings.images)
    steps = sum(_steps(graph, node_id) for node_id in needed)
    controlnets = sum(_applies_controlnet(class_of(graph, node_id)) for node_id in needed)
    return Work(width, height, steps, controlnets, batch_size)


def heaviest_first(loads: Iterable[Load]) -> list[Load]:
    return sorted(loads, key=lambda load: (-load.work, -load.text_length, load.position))


def why(ordered: Sequence[Load], work: Work) -> str:
    """Why the first of `heaviest_first` is the first, in words; `work` is that of the first."""
    first = ordered[0]
    numbers = f"({_some(first.text_length, 'character')}; {work})"
    if len(ordered) == 1:
        return f"the only prompt {numbers}"
    second = ordered[1]
    if first.work > second.work:
        return f"most pixels x steps x ControlNets x batch size {numbers}"
    if first.text_length > second.text_length:
        return f"longest text; {SAME_FOR_ALL} {numbers}"
    return f"first of the longest texts; {SAME_FOR_ALL} {numbers}"


def _steps(graph: Graph, node_id: str) -> int:
    steps = inputs_of(graph, node_id).get("steps")
    return steps if isinstance(steps, int) and steps > 0 else 0


def _applies_controlnet(class_type: str) -> bool:
    return "ControlNet" in class_type and "Apply" in class_type


def _some(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
