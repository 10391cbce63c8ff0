"""Following the links of a graph by type, as the server would run it: through switches and bare primitives. Pure.

Types come from /object_info; where that is not known (no worker could be asked, or a custom node is absent) the
names that ComfyUI's own nodes use stand in for them. Titles are never read: they mislead.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from comfylabel.comfy.graph import Graph, InputRef, Link, as_link, class_of, inputs_of
from comfylabel.comfy.object_info import COMBO, InputSpec, ObjectInfo, declared_inputs, node_info, output_types

_SWITCHES = {"ComfySwitchNode": ("switch", "on_false", "on_true")}
# Nodes that hand on what they are given.
_PASSES = {"Reroute": "", "PreviewAny": "source"}

_GUESSED_TYPES = {
    "positive": "CONDITIONING", "negative": "CONDITIONING", "conditioning": "CONDITIONING",
    "conditioning_1": "CONDITIONING", "conditioning_2": "CONDITIONING", "conditioning_to": "CONDITIONING",
    "conditioning_from": "CONDITIONING", "cond1": "CONDITIONING", "cond2": "CONDITIONING",
    "latent_image": "LATENT", "samples": "LATENT", "samples1": "LATENT", "samples2": "LATENT",
    "samples_to": "LATENT", "samples_from": "LATENT", "latent": "LATENT",
    "noise": "NOISE", "guider": "GUIDER", "sigmas": "SIGMAS", "sampler": "SAMPLER", "model": "MODEL",
    "images": "IMAGE", "image": "IMAGE", "pixels": "IMAGE",
    "text": "STRING", "prompt": "STRING", "text_g": "STRING", "text_l": "STRING", "clip_l": "STRING",
    "clip_g": "STRING", "t5xxl": "STRING", "llama": "STRING", "user_prompt": "STRING",
    "string": "STRING", "string_a": "STRING", "string_b": "STRING", "json_string": "STRING",
    "replace": "STRING", "value": "STRING",
    "seed": "INT", "noise_seed": "INT", "width": "INT", "height": "INT", "batch_size": "INT", "amount": "INT",
}  # fmt: skip
_GUESSED_OUTPUTS = {
    "KSampler": ["LATENT"], "KSamplerAdvanced": ["LATENT"], "SamplerCustom": ["LATENT", "LATENT"],
    "SamplerCustomAdvanced": ["LATENT", "LATENT"], "CLIPTextEncode": ["CONDITIONING"],
    "ControlNetApplyAdvanced": ["CONDITIONING", "CONDITIONING"], "VAEDecode": ["IMAGE"],
    "InpaintModelConditioning": ["CONDITIONING", "CONDITIONING", "LATENT"],
    "InstructPixToPixConditioning": ["CONDITIONING", "CONDITIONING", "LATENT"],
    "Flux2Scheduler": ["SIGMAS"], "ModelSamplingFlux": ["MODEL"],
}  # fmt: skip


@dataclass(frozen=True)
class Wiring:
    """A graph with what is known of its classes."""

    graph: Graph
    object_info: ObjectInfo
    _declared: dict[str, dict[str, InputSpec]] = field(default_factory=dict, repr=False)

    def class_of(self, node_id: str) -> str:
        return class_of(self.graph, node_id)

    def inputs_of(self, node_id: str) -> dict[str, Any]:
        return inputs_of(self.graph, node_id)

    def spec(self, node_id: str, name: str) -> InputSpec | None:
        """What the class declares of this input, where it is known."""
        return self.declared_by(node_id).get(name)

    def declared_by(self, node_id: str) -> dict[str, InputSpec]:
        """Every input that the server looks at in this node."""
        if node_id not in self._declared:
            info = node_info(self.object_info, self.class_of(node_id))
            self._declared[node_id] = declared_inputs(info, self.inputs_of(node_id)) if info else {}
        return self._declared[node_id]

    def knows(self, node_id: str) -> bool:
        return node_info(self.object_info, self.class_of(node_id)) is not None

    def type_of(self, node_id: str, name: str) -> str:
        """The input's type name; COMBO for choices, an empty text where nothing is known."""
        if not self.knows(node_id):
            return _GUESSED_TYPES.get(name, "")
        spec = self.spec(node_id, name)
        if spec is None:
            return ""
        return spec.type if isinstance(spec.type, str) else COMBO

    def output_types(self, node_id: str) -> list[Any]:
        name = self.class_of(node_id)
        info = node_info(self.object_info, name)
        return output_types(info) if info else _GUESSED_OUTPUTS.get(name, [])

    def link(self, node_id: str, name: str) -> Link | None:
        """Where the input's value comes from, past switches whose state is known and nodes that hand on."""
        link = as_link(self.inputs_of(node_id).get(name))
        passed: set[str] = set()
        while link is not None and link.node in self.graph and link.node not in passed:
            passed.add(link.node)
            onward = self._passed_to(link.node)
            if onward is None or as_link(self.inputs_of(link.node).get(onward)) is None:
                break
            link = as_link(self.inputs_of(link.node)[onward])
        return link if link is not None and link.node in self.graph else None

    def _passed_to(self, node_id: str) -> str | None:
        """The input whose value this node hands on unchanged, where that is certain."""
        class_name = self.class_of(node_id)
        if class_name in _SWITCHES:
            return self.chosen_branch(node_id)
        if class_name in _PASSES:
            return _PASSES[class_name] or next(iter(self.inputs_of(node_id)), None)
        return None

    def is_switch(self, node_id: str) -> bool:
        return self.class_of(node_id) in _SWITCHES

    def branches(self, node_id: str) -> tuple[str, str]:
        _, on_false, on_true = _SWITCHES[self.class_of(node_id)]
        return on_false, on_true

    def chosen_branch(self, node_id: str) -> str | None:
        """The input that a switch lets through; None where only a run would show."""
        switch, on_false, on_true = _SWITCHES[self.class_of(node_id)]
        state = self.inputs_of(node_id).get(switch)
        link = as_link(state)
        if link is not None:
            state = self.inputs_of(link.node).get("value") if link.node in self.graph else None
            if as_link(state) is not None or self.class_of(link.node) != "PrimitiveBoolean":
                return None
        return None if state is None else (on_true if state else on_false)

    def sources(self, node_id: str) -> Iterator[tuple[str, Link]]:
        """(input, link) of all that must run for this node: a switch runs only its chosen branch."""
        only = self.chosen_branch(node_id) if self.is_switch(node_id) else None
        skipped = set(self.branches(node_id)) - {only} if only else set()
        for name, value in self.inputs_of(node_id).items():
            link = as_link(value)
            if link is not None and link.node in self.graph and name not in skipped:
                yield name, link

    def running(self, *starts: str) -> list[str]:
        """`starts` and all nodes that run for them, nearest first."""
        found = dict.fromkeys(starts)
        for node_id in (queue := list(starts)):
            for _, link in self.sources(node_id):
                if link.node not in found:
                    found[link.node] = None
                    queue.append(link.node)
        return list(found)

    def depending_on(self, starts: Iterable[str]) -> set[str]:
        """`starts` and all nodes that run after one of them has."""
        followers: dict[str, list[str]] = {}
        for node_id in self.graph:
            for _, link in self.sources(node_id):
                followers.setdefault(link.node, []).append(node_id)
        found = set(starts)
        waiting = list(found)
        while waiting:
            for node_id in followers.get(waiting.pop(), ()):
                if node_id not in found:
                    found.add(node_id)
                    waiting.append(node_id)
        return found

    def linked_of_type(self, node_id: str, type_name: str) -> list[str]:
        """The linked inputs of a type, in the order of the file."""
        linked = (name for name, value in self.inputs_of(node_id).items() if as_link(value) is not None)
        return [name for name in linked if type_name in self.type_of(node_id, name).split(",")]

    def literal(self, node_id: str, name: str, kind: type) -> InputRef | None:
        """The input that must be written to set this one: itself, or that of the primitive it is linked to."""
        value = self.inputs_of(node_id).get(name)
        if as_link(value) is None:
            return InputRef(node_id, name) if _is_literal(value, kind) else None
        link = self.link(node_id, name)
        if link is None or any(True for _ in self.sources(link.node)):
            return None
        values = self.inputs_of(link.node)
        candidates = [each for each in ("value", "seed", "noise_seed", "int", "number") if each in values]
        if len(candidates) == 1 and _is_literal(values[candidates[0]], kind):
            return InputRef(link.node, candidates[0])
        return None


def _is_literal(value: Any, kind: type) -> bool:
    """Whether the value is one of `kind` as the server would take it: "64" is a number there."""
    if kind is str:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        int(value)
    except (ValueError, OverflowError):
        return False
    return True
