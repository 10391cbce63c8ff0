"""What the admin forbids though a server would run it: ControlNets, large pictures, large batches. Pure."""

from collections.abc import Iterator, Sequence

from comfylabel.workflows.samplers import Sampler
from comfylabel.workflows.schemas import Limits, Line
from comfylabel.workflows.sizes import latent_sources, number_at
from comfylabel.workflows.wiring import Wiring


def check_guardrails(
    wiring: Wiring, samplers: Sequence[Sampler], alive: set[str], limits: Limits, max_batch_size: int
) -> Iterator[Line]:
    """Looks at the graph and not at the bindings: leaving one out opens nothing."""
    if not limits.allow_controlnet:
        for node_id in wiring.graph:
            if node_id in alive and is_controlnet(wiring, node_id):
                yield Line(
                    "error", "controlnet_not_allowed", node_id, f"{wiring.class_of(node_id)} is a ControlNet node; "
                    "this workflow may have none.",
                )  # fmt: skip
    for node_id in latent_sources(wiring, samplers):
        yield from _check_size(wiring, node_id, limits.max_pixels)
        batch = wiring.literal(node_id, "batch_size", int)
        if batch is not None and number_at(wiring, batch) > max_batch_size:
            yield Line(
                "error", "batch_over_limit", batch.node, f"The batch size {number_at(wiring, batch)} is over the "
                f"limit of {max_batch_size}.",
            )  # fmt: skip


def is_controlnet(wiring: Wiring, node_id: str) -> bool:
    if "controlnet" in wiring.class_of(node_id).lower() or "CONTROL_NET" in wiring.output_types(node_id):
        return True
    return any(wiring.type_of(node_id, name) == "CONTROL_NET" for name in wiring.inputs_of(node_id))


def _check_size(wiring: Wiring, node_id: str, max_pixels: int) -> Iterator[Line]:
    width, height = wiring.literal(node_id, "width", int), wiring.literal(node_id, "height", int)
    if width is None or height is None:
        return
    size = number_at(wiring, width), number_at(wiring, height)
    if size[0] * size[1] > max_pixels:
        yield Line(
            "error", "resolution_over_limit", node_id, f"{size[0]} x {size[1]} is over the limit of {max_pixels} "
            "pixels.",
        )  # fmt: skip
