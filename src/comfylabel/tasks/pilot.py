"""Rules of a pilot: what is tried first, which smaller size comes next, which ten samples are made. Pure.

    phase "resolution"  the heaviest prompt at batch size 1; after an out-of-memory error width and height x 0.75
    phase "batch"       native mode only: the planned batch size; after an out-of-memory error half of it
    samples             ten images at the size found, the heaviest prompt's own being the first

At most MAX_RETRIES smaller sizes are tried in both phases together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal, Protocol
from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph, native_size
from comfylabel.tasks.cost import Load, heaviest_first, why, work_of
from comfylabel.tasks.plan import SeedDraw
from comfylabel.tasks.schemas import Prompt

MAX_RETRIES = 3
SAMPLES = 10
SHRINK = 0.75
# What every latent of a diffusion model divides by; also the smallest side that is tried.
SIDE_STEP = 64

Phase = Literal["resolution", "batch"]


@dataclass(frozen=True, slots=True)
class Rung:
    """A size that is tried. None: the workflow does not say the side as a number, so it cannot be lowered."""

    width: int | None
    height: int | None
    batch_size: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rung and how it went, as the answer's `ladder` shows it."""

    rung: Rung
    outcome: Literal["ok", "out_of_memory"]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.rung), "outcome": self.outcome}


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the ten images; `seed_id` is None for a fresh seed, which belongs to no planned image."""

    number: int
    prompt: Prompt
    seed_id: UUID | None
    seed: int


@dataclass(frozen=True, slots=True)
class PilotPlan:
    heaviest: Prompt
    why: str
    first_rung: Rung
    planned_batch_size: int
    can_resize: bool
    samples: tuple[Sample, ...]

    @property
    def is_native(self) -> bool:
        """Whether a native batch has to be tried too."""
        return self.planned_batch_size > 1

    def heaviest_json(self) -> dict[str, str]:
        return {"prompt_id": str(self.heaviest.id), "why": self.why}


class ResolutionLimits(Protocol):
    """The part of a workflow's limits that a pilot obeys."""

    @property
    def allow_dynamic_resolution(self) -> bool: ...


def plan(
    prompts: Sequence[Prompt], graph: Graph, bindings: Bindings, *, planned_batch_size: int, draw: SeedDraw
) -> PilotPlan:
    """`prompts`: the heaviest SAMPLES of the task (or all, when it has fewer), with their seeds."""
    work = work_of(graph, bindings, planned_batch_size)
    loads = heaviest_first(Load(prompt.id, prompt.position, work.amount, len(prompt.text)) for prompt in prompts)
    by_id = {prompt.id: prompt for prompt in prompts}
    ordered = [by_id[load.prompt_id] for load in loads]
    width, height = native_size(graph, bindings)
    return PilotPlan(
        heaviest=ordered[0],
        why=why(loads, work),
        first_rung=Rung(width, height, 1),
        planned_batch_size=planned_batch_size,
        can_resize=width is not None and height is not None,
        samples=sample_plan(ordered, draw),
    )


def sample_plan(heaviest_first: Sequence[Prompt], draw: SeedDraw) -> tuple[Sample, ...]:
    """Ten: each prompt's first seed, then each one's second, ..., then fresh seeds; no (prompt, seed) twice."""
    most_seeds = max(len(prompt.seeds) for prompt in heaviest_first)
    planned = (
        (prompt, prompt.seeds[place])
        for place in range(most_seeds)
        for prompt in heaviest_first
        if place < len(prompt.seeds)
    )
    samples = [
        Sample(number, prompt, seed.id, seed.value)
        for number, (prompt, seed) in enumerate(islice(planned, SAMPLES), start=1)
    ]
    used = {seed.value for prompt in heaviest_first for seed in prompt.seeds}
    fresh = (seed for number in range(SAMPLES + len(used)) if (seed := draw.fresh(number)) not in used)
    while len(samples) < SAMPLES:
        prompt = heaviest_first[len(samples) % len(heaviest_first)]
        samples.append(Sample(len(samples) + 1, prompt, None, next(fresh)))
    return tuple(samples)


def next_rung(rung: Rung, phase: Phase, limits: ResolutionLimits, can_resize: bool) -> Rung | None:
    """The next smaller size after an out-of-memory error at `rung`; None when none is allowed or left."""
    if phase == "batch":
        return Rung(rung.width, rung.height, rung.batch_size // 2) if rung.batch_size > 1 else None
    if not (can_resize and limits.allow_dynamic_resolution) or rung.width is None or rung.height is None:
        return None
    smaller = Rung(_shrunk(rung.width), _shrunk(rung.height), rung.batch_size)
    return smaller if smaller != rung else None


def _shrunk(side: int) -> int:
    """Three quarters, down to a multiple of 64; a side that is small already stays."""
    return max(int(side * SHRINK) // SIDE_STEP * SIDE_STEP, min(side, SIDE_STEP))
