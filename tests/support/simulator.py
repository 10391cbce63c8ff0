"""Graphs to send to a ComfyUI, real or simulated, and the caption of a simulated picture read back from its pixels."""

from pathlib import Path
from typing import Any

import pyvips

from comfylabel.comfy.graph import Graph
from comfylabel.comfy.simulator.font import GLYPH_HEIGHT, GLYPH_WIDTH, GLYPHS
from comfylabel.comfy.simulator.pictures import CAPTION_MARGIN, caption_grid

# As a person uploads it: what ComfyUI exports.
EXAMPLE_FILE = Path(__file__).parent / "text_to_image_workflow_api.json"
CHECKPOINT = "tiny-random-fp16.safetensors"
WRITTEN = 200  # ink is nearly white, the panel behind it dark
CHARACTERS = {glyph: character for character, glyph in GLYPHS.items()}


def model_free(color: int = 0, *, size: int = 64, batch_size: int = 1, prefix: str = "tests/free") -> Graph:
    """EmptyImage -> SaveImage: no model, done in milliseconds."""
    return {
        "1": node("EmptyImage", width=size, height=size, batch_size=batch_size, color=color),
        "9": node("SaveImage", images=["1", 0], filename_prefix=prefix),
    }


def text_to_image(
    prompt: str = "a cat",
    seed: int = 1,
    *,
    batch_size: int = 1,
    width: int = 64,
    height: int = 64,
    steps: int = 2,
    behavior: str | None = None,
    checkpoint: str = CHECKPOINT,
    prefix: str = "tests/image",
) -> Graph:
    """The usual seven nodes; with `behavior` also a LatentBatchSeedBehavior."""
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "6": node("CLIPTextEncode", clip=["4", 1], text=prompt),
        "7": node("CLIPTextEncode", clip=["4", 1], text="blurry"),
        "5": node("EmptyLatentImage", width=width, height=height, batch_size=batch_size),
        "3": node(
            "KSampler",
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
            seed=seed,
            steps=steps,
            cfg=4.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix=prefix),
    }
    if behavior is not None:
        graph["10"] = node("LatentBatchSeedBehavior", samples=["5", 0], seed_behavior=behavior)
        graph["3"]["inputs"]["latent_image"] = ["10", 0]
    return graph


def slow(seconds: float, *, interruptible: bool = True, nonce: int = 0, prefix: str = "tests/slow") -> Graph:
    """EmptyImage -> ProbeSleep -> SaveImage."""
    return {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color=nonce % 2**24),
        "5": node("ProbeSleep", image=["1", 0], seconds=seconds, interruptible=interruptible, nonce=nonce),
        "9": node("SaveImage", images=["5", 0], filename_prefix=prefix),
    }


def failing(kind: str, *, nonce: int = 0) -> Graph:
    """A PreviewImage that works beside a ProbeRaise that does not."""
    return {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color=nonce % 2**24),
        "5": node("ProbeRaise", image=["1", 0], kind=kind, nonce=nonce),
        "9": node("SaveImage", images=["5", 0], filename_prefix="tests/failing"),
        "10": node("PreviewImage", images=["1", 0]),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def read_caption(image: bytes) -> list[str]:
    """The lines written on a simulated picture: "simulated", the prompt, "seed S #batch_index"."""
    picture = pyvips.Image.new_from_buffer(image, "").extract_band(1)
    pixels, width = picture.write_to_memory(), picture.width
    across, scale = caption_grid(width, picture.height)
    lines: list[str] = []
    top = picture.height - GLYPH_HEIGHT * scale
    while top >= 0:
        rows = [pixels[(top + row * scale) * width :][:width:scale] for row in range(GLYPH_HEIGHT)]
        lines.insert(0, _read_line(rows, across))
        if lines[0] == "simulated":
            return lines
        top -= GLYPH_HEIGHT * scale
    raise AssertionError(f"no caption; read {lines}")


def _read_line(rows: list[bytes], across: int) -> str:
    found = []
    for place in range(across):
        start = CAPTION_MARGIN + place * GLYPH_WIDTH
        cell = tuple(bytes(255 if dot > WRITTEN else 0 for dot in row[start : start + GLYPH_WIDTH]) for row in rows)
        found.append(CHARACTERS.get(cell, "\0"))
    return "".join(found).rstrip()
