"""The node classes that an ordinary image workflow uses, in our own words: loaders, texts, latents, samplers."""

import sys
from typing import Any

from comfylabel.comfy.simulator.node_class import NodeClass, choice_v3, files_of, number
from comfylabel.comfy.simulator.pictures import Picture
from comfylabel.comfy.simulator.values import Guider, Job, Latent, Noise

MAX_SIDE = 16384
MAX_SEED = 2**64 - 1
SEED = number("INT", 0, 0, MAX_SEED, control_after_generate=True, tooltip="Chooses the noise.")
SAMPLERS = [
    *("euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive"),
    *("dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddpm", "lcm", "ipndm"),
    *("deis", "res_multistep", "gradient_estimation", "er_sde", "seeds_2", "seeds_3", "ddim", "uni_pc"),
]
SCHEDULERS = [
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal"),
    *("linear_quadratic", "kl_optimal"),
]
SAMPLING = {
    "steps": number("INT", 20, 1, 10000, tooltip="How many steps the sampler takes."),
    "cfg": number("FLOAT", 8.0, 0.0, 100.0, step=0.1, round=0.01, tooltip="How closely to follow the text."),
    "sampler_name": [SAMPLERS, {"tooltip": "The sampler."}],
    "scheduler": [SCHEDULERS, {"tooltip": "How the noise is spread over the steps."}],
}
CONDITIONS = {"positive": ["CONDITIONING", {}], "negative": ["CONDITIONING", {}]}
SIZE = {
    "width": number("INT", 512, 16, MAX_SIDE, step=8, tooltip="Width in pixels."),
    "height": number("INT", 512, 16, MAX_SIDE, step=8, tooltip="Height in pixels."),
    "batch_size": number("INT", 1, 1, 4096, tooltip="How many images in one batch."),
}
SIZE_16 = SIZE | {
    "width": number("INT", 1024, 16, MAX_SIDE, step=16),
    "height": number("INT", 1024, 16, MAX_SIDE, step=16),
}


async def load_checkpoint(_: Job, ckpt_name: str) -> tuple[Any, ...]:
    return ckpt_name, ckpt_name, ckpt_name


async def load_one(_: Job, **names: str) -> tuple[Any, ...]:
    return ("+".join(str(name) for name in names.values()),)


async def load_lora(_: Job, model: Any, clip: Any, **__: Any) -> tuple[Any, ...]:
    return model, clip


async def pass_model(_: Job, model: Any, **__: Any) -> tuple[Any, ...]:
    return (model,)


async def pass_clip(_: Job, clip: Any, **__: Any) -> tuple[Any, ...]:
    return (clip,)


async def encode_text(_: Job, text: str, clip: Any) -> tuple[Any, ...]:  # noqa: ARG001 - a link that must be there
    return (text,)


async def no_text(_: Job, conditioning: str) -> tuple[Any, ...]:  # noqa: ARG001 - as above
    return ("",)


async def join_texts(_: Job, **texts: str) -> tuple[Any, ...]:
    return (" ".join(text for text in texts.values() if text),)


async def pass_conditioning(_: Job, conditioning: str, **__: Any) -> tuple[Any, ...]:
    return (conditioning,)


async def pass_conditionings(_: Job, positive: str, negative: str, **__: Any) -> tuple[Any, ...]:
    return positive, negative


