"""A task, its prompts and its pilots; the bodies of the routes and the shapes of their answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.plan import MAX_TEXT_LENGTH
from comfylabel.tasks.progress_schemas import CountsAnswer, EtaAnswer, SpeedAnswer
from comfylabel.workers.schemas import Status

SeedMode: TypeAlias = Literal["native", "loop"]
PilotState: TypeAlias = Literal["running", "done", "failed", "cancelled"]


def _without_nul(text: str) -> str:
    """PostgreSQL's text holds no NUL."""
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    return text


Storable = Annotated[str, AfterValidator(_without_nul)]
Text = Annotated[Storable, StringConstraints(min_length=1, max_length=MAX_TEXT_LENGTH)]
Notes = Annotated[Storable, StringConstraints(max_length=20_000)]
Overlap = Annotated[int, Field(strict=True, ge=1, le=100)]
# Below a pilot's own, for which somebody waits in front of a screen.
Priority = Annotated[int, Field(strict=True, ge=-1000, le=1000)]


@dataclass(frozen=True, slots=True)
class Task:
    id: UUID
    workflow_id: UUID
    state: TaskState
    notes: str | None
    target_prompts: int
    seeds_per_prompt: int
    variable_pool_ids: Sequence[UUID]
    variable_pool_version: str
    sampling_seed: int
    seed_mode: SeedMode
    batch_size: int
    overlap: int
    blind: bool
    priority: int
    ab_test_id: UUID | None
    edits: int
    frozen_snapshot: dict[str, Any] | None
    digest: str | None
    end_reason: str | None
    frozen_at: datetime | None
    started_at: datetime | None
    paused_at: datetime | None
    ended_at: datetime | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def overrides(self) -> dict[str, int | None]:
        """What freeze wrote down of the last valid pilot: width, height and batch_size, null where nothing changes."""
        overrides: dict[str, int | None] = (self.frozen_snapshot or {}).get("overrides") or {}
        return overrides


@dataclass(frozen=True, slots=True)
class Seed:
    id: UUID
    value: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """`seeds` in the order of their images."""

    id: UUID
    position: int
    text: str
    variables: dict[str, str]
    edited: bool
    seeds: tuple[Seed, ...]


@dataclass(frozen=True, slots=True)
class Pilot:
    """`edits`: the task's count of edits when it began; void once the task has moved on."""

    id: UUID
    task_id: UUID
    edits: int
    state: PilotState
    worker_id: UUID | None
    retries_used: int
    ladder: list[dict[str, Any]]
    overrides: dict[str, int | None]
    heaviest: dict[str, str] | None
    forecast: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class PilotImage:
    """One finished image of a pilot; the keys are the store's."""

    image_key: str
    thumbnail_key: str | None
    seed: int
    prompt_id: UUID
    width: int | None
    height: int | None


# --- requests


class NewTask(BaseModel):
    """POST /api/tasks; pools by id or by name (a name means its newest version)."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: UUID
    variable_pool_ids: Annotated[list[Annotated[Storable, StringConstraints(max_length=200)]], Field(max_length=20)]
    target_prompts: Annotated[int, Field(strict=True)]
    seeds_per_prompt: Annotated[int, Field(strict=True)]
    notes: Notes | None = None
    overlap: Overlap = 1
    blind: StrictBool = False
    ab_test_id: UUID | None = None


class TaskChanges(BaseModel):
    """PATCH /api/tasks/{id}: what freeze does not lock. `notes: null` clears them."""

    model_config = ConfigDict(extra="forbid")

    notes: Notes | None = None
    overlap: Overlap | None = None
    blind: StrictBool | None = None
    priority: Priority | None = None


SeedList = Annotated[list[Annotated[int, Field(strict=True)]], Field(max_length=1000)]
Variables = Annotated[
    dict[Annotated[Storable, StringConstraints(min_length=1, max_length=200)], Notes],
    Field(max_length=100),
]


class NewPrompt(BaseModel):
    """POST /api/tasks/{id}/prompts; seeds left out are drawn."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    variables: Variables = {}
    seeds: SeedList | None = None


class PromptChanges(BaseModel):
    """PATCH /api/tasks/{id}/prompts/{prompt_id}"""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    seeds: SeedList | None = None


# --- answers


class PromptAnswer(BaseModel):
    id: UUID
    text: str
    variables: dict[str, str]


class PromptWithSeedsAnswer(PromptAnswer):
    seeds: list[int]
    edited: bool


