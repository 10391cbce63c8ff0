"""A small /object_info: the classes that the tests wire, described by hand in the shapes that servers use."""

from typing import Any

from comfylabel.comfy.graph import Graph


def classed(
    required: dict[str, Any] | None = None,
    output: list[Any] | None = None,
    *,
    optional: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A class's entry; whatever a server may leave out is left out."""
    inputs = {"required": required or {}}
    if optional:
        inputs["optional"] = optional
    return {"input": inputs, "output": output or [], "output_node": False, "category": "tests", **more}


def number(kind: str = "INT", low: float = 0, high: float = 16384) -> list[Any]:
    return [kind, {"default": low, "min": low, "max": high}]


SEED = number(high=2**64 - 1)
TEXT = ["STRING", {"multiline": True}]
LINE = ["STRING", {"multiline": False}]
MODEL, CLIP, VAE, LATENT, IMAGE, MASK = (["MODEL"], ["CLIP"], ["VAE"], ["LATENT"], ["IMAGE"], ["MASK"])
CONDITIONING = ["CONDITIONING", {"tooltip": "text, encoded"}]
SAMPLER_NAMES = [["euler", "dpmpp_2m"], {}]
SCHEDULERS = ["COMBO", {"options": ["normal", "karras"], "multiselect": False}]
LATENT_SIZE = {"width": number(low=16), "height": number(low=16), "batch_size": number(low=1, high=4096)}

OBJECT_INFO: dict[str, Any] = {
    "CheckpointLoaderSimple": classed({"ckpt_name": [["sdxl.safetensors", "base.ckpt"], {}]}, [*MODEL, *CLIP, *VAE]),
    "UNETLoader": classed({"unet_name": [[], {}]}, MODEL),
    "CLIPLoader": classed({"clip_name": [[], {}], "type": [["sd3", "flux"], {}]}, CLIP),
    "CLIPTextEncode": classed({"text": TEXT, "clip": CLIP}, ["CONDITIONING"]),
    "CLIPTextEncodeFlux": classed({"clip": CLIP, "clip_l": TEXT, "t5xxl": TEXT}, ["CONDITIONING"]),
    "CLIPTextEncodeSDXL": classed(
        {"clip": CLIP, "width": number(), "height": number(), "text_g": TEXT, "text_l": TEXT}, ["CONDITIONING"]
    ),
    "TextEncodePair": classed({"clip": CLIP, "prompt": TEXT, "negative_prompt": TEXT}, ["CONDITIONING"] * 2),
    "ConditioningZeroOut": classed({"conditioning": CONDITIONING}, ["CONDITIONING"]),
    "ConditioningCombine": classed({"conditioning_1": CONDITIONING, "conditioning_2": CONDITIONING}, ["CONDITIONING"]),
    "ControlNetLoader": classed({"control_net_name": [["canny.safetensors"], {}]}, ["CONTROL_NET"]),
    "ControlNetApplyAdvanced": classed(
        {"positive": CONDITIONING, "negative": CONDITIONING, "control_net": ["CONTROL_NET"], "image": IMAGE},
        ["CONDITIONING", "CONDITIONING"],
    ),
    "EmptyLatentImage": classed(LATENT_SIZE, LATENT),
    "LatentBatchSeedBehavior": classed(
        {"samples": LATENT, "seed_behavior": ["COMBO", {"options": ["random", "fixed"]}]}, LATENT
    ),
    "RepeatLatentBatch": classed({"samples": LATENT, "amount": number(low=1, high=64)}, LATENT),
    "LatentUpscaleBy": classed({"samples": LATENT, "scale_by": number("FLOAT")}, LATENT),
    "VAEEncode": classed({"pixels": IMAGE, "vae": VAE}, LATENT),
    "VAEDecode": classed({"samples": LATENT, "vae": VAE}, IMAGE),
    "KSampler": classed(
        {
            "model": MODEL, "seed": SEED, "steps": number(low=1, high=10000), "cfg": number("FLOAT", high=100.0),
            "sampler_name": SAMPLER_NAMES, "scheduler": SCHEDULERS, "positive": CONDITIONING,
            "negative": CONDITIONING, "latent_image": LATENT, "denoise": number("FLOAT", high=1.0),
        },
        LATENT,
    ),
    "KSamplerAdvanced": classed(
        {
            "model": MODEL, "add_noise": [["enable", "disable"], {}], "noise_seed": SEED, "positive": CONDITIONING,
            "negative": CONDITIONING, "latent_image": LATENT,
        },
        LATENT,
    ),
    "SamplerCustomAdvanced": classed(
        {"noise": ["NOISE"], "guider": ["GUIDER"], "sigmas": ["SIGMAS"], "latent_image": LATENT}, [*LATENT, *LATENT]
    ),
    "RandomNoise": classed({"noise_seed": SEED}, ["NOISE"]),
    "DisableNoise": classed({}, ["NOISE"]),
    "BasicGuider": classed({"model": MODEL, "conditioning": CONDITIONING}, ["GUIDER"]),
    "DualCFGGuider": classed(
        {"model": MODEL, "cond1": CONDITIONING, "cond2": CONDITIONING, "negative": CONDITIONING}, ["GUIDER"]
    ),
    "Flux2Scheduler": classed({"steps": number(), "width": number(), "height": number()}, ["SIGMAS"]),
    "LoadImage": classed({"image": [["in.png"], {"image_upload": True}]}, [*IMAGE, *MASK]),
    "EmptyImage": classed({"width": number(), "height": number()}, IMAGE),
    "ImageInvert": classed({"image": IMAGE}, IMAGE),
    "SaveImage": classed({"images": IMAGE, "filename_prefix": LINE}, [], output_node=True),
    "PreviewImage": classed({"images": IMAGE}, [], output_node=True),
    "SaveImageWebsocket": classed({"images": IMAGE}, [], output_node=True),
    "SaveVideo": classed({"video": ["VIDEO"]}, [], output_node=True),
    "PreviewAny": classed({"source": ["*"]}, ["STRING"], output_node=True),
    "PrimitiveStringMultiline": classed({"value": TEXT}, ["STRING"]),
    "PrimitiveInt": classed({"value": number()}, ["INT"]),
    "PrimitiveBoolean": classed({"value": ["BOOLEAN", {}]}, ["BOOLEAN"]),
    "ResolutionSelector": classed({"aspect_ratio": ["COMBO", {"options": ["1:1", "16:9"]}]}, ["INT", "INT"]),
    "StringConcatenate": classed({"string_a": TEXT, "string_b": TEXT, "delimiter": LINE}, ["STRING"]),
    "StringReplace": classed({"string": TEXT, "find": LINE, "replace": TEXT}, ["STRING"]),
    "StringFormat": classed(
        {"values": ["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"value": ["*", {}]}}, "names": ["a", "b"],
                                                       "min": 0}}], "f_string": TEXT},
        ["STRING"],
    ),
    "TextGenerate": classed({"clip": CLIP, "prompt": TEXT}, ["STRING"], optional={"system_prompt": TEXT}),
    "ComfySwitchNode": classed(
        {"switch": ["BOOLEAN", {}], "on_false": ["COMFY_MATCHTYPE_V3", {"lazy": True}],
         "on_true": ["COMFY_MATCHTYPE_V3", {"lazy": True}]},
        ["COMFY_MATCHTYPE_V3"],
    ),
    "BatchImages": classed(
        {"images": ["COMFY_AUTOGROW_V3", {"template": {
            "input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 2, "max": 4}}]},
        IMAGE,
    ),
    "ResizeImage": classed(
        {"input": ["IMAGE,MASK", {}], "resize_type": ["COMFY_DYNAMICCOMBO_V3", {"options": [
            {"key": "by factor", "inputs": {"required": {"factor": number("FLOAT", low=0.01, high=8.0)}}},
            {"key": "to width", "inputs": {"required": {"width": number()}}}]}]},
        ["COMFY_MATCHTYPE_V3"],
    ),
    "PaidImage": classed({"prompt": TEXT}, IMAGE, api_node=True),
    "MaskPreview": classed({"mask": MASK}, [], output_node=True),
    "Image Saver": classed({"images": IMAGE}, [], output_node=True, python_module="custom_nodes.saver"),
    "VHS_VideoCombine": classed({"images": IMAGE}, [], output_node=True, python_module="custom_nodes.video"),
    "OldNode": classed({"image": IMAGE}, IMAGE, deprecated=True),
}  # fmt: skip


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": "a title says nothing"}}


def text_to_image(**changes: Any) -> Graph:
    """The usual seven nodes; a change of a node's number replaces or adds that node: n3=node(...)."""
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sdxl.safetensors"),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "5": node("EmptyLatentImage", width=1024, height=768, batch_size=1),
        "3": node(
            "KSampler", model=["4", 0], seed=1, steps=20, cfg=7.0, sampler_name="euler", scheduler="normal",
            positive=["6", 0], negative=["7", 0], latent_image=["5", 0], denoise=1.0,
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="out"),
    }  # fmt: skip
    return graph | {name.removeprefix("n").replace("_", ":"): value for name, value in changes.items()}


def with_inputs(graph: Graph, node_id: str, **inputs: Any) -> Graph:
    """A copy of the graph in which this node has these inputs too."""
    changed = {**graph[node_id], "inputs": {**graph[node_id]["inputs"], **inputs}}
    return {**graph, node_id: changed}