async def empty_latent(_: Job, width: int, height: int, batch_size: int) -> tuple[Any, ...]:
    return (Latent((Picture(width // 8 * 8, height // 8 * 8),) * batch_size),)


async def seed_behavior(_: Job, samples: Latent, seed_behavior: str) -> tuple[Any, ...]:
    """`random` only forgets the indexes; `fixed` gives every image the noise of the first."""
    fixed = (samples.noise_indexes[0],) * len(samples.pictures)
    return (Latent(samples.pictures, fixed if seed_behavior == "fixed" else None),)


async def from_batch(_: Job, samples: Latent, batch_index: int, length: int) -> tuple[Any, ...]:
    count = len(samples.pictures)
    start = min(count - 1, batch_index) % count
    chosen = slice(start, min(count, start + length))
    return (Latent(samples.pictures[chosen], samples.noise_indexes[chosen]),)


async def repeat_batch(_: Job, samples: Latent, amount: int) -> tuple[Any, ...]:
    return (Latent(samples.pictures * amount),)


async def sample(job: Job, *, latent_image: Latent, positive: str, seed: int, steps: int, **__: Any) -> tuple[Any, ...]:
    await job.sample(latent_image, steps)
    return (_sampled(latent_image, positive, seed),)


async def sample_advanced(
    job: Job, *, latent_image: Latent, positive: str, noise_seed: int, steps: int, add_noise: str, **__: Any
) -> tuple[Any, ...]:
    await job.sample(latent_image, steps)
    if add_noise == "disable":  # the second of two samplers: the noise is that of the first
        return (latent_image,)
    return (_sampled(latent_image, positive, noise_seed),)


async def sample_custom(
    job: Job, *, noise: Noise, guider: Guider, sampler: str, sigmas: int, latent_image: Latent
) -> tuple[Any, ...]:
    del sampler
    await job.sample(latent_image, sigmas)
    sampled = _sampled(latent_image, guider.positive, noise.seed)
    return sampled, sampled


def _sampled(latent: Latent, prompt: str, seed: int) -> Latent:
    return Latent(
        tuple(
            Picture(blank.width, blank.height, prompt, seed, index)
            for blank, index in zip(latent.pictures, latent.noise_indexes, strict=True)
        ),
        latent.batch_index,
    )


async def random_noise(_: Job, noise_seed: int) -> tuple[Any, ...]:
    return (Noise(noise_seed),)


async def basic_guider(_: Job, model: Any, conditioning: str) -> tuple[Any, ...]:  # noqa: ARG001 - as above
    return (Guider(conditioning),)


async def cfg_guider(_: Job, model: Any, positive: str, negative: str, cfg: float) -> tuple[Any, ...]:  # noqa: ARG001 - as above
    return (Guider(positive),)


async def schedule(_: Job, steps: int, **__: Any) -> tuple[Any, ...]:
    return (steps,)


async def decode(_: Job, samples: Latent, vae: Any) -> tuple[Any, ...]:  # noqa: ARG001 - as above
    return (samples.pictures,)


async def encode_pixels(_: Job, pixels: tuple[Picture, ...], vae: Any) -> tuple[Any, ...]:  # noqa: ARG001 - as above
    return (Latent(pixels),)


async def value(_: Job, value: Any) -> tuple[Any, ...]:
    return (value,)


async def concatenate(_: Job, string_a: str, string_b: str, delimiter: str) -> tuple[Any, ...]:
    return (f"{string_a}{delimiter}{string_b}",)


LOADERS = (
    NodeClass(
        "CheckpointLoaderSimple", load_checkpoint, {"ckpt_name": files_of("checkpoints", "The checkpoint file.")},
        ("MODEL", "CLIP", "VAE"), category="loaders", display_name="Load Checkpoint",
    ),
    NodeClass(
        "UNETLoader", load_one,
        {
            "unet_name": files_of("diffusion_models", "The diffusion model file."),
            "weight_dtype": [["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]],
        },
        ("MODEL",), category="advanced/loaders", display_name="Load Diffusion Model",
    ),
    NodeClass(
        "CLIPLoader", load_one,
        {
            "clip_name": files_of("text_encoders", "The text encoder file."),
            "type": [["stable_diffusion", "sd3", "flux", "qwen_image", "wan"]],
        },
        ("CLIP",), category="advanced/loaders", display_name="Load CLIP",
        optional={"device": [["default", "cpu"], {"advanced": True}]},
    ),
    NodeClass(
        "DualCLIPLoader", load_one,
        {
            "clip_name1": files_of("text_encoders", "The first text encoder file."),
            "clip_name2": files_of("text_encoders", "The second text encoder file."),
            "type": [["sdxl", "sd3", "flux", "hunyuan_video"]],
        },
        ("CLIP",), category="advanced/loaders", display_name="DualCLIPLoader",
        optional={"device": [["default", "cpu"], {"advanced": True}]},
    ),
    NodeClass(
        "VAELoader", load_one, {"vae_name": files_of("vae", "The VAE file.")}, ("VAE",),
        category="loaders", display_name="Load VAE",
    ),
    NodeClass(
        "LoraLoader", load_lora,
        {
            "model": ["MODEL", {}],
            "clip": ["CLIP", {}],
            "lora_name": files_of("loras", "The LoRA file."),
            "strength_model": number("FLOAT", 1.0, -100.0, 100.0, step=0.01),
            "strength_clip": number("FLOAT", 1.0, -100.0, 100.0, step=0.01),
        },
        ("MODEL", "CLIP"), category="loaders", display_name="Load LoRA",
    ),
    NodeClass(
        "ControlNetLoader", load_one, {"control_net_name": files_of("controlnet", "The ControlNet file.")},
        ("CONTROL_NET",), category="loaders", display_name="Load ControlNet Model",
    ),
    NodeClass(
        "CLIPSetLastLayer", pass_clip,
        {"clip": ["CLIP", {}], "stop_at_clip_layer": number("INT", -1, -24, -1)},
        ("CLIP",), category="conditioning", display_name="CLIP Set Last Layer",
    ),
    NodeClass(
        "ModelSamplingFlux", pass_model,
        {
            "model": ["MODEL", {}],
            "max_shift": number("FLOAT", 1.15, 0.0, 100.0),
            "base_shift": number("FLOAT", 0.5, 0.0, 100.0),
            "width": SIZE_16["width"],
            "height": SIZE_16["height"],
        },
        ("MODEL",), category="advanced/model",
    ),
)  # fmt: skip

TEXTS = (
    NodeClass(
        "CLIPTextEncode", encode_text,
        {
            "text": ["STRING", {"multiline": True, "dynamicPrompts": True, "tooltip": "The text."}],
            "clip": ["CLIP", {"tooltip": "The text encoder."}],
        },
        ("CONDITIONING",), category="conditioning", display_name="CLIP Text Encode (Prompt)",
    ),
    NodeClass(
        "ConditioningZeroOut", no_text, {"conditioning": ["CONDITIONING"]}, ("CONDITIONING",),
        category="advanced/conditioning",
    ),
    NodeClass(
        "ConditioningCombine", join_texts,
        {"conditioning_1": ["CONDITIONING"], "conditioning_2": ["CONDITIONING"]},
        ("CONDITIONING",), category="conditioning", display_name="Conditioning (Combine)",
    ),
    NodeClass(
        "FluxGuidance", pass_conditioning,
        {"conditioning": ["CONDITIONING", {}], "guidance": number("FLOAT", 3.5, 0.0, 100.0, step=0.1)},
        ("CONDITIONING",), category="advanced/conditioning/flux", schema_v3=True,
    ),
    NodeClass(
        "ControlNetApply", pass_conditioning,
        {
            "conditioning": ["CONDITIONING"],
            "control_net": ["CONTROL_NET"],
            "image": ["IMAGE"],
            "strength": number("FLOAT", 1.0, 0.0, 10.0, step=0.01),
        },
        ("CONDITIONING",), category="conditioning/controlnet", display_name="Apply ControlNet (OLD)",
    ),
    NodeClass(
        "ControlNetApplyAdvanced", pass_conditionings,
        CONDITIONS
        | {
            "control_net": ["CONTROL_NET"],
            "image": ["IMAGE"],
            "strength": number("FLOAT", 1.0, 0.0, 10.0, step=0.01),
            "start_percent": number("FLOAT", 0.0, 0.0, 1.0, step=0.001),
            "end_percent": number("FLOAT", 1.0, 0.0, 1.0, step=0.001),
        },
        ("CONDITIONING", "CONDITIONING"), ("positive", "negative"), optional={"vae": ["VAE"]},
        category="conditioning/controlnet", display_name="Apply ControlNet",
    ),
)  # fmt: skip

LATENTS = (
    NodeClass(
        "EmptyLatentImage", empty_latent, SIZE, ("LATENT",), category="latent", display_name="Empty Latent Image"
    ),
    NodeClass(
        "EmptySD3LatentImage", empty_latent, SIZE_16, ("LATENT",), category="latent/sd3", schema_v3=True
    ),
    NodeClass(
        "LatentBatchSeedBehavior", seed_behavior,
        {"samples": ["LATENT", {}], "seed_behavior": choice_v3(["random", "fixed"], "fixed")},
        ("LATENT",), category="latent/advanced", schema_v3=True,
    ),
    NodeClass(
        "LatentFromBatch", from_batch,
        {
            "samples": ["LATENT"],
            "batch_index": number("INT", 0, -MAX_SIDE, MAX_SIDE),
            "length": number("INT", 1, 1, 64),
        },
        ("LATENT",), category="latent/batch", display_name="Latent From Batch",
        required_in_0_3={"batch_index": number("INT", 0, 0, 63)},
    ),
    NodeClass(
        "RepeatLatentBatch", repeat_batch, {"samples": ["LATENT"], "amount": number("INT", 1, 1, 64)},
        ("LATENT",), category="latent/batch", display_name="Repeat Latent Batch",
    ),
    NodeClass(
        "VAEDecode", decode, {"samples": ["LATENT", {}], "vae": ["VAE", {}]}, ("IMAGE",),
        category="latent", display_name="VAE Decode",
    ),
    NodeClass(
        "VAEEncode", encode_pixels, {"pixels": ["IMAGE"], "vae": ["VAE"]}, ("LATENT",),
        category="latent", display_name="VAE Encode",
    ),
)  # fmt: skip

SAMPLER_NODES = (
    NodeClass(
        "KSampler", sample,
        {"model": ["MODEL", {}], "seed": SEED, **SAMPLING, **CONDITIONS, "latent_image": ["LATENT", {}],
         "denoise": number("FLOAT", 1.0, 0.0, 1.0, step=0.01)},
        ("LATENT",), category="sampling", samples=True,
    ),
    NodeClass(
        "KSamplerAdvanced", sample_advanced,
        {"model": ["MODEL"], "add_noise": [["enable", "disable"]], "noise_seed": SEED, **SAMPLING, **CONDITIONS,
         "latent_image": ["LATENT"], "start_at_step": number("INT", 0, 0, 10000),
         "end_at_step": number("INT", 10000, 0, 10000),
         "return_with_leftover_noise": [["disable", "enable"]]},
        ("LATENT",), category="sampling", display_name="KSampler (Advanced)", samples=True,
    ),
    NodeClass(
        "RandomNoise", random_noise, {"noise_seed": SEED}, ("NOISE",),
        category="sampling/custom_sampling/noise", schema_v3=True,
    ),
    NodeClass(
        "BasicGuider", basic_guider, {"model": ["MODEL", {}], "conditioning": ["CONDITIONING", {}]}, ("GUIDER",),
        category="sampling/custom_sampling/guiders", schema_v3=True,
    ),
    NodeClass(
        "CFGGuider", cfg_guider, {"model": ["MODEL", {}], **CONDITIONS, "cfg": SAMPLING["cfg"]}, ("GUIDER",),
        category="sampling/custom_sampling/guiders", schema_v3=True,
    ),
    NodeClass(
        "KSamplerSelect", load_one, {"sampler_name": choice_v3(SAMPLERS, "euler")}, ("SAMPLER",),
        category="sampling/custom_sampling/samplers", schema_v3=True,
    ),
    NodeClass(
        "BasicScheduler", schedule,
        {"model": ["MODEL", {}], "scheduler": choice_v3(SCHEDULERS, "simple"), "steps": SAMPLING["steps"],
         "denoise": number("FLOAT", 1.0, 0.0, 1.0, step=0.01)},
        ("SIGMAS",), category="sampling/custom_sampling/schedulers", schema_v3=True,
    ),
    NodeClass(
        "SamplerCustomAdvanced", sample_custom,
        {"noise": ["NOISE", {}], "guider": ["GUIDER", {}], "sampler": ["SAMPLER", {}], "sigmas": ["SIGMAS", {}],
         "latent_image": ["LATENT", {}]},
        ("LATENT", "LATENT"), ("output", "denoised_output"), category="sampling/custom_sampling", schema_v3=True,
        samples=True,
    ),
)  # fmt: skip

PRIMITIVES = (
    NodeClass("PrimitiveString", value, {"value": ["STRING", {"multiline": False}]}, ("STRING",),
              category="utils/primitive", display_name="String", schema_v3=True),
    NodeClass("PrimitiveStringMultiline", value, {"value": ["STRING", {"multiline": True}]}, ("STRING",),
              category="utils/primitive", display_name="String (Multiline)", schema_v3=True),
    NodeClass("PrimitiveInt", value,
              {"value": number("INT", 0, -sys.maxsize, sys.maxsize, control_after_generate=True)},
              ("INT",), category="utils/primitive", display_name="Int", schema_v3=True),
    NodeClass("PrimitiveFloat", value, {"value": number("FLOAT", 0.0, -sys.maxsize, sys.maxsize)}, ("FLOAT",),
              category="utils/primitive", display_name="Float", schema_v3=True),
    NodeClass("PrimitiveBoolean", value, {"value": ["BOOLEAN", {}]}, ("BOOLEAN",),
              category="utils/primitive", display_name="Boolean", schema_v3=True),
    NodeClass("StringConcatenate", concatenate,
              {"string_a": ["STRING", {"multiline": True}], "string_b": ["STRING", {"multiline": True}],
               "delimiter": ["STRING", {"default": ""}]},
              ("STRING",), category="utils/string", display_name="Concatenate", schema_v3=True),
)  # fmt: skip
