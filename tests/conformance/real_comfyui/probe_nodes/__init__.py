"""Nodes that drive a genuine ComfyUI in tests: one that takes its time, one that fails, one that shows text.

`nonce` makes a graph new to the execution cache.
"""

import time
from collections import Counter
from typing import Any, ClassVar

import comfy.model_management
import comfy.utils
import torch

NONCE = ("INT", {"default": 0, "min": 0, "max": 2**53})
TICK_SECONDS = 0.1
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of "
    "23.65 GiB of which 1.20 GiB is free."
)


class ProbeSleep:
    CATEGORY = "probe"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE",),
                "seconds": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 600.0}),
                "interruptible": ("BOOLEAN", {"default": True}),
                "nonce": NONCE,
            }
        }

    def run(self, image: Any, seconds: float, interruptible: bool, nonce: int) -> tuple[Any]:
        del nonce
        if not interruptible:
            time.sleep(seconds)
            return (image,)
        ticks = max(1, int(seconds / TICK_SECONDS))
        progress = comfy.utils.ProgressBar(ticks)
        for _ in range(ticks):
            time.sleep(seconds / ticks)
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update(1)
        return (image,)


class ProbeRaise:
    """With `above`, fails for pictures of more pixels in all and passes the others on: a worker of little memory."""

    CATEGORY = "probe"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    FAILURES: ClassVar[dict[str, Any]] = {
        "value_error": lambda: ValueError("probe value error"),
        "cuda_oom": lambda: torch.cuda.OutOfMemoryError(OUT_OF_MEMORY),
        "accelerator_oom": lambda: torch.AcceleratorError("CUDA error: out of memory"),
        "runtime_error": lambda: RuntimeError("probe runtime error"),
        "file_not_found": lambda: FileNotFoundError("model file vanished"),
        "interrupt": comfy.model_management.InterruptProcessingException,
    }

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {"image": ("IMAGE",), "kind": (list(cls.FAILURES),), "nonce": NONCE},
            "optional": {"above": ("INT", {"default": 0, "min": 0, "max": 2**53})},
        }

    def run(self, image: Any, kind: str, nonce: int, above: int = 0) -> tuple[Any]:
        del nonce
        if image.shape[0] * image.shape[1] * image.shape[2] > above:
            failure = self.FAILURES[kind]()
            raise failure
        return (image,)


class ProbeRaiseAtFirst:
    """Fails so many `times` in the life of the server, for each `nonce`, and passes on what comes then.

    The simulator has none: it is told how often to fail.
    """

    CATEGORY = "probe"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    failed: ClassVar[Counter[int]] = Counter()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE",),
                "kind": (list(ProbeRaise.FAILURES),),
                "times": ("INT", {"default": 1, "min": 0, "max": 2**53}),
                "nonce": NONCE,
            }
        }

    def run(self, image: Any, kind: str, times: int, nonce: int) -> tuple[Any]:
        if self.failed[nonce] < times:
            self.failed[nonce] += 1
            failure = ProbeRaise.FAILURES[kind]()
            raise failure
        return (image,)


class ProbeTextOut:
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"text": ("STRING", {"default": "x"}), "nonce": NONCE}}

    def run(self, text: str, nonce: int) -> dict[str, Any]:
        del nonce
        return {"ui": {"text": [text]}}


NODE_CLASS_MAPPINGS = {
    "ProbeSleep": ProbeSleep,
    "ProbeRaise": ProbeRaise,
    "ProbeRaiseAtFirst": ProbeRaiseAtFirst,
    "ProbeTextOut": ProbeTextOut,
}
NODE_DISPLAY_NAME_MAPPINGS = {"ProbeSleep": "Probe sleep"}
