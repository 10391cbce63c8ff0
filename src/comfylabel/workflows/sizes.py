"""Where the size of the latent and the number of images in it stand. Pure.

Only what can be written is bound: a size that comes from an input image or from arithmetic has no place to write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comfylabel.comfy.graph import InputRef, Link, value_at
from comfylabel.workflows.samplers import Sampler
from comfylabel.workflows.wiring import Wiring

_SEED_BEHAVIOR = "LatentBatchSeedBehavior"


@dataclass(frozen=True, slots=True)
class Sizes:
    width: tuple[InputRef, ...] = ()
    height: tuple[InputRef, ...] = ()
    batch_size: tuple[InputRef, ...] = ()


def find_sizes(wiring: Wiring, samplers: Sequence[Sampler]) -> Sizes:
    """Width and height are bound together or not at all, and only where all latents agree on them."""
    sources = latent_sources(wiring, samplers)
    way = (link.node for link in _noisy_way(wiring, samplers))
    repeaters = [node_id for node_id in dict.fromkeys(way) if wiring.class_of(node_id) == "RepeatLatentBatch"]
    batch_size = _all_written(wiring, sources, "batch_size") or _all_written(wiring, repeaters, "amount")
    width, height = _all_written(wiring, sources, "width"), _all_written(wiring, sources, "height")
    if not width or not height or not _agree(wiring, width) or not _agree(wiring, height):
        return Sizes(batch_size=batch_size)
    size = number_at(wiring, width[0]), number_at(wiring, height[0])
    repeated = list(_repeated(wiring, samplers, size))
    return Sizes(
        width=tuple(dict.fromkeys([*width, *(pair[0] for pair in repeated)])),
        height=tuple(dict.fromkeys([*height, *(pair[1] for pair in repeated)])),
        batch_size=batch_size,
    )


def latent_sources(wiring: Wiring, samplers: Sequence[Sampler]) -> list[str]:
    """The nodes where an empty latent begins that one of these samplers draws noise on."""
    return list(dict.fromkeys(link.node for link in _noisy_way(wiring, samplers) if _is_source(wiring, link)))


def seed_behavior(wiring: Wiring, samplers: Sequence[Sampler]) -> tuple[str, str | None] | None:
    """(node, "random" | "fixed" | None where unknown) of a LatentBatchSeedBehavior on the latent's way to a sampler."""
    for link in _noisy_way(wiring, samplers):
        if wiring.class_of(link.node) == _SEED_BEHAVIOR:
            value = wiring.inputs_of(link.node).get("seed_behavior")
            return link.node, value if isinstance(value, str) else None
    return None


def _noisy_way(wiring: Wiring, samplers: Sequence[Sampler]) -> list[Link]:
    return walk_latent(wiring, *(sampler.node for sampler in samplers if sampler.draws_noise))


def walk_latent(wiring: Wiring, *samplers: str) -> list[Link]:
    """Every output that the starting latents of these samplers pass, from the first sampler back."""
    seen: dict[Link, None] = {}
    waiting = [(sampler, "latent_image") for sampler in reversed(samplers)]
    while waiting:
        link = wiring.link(*waiting.pop())
        if link is None or link in seen:
            continue
        seen[link] = None
        if wiring.is_switch(link.node):
            onward = list(wiring.branches(link.node))
        else:
            onward = wiring.linked_of_type(link.node, "LATENT")
        waiting += [(link.node, name) for name in reversed(onward)]
    return list(seen)


def _is_source(wiring: Wiring, link: Link) -> bool:
    """Whether an empty latent begins here: nothing but numbers say what it is."""
    inputs = wiring.inputs_of(link.node)
    if wiring.linked_of_type(link.node, "LATENT"):
        return False
    return "batch_size" in inputs or {"width", "height"} <= inputs.keys()


def _all_written(wiring: Wiring, nodes: Sequence[str], name: str) -> tuple[InputRef, ...]:
    """Where this number of each node is written; nothing when one of them has it from elsewhere."""
    refs = [wiring.literal(node_id, name, int) for node_id in nodes if name in wiring.inputs_of(node_id)]
    written = [ref for ref in refs if ref is not None]
    return tuple(dict.fromkeys(written)) if len(written) == len(refs) else ()


def _agree(wiring: Wiring, refs: Sequence[InputRef]) -> bool:
    return len({number_at(wiring, ref) for ref in refs}) == 1


def number_at(wiring: Wiring, ref: InputRef) -> int:
    """The number that stands in an input found by `literal`, as the server would take it."""
    return int(value_at(wiring.graph, ref))


def _repeated(
    wiring: Wiring, samplers: Sequence[Sampler], size: tuple[int, int]
) -> Iterator[tuple[InputRef, InputRef]]:
    """Schedulers and model patches that are told the latent's size once more.

    Not the sizes of a text encoder (SDXL): those describe training images, not this one.
    """
    for node_id in wiring.running(*(sampler.node for sampler in samplers)):
        if not {"SIGMAS", "MODEL"} & {name for name in wiring.output_types(node_id) if isinstance(name, str)}:
            continue
        width, height = wiring.literal(node_id, "width", int), wiring.literal(node_id, "height", int)
        if width and height and (number_at(wiring, width), number_at(wiring, height)) == size:
            yield width, height
