"""The node classes that make, keep or send pictures, and the probe nodes that tests steer with."""

from dataclasses import replace
from typing import Any

from comfylabel.comfy.simulator.node_class import NodeClass, choice_v3, files_of, number
from comfylabel.comfy.simulator.nodes import LATENTS, LOADERS, MAX_SIDE, PRIMITIVES, SAMPLER_NODES, TEXTS
from comfylabel.comfy.simulator.pictures import Picture
from comfylabel.comfy.simulator.values import Interrupted, Job, NodeFailure, Shown

PNG_TEXTS = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
NONCE = number("INT", 0, 0, 2**53)


async def empty_image(_: Job, width: int, height: int, batch_size: int, color: int) -> tuple[Any, ...]:
    return ((Picture(width, height, colour=color),) * batch_size,)


async def load_image(job: Job, image: str) -> tuple[Any, ...]:
    return (job.upload(image),), None


async def invert(_: Job, image: tuple[Picture, ...]) -> tuple[Any, ...]:
    return (tuple(replace(picture, inverted=not picture.inverted) for picture in image),)


async def save(job: Job, images: tuple[Picture, ...], filename_prefix: str) -> Shown:
    return Shown({"images": job.save(images, filename_prefix, "output")})


async def preview(job: Job, images: tuple[Picture, ...]) -> Shown:
    return Shown({"images": job.save(images, "ComfyUI_temp_simul", "temp")})


async def send(job: Job, images: tuple[Picture, ...]) -> Shown:
    await job.send_pictures(images)
    return Shown({})


async def preview_text(_: Job, source: Any) -> Shown:
    return Shown({"text": [str(source)]})


async def pay(_: Job, **__: Any) -> tuple[Any, ...]:
    raise NodeFailure("Exception", "Unauthorized: Please login first to use this node.")


async def probe_sleep(
    job: Job, image: tuple[Picture, ...], seconds: float, interruptible: bool, nonce: int
) -> tuple[Any, ...]:
    del nonce
    await job.sleep(seconds, interruptible=interruptible)
    return (image,)


PROBE_FAILURES = {
    "value_error": NodeFailure("ValueError", "probe value error"),
    "cuda_oom": NodeFailure(
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of "
        "23.65 GiB of which 1.20 GiB is free.",
    ),
    "accelerator_oom": NodeFailure("torch.AcceleratorError", "CUDA error: out of memory"),
    "runtime_error": NodeFailure("RuntimeError", "probe runtime error"),
    "file_not_found": NodeFailure("FileNotFoundError", "model file vanished"),
    "interrupt": Interrupted(),
}


async def probe_raise(_: Job, image: tuple[Picture, ...], kind: str, nonce: int, above: int = 0) -> tuple[Any, ...]:
    """Passes on what has no more than `above` pixels in all."""
    del nonce
    if sum(picture.width * picture.height for picture in image) <= above:
        return (image,)
    failure = PROBE_FAILURES[kind]
    if isinstance(failure, NodeFailure):
        raise NodeFailure(failure.exception_type, failure.message)
    raise Interrupted


async def probe_text(_: Job, text: str, nonce: int) -> Shown:
    del nonce
    return Shown({"text": [text]})


IMAGES = (
    NodeClass(
        "EmptyImage", empty_image,
        {"width": number("INT", 512, 1, MAX_SIDE, step=1), "height": number("INT", 512, 1, MAX_SIDE, step=1),
         "batch_size": number("INT", 1, 1, 4096), "color": number("INT", 0, 0, 0xFFFFFF, step=1, display="color")},
        ("IMAGE",), category="image", display_name="EmptyImage",
    ),
    NodeClass(
        "LoadImage", load_image, {"image": [files_of("input", "")[0], {"image_upload": True}]},
        ("IMAGE", "MASK"), category="image", display_name="Load Image", checks_image=True,
    ),
    NodeClass(
        "ImageInvert", invert, {"image": ["IMAGE"]}, ("IMAGE",), category="image", display_name="Invert Image"
    ),
    NodeClass(
        "SaveImage", save,
        {"images": ["IMAGE", {"tooltip": "The images to save."}],
         "filename_prefix": ["STRING", {"default": "ComfyUI", "tooltip": "How the file names begin."}]},
        hidden=PNG_TEXTS, category="image", display_name="Save Image", output_node=True,
    ),
    NodeClass(
        "PreviewImage", preview, {"images": ["IMAGE"]}, hidden=PNG_TEXTS, category="image",
        display_name="Preview Image", output_node=True,
    ),
    NodeClass("SaveImageWebsocket", send, {"images": ["IMAGE"]}, category="api/image", output_node=True),
    NodeClass(
        "PreviewAny", preview_text, {"source": ["*", {}]}, category="utils", display_name="Preview Any",
        output_node=True,
    ),
)  # fmt: skip

PAID = (
    NodeClass(
        "SimulatedPartnerTextToImage", pay,
        {"prompt": ["STRING", {"default": "", "multiline": True}],
         "ratio": choice_v3(["1024:1024", "1360:768", "768:1360"], "1024:1024")},
        ("IMAGE",), hidden={"auth_token_comfy_org": ["AUTH_TOKEN_COMFY_ORG"],
                            "api_key_comfy_org": ["API_KEY_COMFY_ORG"]},
        category="image/Simulated", display_name="Simulated partner: text to image", schema_v3=True, api_node=True,
        description="Stands for the nodes that cost money.",
    ),
)  # fmt: skip

PROBES = (
    NodeClass(
        "ProbeSleep", probe_sleep,
        {"image": ["IMAGE"], "seconds": number("FLOAT", 1.0, 0.0, 600.0),
         "interruptible": ["BOOLEAN", {"default": True}], "nonce": NONCE},
        ("IMAGE",), category="probe", display_name="Probe sleep",
    ),
    NodeClass(
        "ProbeRaise", probe_raise, {"image": ["IMAGE"], "kind": [list(PROBE_FAILURES)], "nonce": NONCE},
        ("IMAGE",), optional={"above": number("INT", 0, 0, 2**53)}, category="probe",
    ),
    NodeClass(
        "ProbeTextOut", probe_text, {"text": ["STRING", {"default": "x"}], "nonce": NONCE}, category="probe",
        output_node=True,
    ),
)  # fmt: skip

ALL_CLASSES = {
    node.name: node for node in (*LOADERS, *TEXTS, *LATENTS, *SAMPLER_NODES, *PRIMITIVES, *IMAGES, *PAID, *PROBES)
}
