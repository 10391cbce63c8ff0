"""Which model an export names: the file that the samplers sample with. Pure."""

import ntpath
from collections.abc import Sequence

from comfylabel.workflows.samplers import Sampler
from comfylabel.workflows.sizes import walk_latent
from comfylabel.workflows.wiring import Wiring

_FILE_INPUTS = ("ckpt_name", "unet_name")


def model_of(wiring: Wiring, samplers: Sequence[Sampler]) -> str:
    """The file stems of the models on the image's way, joined with `+` in the order in which they run."""
    ids = {sampler.node for sampler in samplers}
    sampling = []
    for sampler in reversed(samplers):
        refines = sampler.draws_noise or any(link.node in ids for link in walk_latent(wiring, sampler.node))
        if refines:  # else it only prepares an input, such as a depth map
            sampling.append(sampler.node)
    return "+".join(dict.fromkeys(_models_of(wiring, sampling))) or "unknown"


def _models_of(wiring: Wiring, samplers: Sequence[str]) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    waiting = list(reversed(samplers))
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        names = [wiring.inputs_of(node_id).get(name) for name in _FILE_INPUTS]
        found += [ntpath.splitext(ntpath.basename(name))[0] for name in names if isinstance(name, str)]
        linked = wiring.linked_of_type(node_id, "GUIDER") + wiring.linked_of_type(node_id, "MODEL")
        if wiring.is_switch(node_id):
            linked = list(wiring.branches(node_id))
        links = [wiring.link(node_id, name) for name in linked]
        waiting += [link.node for link in reversed(links) if link is not None]
    return [stem for stem in found if stem]
