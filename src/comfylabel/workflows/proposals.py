"""Bindings read from a graph where the upload names none. Pure.

Found by following links from the kept images back. Where two answers would do, nobody's guess is taken: the
caller gets the choices.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from comfylabel.comfy.graph import Bindings, InputRef
from comfylabel.comfy.object_info import is_output_node, node_info
from comfylabel.workflows.prompt_texts import Text, prompt_texts
from comfylabel.workflows.samplers import Sampler, noise_drawing, samplers_for
from comfylabel.workflows.sizes import find_sizes
from comfylabel.workflows.wiring import Wiring

# What leaves files that a run lists under `images`, best first; the rest of the core's output nodes leave video,
# sound, text, meshes, or pictures that are not the result.
_SAVERS = frozenset({"SaveImage", "SaveImageAdvanced"})
_PREVIEWS = frozenset({"PreviewImage"})
_NO_PICTURE = frozenset({
    "SaveImageWebsocket", "SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveWEBM", "SaveVideo", "SaveSVGNode",
    "SaveImageDataSetToFolder", "SaveImageTextDataSetToFolder", "ImageCompare", "Preview3D",
})  # fmt: skip
_MOVING = re.compile(r"video|animat|gif|webm|mp4|apng", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was found; `choices` holds, per kind, the candidates between which only the caller can decide."""

    bindings: Bindings
    samplers: tuple[Sampler, ...]
    choices: dict[str, list[dict[str, str]]] = field(default_factory=dict)


def propose(wiring: Wiring, given: Bindings, kinds: Sequence[str]) -> Proposal:
    """`given` with those of `kinds` filled in that the graph shows."""
    images = given.images
    if "images" in kinds:
        images = tuple(find_images(wiring))
        steerable = "seed" not in kinds or bool(find_seeds(samplers_for(wiring, images)))
        if len(images) > 1 and steerable:  # the rest depends on which of them are kept
            nodes = [{"node": node, "class": wiring.class_of(node)} for node in images]
            return Proposal(given, (), {"images": nodes})
    samplers = tuple(samplers_for(wiring, images))
    texts = find_prompt(wiring, samplers)
    sizes = find_sizes(wiring, samplers)
    found = Bindings(
        prompt=tuple(text.ref for text in texts),
        seed=find_seeds(samplers),
        width=sizes.width,
        height=sizes.height,
        batch_size=sizes.batch_size,
        images=images,
    )
    bindings = replace(given, **{kind: getattr(found, kind) for kind in kinds})
    choices = {}
    if "prompt" in kinds and not _one_prompt(texts):
        choices["prompt"] = [{"node": text.ref.node, "input": text.ref.input, "text": text.text} for text in texts]
    return Proposal(bindings, samplers, choices)


def gives_pictures(wiring: Wiring, node_id: str) -> bool:
    """Whether a run lists image files of this node as its result: the core's own, and custom nodes that take images."""
    name = wiring.class_of(node_id)
    if name in _SAVERS | _PREVIEWS:
        return True
    info = node_info(wiring.object_info, name)
    is_custom = str((info or {}).get("python_module", "")).startswith("custom_nodes")
    return is_custom and may_give_pictures(wiring, node_id) and not _MOVING.search(name)


def may_give_pictures(wiring: Wiring, node_id: str) -> bool:
    """Whether somebody who knows the node may name it; only what certainly leaves no image file is refused."""
    info = node_info(wiring.object_info, wiring.class_of(node_id))
    if info is None:
        return True
    takes = wiring.linked_of_type(node_id, "IMAGE") + wiring.linked_of_type(node_id, "MASK")
    return is_output_node(info) and bool(takes) and wiring.class_of(node_id) not in _NO_PICTURE


def find_images(wiring: Wiring) -> list[str]:
    """The nodes whose images could be kept: those that save, else those that preview; each picture once."""
    able = [node_id for node_id in wiring.graph if gives_pictures(wiring, node_id)]
    drawn = wiring.depending_on(noise_drawing(wiring))
    candidates = [node_id for node_id in able if node_id in drawn] or able
    saving = [node_id for node_id in candidates if _saves(wiring, node_id)]
    pictures = {
        repr((wiring.class_of(node_id), _pictures_of(wiring, node_id))): node_id
        for node_id in reversed(saving or candidates)
    }
    return list(reversed(pictures.values()))


def _saves(wiring: Wiring, node_id: str) -> bool:
    name = wiring.class_of(node_id)
    return name in _SAVERS or (name not in _PREVIEWS and "save" in name.lower())


def _pictures_of(wiring: Wiring, node_id: str) -> list[object]:
    return [wiring.link(node_id, name) for name in wiring.linked_of_type(node_id, "IMAGE")]


def find_seeds(samplers: Sequence[Sampler]) -> tuple[InputRef, ...]:
    """The seeds of all samplers that draw noise, in the order in which they run."""
    return tuple(dict.fromkeys(sampler.seed for sampler in reversed(samplers) if sampler.seed is not None))


def find_prompt(wiring: Wiring, samplers: Sequence[Sampler]) -> list[Text]:
    """The texts of every sampler on the way, in the order in which they run."""
    return prompt_texts(wiring, [sampler.node for sampler in reversed(samplers)])


def _one_prompt(texts: Sequence[Text]) -> bool:
    """Whether these are one prompt: one text however often, or the several fields of one encoder."""
    if len({text.text.strip() for text in texts}) <= 1:
        return True
    return len({text.ref.node for text in texts}) == 1 and all(text.at_encoder for text in texts)
