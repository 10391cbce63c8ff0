"""The sampling nodes of a graph: which run for an image, which draw noise, and where their seed stands. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfylabel.comfy.graph import InputRef, as_link
from comfylabel.workflows.wiring import Wiring

_SEED_INPUTS = ("seed", "noise_seed")
_DIFFUSION_SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})


@dataclass(frozen=True, slots=True)
class Sampler:
    """A node that turns noise into a latent or an image; `seed` is None where it draws no noise of its own."""

    node: str
    draws_noise: bool
    seed: InputRef | None


def samplers_for(wiring: Wiring, image_nodes: Sequence[str]) -> list[Sampler]:
    """The samplers that run for these nodes, nearest to the image first."""
    running = wiring.running(*(node_id for node_id in image_nodes if node_id in wiring.graph))
    return [_sampler(wiring, node_id) for node_id in running if is_sampler(wiring, node_id)]


def noise_drawing(wiring: Wiring) -> list[str]:
    """Every sampler of the graph that draws noise, whether or not it runs."""
    samplers = (_sampler(wiring, node_id) for node_id in wiring.graph if is_sampler(wiring, node_id))
    return [sampler.node for sampler in samplers if sampler.draws_noise]


def is_sampler(wiring: Wiring, node_id: str) -> bool:
    """ComfyUI's own four, and custom nodes that take a positive conditioning and a seed to make an image."""
    if wiring.class_of(node_id) in _DIFFUSION_SAMPLERS:
        return True
    if not {"LATENT", "IMAGE"} & {name for name in wiring.output_types(node_id) if isinstance(name, str)}:
        return False
    if "GUIDER" in {wiring.type_of(node_id, name) for name in wiring.inputs_of(node_id)}:
        return True
    return wiring.type_of(node_id, "positive") == "CONDITIONING" and any(
        name in wiring.inputs_of(node_id) for name in _SEED_INPUTS
    )


def _sampler(wiring: Wiring, node_id: str) -> Sampler:
    noise = wiring.link(node_id, "noise")
    if noise is not None:
        draws = wiring.class_of(noise.node) != "DisableNoise"
        return Sampler(node_id, draws, _seed_of(wiring, noise.node) if draws else None)
    draws = _adds_noise(wiring, node_id)
    return Sampler(node_id, draws, _seed_of(wiring, node_id) if draws else None)


def _adds_noise(wiring: Wiring, node_id: str) -> bool:
    """KSamplerAdvanced says "enable" or "disable", SamplerCustom true or false, the others always add noise."""
    if "add_noise" not in wiring.inputs_of(node_id):
        return True
    value = wiring.inputs_of(node_id)["add_noise"]
    link = as_link(value)
    if link is not None:
        value = wiring.inputs_of(link.node).get("value", True) if link.node in wiring.graph else True
    return value not in ("disable", False, 0)


def _seed_of(wiring: Wiring, node_id: str) -> InputRef | None:
    for name in _SEED_INPUTS:
        ref = wiring.literal(node_id, name, int)
        if ref is not None:
            return ref
    return None