class PromptPageAnswer(BaseModel):
    items: list[PromptWithSeedsAnswer]
    next_cursor: str | None


class OverridesAnswer(BaseModel):
    width: int | None
    height: int | None
    batch_size: int | None


class PilotSummaryAnswer(BaseModel):
    """The last pilot, as a task shows it; `void` after an edit."""

    id: UUID
    state: PilotState
    void: bool
    retries_used: int
    overrides: dict[str, int | None]
    ended_at: datetime | None


class TaskSettingsAnswer(BaseModel):
    """Everything of a task but its prompts."""

    id: UUID
    state: TaskState
    workflow_id: UUID
    notes: str | None
    target_prompts: int
    seeds_per_prompt: int
    variable_pool_ids: list[UUID]
    variable_pool_version: str
    seed_mode: SeedMode
    chunks: list[int]
    overlap: int
    blind: bool
    priority: int
    ab_test_id: UUID | None
    paused: bool
    digest: str | None
    end_reason: str | None
    created_at: datetime
    frozen_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


class TaskAnswer(TaskSettingsAnswer):
    """With the first `limit` prompts and their seeds; `next_cursor` leads to the rest."""

    prompts: list[PromptAnswer]
    seeds: list[list[int]]
    next_cursor: str | None
    pilot: PilotSummaryAnswer | None
    overrides: dict[str, int | None]


class TaskRowAnswer(TaskSettingsAnswer, SpeedAnswer):
    progress: CountsAnswer


class TaskPageAnswer(BaseModel):
    items: list[TaskRowAnswer]
    next_cursor: str | None


class FrozenAnswer(BaseModel):
    """`pilot: null` says that no valid pilot was run: nothing is known about memory and time."""

    state: TaskState
    frozen_at: datetime
    digest: str
    overrides: OverridesAnswer
    chunks: list[int]
    pilot: PilotSummaryAnswer | None


class RunningAnswer(BaseModel):
    state: TaskState
    worker_ids: list[UUID]


class TaskWorkerAnswer(BaseModel):
    """`missing` are nodes and models that it lacks, as far as it was ever asked; `why_not` continues its name, and is
    null when it can make images of this task now. `held`, `images`, `failures` and the pace are this task's,
    `utilisation` is the worker's, of the last ten minutes or since a running task was started.
    """

    worker_id: UUID
    name: str
    status: Status
    enabled: bool
    able: bool
    missing: list[str]
    why_not: str | None
    held: int
    images: int
    failures: int
    images_per_second: float | None
    seconds_per_image: float | None
    utilisation: float | None


class PausedAnswer(BaseModel):
    state: TaskState
    paused: bool


class CancelledAnswer(BaseModel):
    state: TaskState
    end_reason: str


class SampleAnswer(BaseModel):
    uri: str
    seed: int
    prompt_id: UUID
    width: int | None
    height: int | None
    thumbnail: str | None


class RungAnswer(BaseModel):
    width: int | None
    height: int | None
    batch_size: int
    outcome: Literal["ok", "out_of_memory"]


class HeaviestAnswer(BaseModel):
    prompt_id: UUID
    why: str


class VramAnswer(BaseModel):
    """In bytes; `headroom`: `lowest_free` as a share of `total`."""

    total: int
    lowest_free: int
    headroom: float


class ForecastAnswer(BaseModel):
    """The piloted worker's own times, and of the others the pace of images that they made before; null is unknown.

    `by_batch_size`: seconds an image, for each number of images in a submission that was tried; `batch_size`: the one
    that the mass run would send. `notes` say what is not known and what is not counted.
    """

    seconds_per_image: float | None
    by_batch_size: dict[str, float]
    eta_seconds: EtaAnswer | None
    gpu_hours: float | None
    workers: dict[UUID, float | None]
    batch_size: int | None
    vram: VramAnswer | None
    notes: list[str]


class PilotErrorAnswer(BaseModel):
    code: str
    error: str
    data: Any


class PilotAnswer(BaseModel):
    """While it runs, `samples` holds what is there already; `error` says why it failed."""

    id: UUID
    state: PilotState
    void: bool
    samples: list[SampleAnswer]
    worker_id: UUID | None
    retries_used: int
    ladder: list[RungAnswer]
    overrides: dict[str, int | None]
    heaviest: HeaviestAnswer | None
    forecast: ForecastAnswer | None
    error: PilotErrorAnswer | None
