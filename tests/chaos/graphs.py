"""The workflows of the runs: small pictures, one that makes seeds natively in batches and one that loops over them."""

from typing import Any


def native(size: int = 64) -> dict[str, Any]:
    graph = looped(size)
    graph["10"] = _node("LatentBatchSeedBehavior", samples=["5", 0], seed_behavior="random")
    graph["3"]["inputs"]["latent_image"] = ["10", 0]
    return graph


def looped(size: int = 64) -> dict[str, Any]:
    return {
        "4": _node("CheckpointLoaderSimple", ckpt_name="sdxl-simulated.safetensors"),
        "5": _node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "6": _node("CLIPTextEncode", text="a photo of {subject}", clip=["4", 1]),
        "7": _node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "3": _node(
            "KSampler",
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
            seed=1,
            steps=2,
            cfg=4.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": _node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
    }


def foreign(nonce: int) -> dict[str, Any]:
    """What a stranger sends to the same worker."""
    graph = looped()
    graph["6"]["inputs"]["text"] = "of a stranger"
    graph["3"]["inputs"]["seed"] = nonce
    return graph


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
