"""Writes a checkpoint of random weights that ComfyUI's ordinary loader takes for a Stable Diffusion 1.5: a UNet of one
level, a TAESD decoder and the usual CLIP text encoder, 303 MB. Its pictures are noise that depends on the seed.

Runs with torch and safetensors only: python tiny_checkpoint.py OUT.safetensors
"""

import sys
from collections.abc import Iterable

import torch
from safetensors.torch import save_file

CHANNELS, TIME, CONTEXT = 320, 1280, 768  # of the UNet, its time embedding and the text it looks at
WIDTH, MLP, LAYERS, TOKENS, POSITIONS = 768, 3072, 12, 49408, 77  # of the text encoder
TAESD_GAIN = 1.4  # keeps the decoder's noise from fading to grey

Shapes = dict[str, tuple[int, ...]]


def main(path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def fill(prefix: str, shapes: Shapes, gain: float = 1.0) -> None:
        for name, shape in shapes.items():
            tensors[prefix + name] = _weights(name, shape, gain, generator)

    fill("model.diffusion_model.", unet())
    fill("first_stage_model.", taesd(), TAESD_GAIN)
    tensors["first_stage_model.vae_scale"] = torch.tensor(1.0)
    tensors["first_stage_model.vae_shift"] = torch.tensor(0.0)
    fill("cond_stage_model.transformer.text_model.", text_encoder())
    save_file(tensors, path, metadata={"note": "random weights, for tests only"})


def _weights(name: str, shape: tuple[int, ...], gain: float, generator: torch.Generator) -> torch.Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.float16)
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.float16)
    fan_in = torch.Size(shape[1:]).numel()
    return (torch.randn(shape, generator=generator) * (gain / fan_in**0.5)).to(torch.float16)


def unet() -> Shapes:
    shapes: Shapes = {}
    shapes |= _layer("time_embed.0", (TIME, CHANNELS)) | _layer("time_embed.2", (TIME, TIME))
    shapes |= _layer("input_blocks.0.0", (CHANNELS, 4, 3, 3))
    shapes |= _residual("input_blocks.1.0", CHANNELS) | _attention("input_blocks.1.1")
    shapes |= _residual("middle_block.0", CHANNELS) | _attention("middle_block.1")
    shapes |= _residual("middle_block.2", CHANNELS)
    for block in (0, 1):
        shapes |= _residual(f"output_blocks.{block}.0", 2 * CHANNELS) | _attention(f"output_blocks.{block}.1")
    return shapes | _layer("out.0", (CHANNELS,)) | _layer("out.2", (4, CHANNELS, 3, 3))


def _residual(name: str, channels_in: int) -> Shapes:
    shapes = _layer(f"{name}.in_layers.0", (channels_in,))
    shapes |= _layer(f"{name}.in_layers.2", (CHANNELS, channels_in, 3, 3))
    shapes |= _layer(f"{name}.emb_layers.1", (CHANNELS, TIME))
    shapes |= _layer(f"{name}.out_layers.0", (CHANNELS,))
    shapes |= _layer(f"{name}.out_layers.3", (CHANNELS, CHANNELS, 3, 3))
    if channels_in != CHANNELS:
        shapes |= _layer(f"{name}.skip_connection", (CHANNELS, channels_in, 1, 1))
    return shapes


def _attention(name: str) -> Shapes:
    block = f"{name}.transformer_blocks.0"
    shapes = _layer(f"{name}.norm", (CHANNELS,)) | _layer(f"{name}.proj_in", (CHANNELS, CHANNELS, 1, 1))
    for part, width in (("attn1", CHANNELS), ("attn2", CONTEXT)):
        shapes[f"{block}.{part}.to_q.weight"] = (CHANNELS, CHANNELS)
        shapes[f"{block}.{part}.to_k.weight"] = (CHANNELS, width)
        shapes[f"{block}.{part}.to_v.weight"] = (CHANNELS, width)
        shapes |= _layer(f"{block}.{part}.to_out.0", (CHANNELS, CHANNELS))
    shapes |= _layer(f"{block}.ff.net.0.proj", (8 * CHANNELS, CHANNELS))
    shapes |= _layer(f"{block}.ff.net.2", (CHANNELS, 4 * CHANNELS))
    for number in (1, 2, 3):
        shapes |= _layer(f"{block}.norm{number}", (CHANNELS,))
    return shapes | _layer(f"{name}.proj_out", (CHANNELS, CHANNELS, 1, 1))


def taesd() -> Shapes:
    shapes = _layer("taesd_encoder.0", (64, 3, 3, 3)) | _layer("taesd_encoder.14", (4, 64, 3, 3))
    shapes |= _layer("taesd_decoder.1", (64, 4, 3, 3)) | _layer("taesd_decoder.19", (3, 64, 3, 3))
    shapes |= _taesd_blocks("taesd_encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13))
    shapes |= _taesd_blocks("taesd_decoder", (3, 4, 5, 8, 9, 10, 13, 14, 15, 18))
    for name in ("encoder.2", "encoder.6", "encoder.10", "decoder.7", "decoder.12", "decoder.17"):
        shapes[f"taesd_{name}.weight"] = (64, 64, 3, 3)
    return shapes


def _taesd_blocks(name: str, numbers: Iterable[int]) -> Shapes:
    shapes: Shapes = {}
    for number in numbers:
        for part in (0, 2, 4):
            shapes |= _layer(f"{name}.{number}.conv.{part}", (64, 64, 3, 3))
    return shapes


def text_encoder() -> Shapes:
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (TOKENS, WIDTH),
        "embeddings.position_embedding.weight": (POSITIONS, WIDTH),
    }
    for layer in range(LAYERS):
        for part in ("q", "k", "v", "out"):
            shapes |= _layer(f"encoder.layers.{layer}.self_attn.{part}_proj", (WIDTH, WIDTH))
        shapes |= _layer(f"encoder.layers.{layer}.mlp.fc1", (MLP, WIDTH))
        shapes |= _layer(f"encoder.layers.{layer}.mlp.fc2", (WIDTH, MLP))
        for number in (1, 2):
            shapes |= _layer(f"encoder.layers.{layer}.layer_norm{number}", (WIDTH,))
    return shapes | _layer("final_layer_norm", (WIDTH,))


def _layer(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


if __name__ == "__main__":
    main(sys.argv[1])
