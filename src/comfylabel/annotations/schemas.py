"""The bodies of the labelling routes, and the rows behind them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from comfylabel.annotations.answer import Kind

_INT4_MAX = 2**31 - 1


ClientId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class NewAnnotation(BaseModel):
    """Who answers is the signed-in user; `user_id` says whose answer it is, and refuses it when that is another."""

    model_config = ConfigDict(extra="forbid")

    task_id: UUID
    batch_id: UUID
    kind: Kind | None = None
    chosen_index: StrictInt | None = None
    rejected_index: StrictInt | None = None
    spam: StrictBool | None = None
    slot_order: Annotated[list[StrictInt], Field(max_length=1000)] | None = None
    client_id: ClientId | None = None
    user_id: UUID | None = None
    elapsed_ms: Annotated[StrictInt, Field(ge=0, le=_INT4_MAX)] | None = None


class Undo(BaseModel):
    """Takes back the answer that came under the client_id `undo_of`."""

    model_config = ConfigDict(extra="forbid")

    undo_of: ClientId
    client_id: ClientId
    user_id: UUID | None = None


class AnnotationAnswer(BaseModel):
    """`repeated`: this client_id was stored before, and nothing changed. `id` of an undo: what it took back."""

    client_id: str | None
    status: Literal["stored", "repeated"]
    id: UUID
    surplus: bool


class RefusedAnswer(BaseModel):
    """In a list only: the others are stored all the same."""

    client_id: str | None
    status: Literal["refused"]
    code: str
    error: str


class MyAnnotation(BaseModel):
    id: UUID
    kind: Kind
    chosen_index: int | None
    rejected_index: int | None
    spam: bool
    surplus: bool


class BatchItem(BaseModel):
    """Every array is in candidate order. Annotators of a blind task get [] for seeds and batch_indexes.

    `thumbnails` are 256 px wide or high, `tiles` 640 (1024 where an image was made before there were tiles),
    `previews` 1024.
    """

    batch_id: UUID
    prompt: str
    seeds: list[int]
    thumbnails: list[str]
    fullres: list[str]
    tiles: list[str]
    previews: list[str]
    sizes: list[tuple[int, int]]
    batch_indexes: list[int]
    generation_ids: list[UUID]
    my_annotation: MyAnnotation | None


class BatchesAnswer(BaseModel):
    items: list[BatchItem]
    next_cursor: str | None
    previous_cursor: str | None


class LabellingItem(BaseModel):
    """`workflow` is null to the annotators of a blind task: its name often names the model.

    `ab_test` is the name under which a page asks for its variant.
    """

    task_id: UUID
    state: str
    notes: str | None
    workflow: str | None
    ab_test: str | None
    blind: bool
    batches: int
    ready_batches: int
    done_by_me: int
    created_at: datetime


class LabellingAnswer(BaseModel):
    items: list[LabellingItem]
    next_cursor: str | None


class GenerationAnswer(BaseModel):
    """What is not made yet, or hidden by a blind task, is null."""

    id: UUID
    task_id: UUID
    batch_id: UUID | None
    prompt_id: UUID
    prompt: str
    pilot: bool
    state: str
    candidate_index: int | None
    width: int | None
    height: int | None
    bytes: int | None
    sha256: str | None
    thumbnail: str | None
    preview: str | None
    fullres: str | None
    seed: int | None
    batch_index: int | None
    batch_size: int | None
    worker_id: UUID | None
    worker: str | None
    submission_id: UUID | None
    metadata: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LabelledTask:
    """What labelling needs to know of a task."""

    id: UUID
    state: str
    overlap: int
    blind: bool
    ab_test_id: UUID | None


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """`candidates` is None until the batch is ready; `taken` counts the answers that count, and the leases."""

    id: UUID
    task_id: UUID
    prompt_id: UUID
    candidates: int | None
    taken: int
    closed: bool


@dataclass(frozen=True, slots=True)
class StoredAnnotation:
    id: UUID
    user_id: UUID
    kind: Kind
    surplus: bool
    client_id: str | None

    @property
    def counts(self) -> bool:
        return self.kind is not Kind.SKIP and not self.surplus


@dataclass(frozen=True, slots=True)
class Use:
    """What a person has used a client_id for: an answer, or the undo of the answer `client_id`."""

    undo: bool
    batch_id: UUID
    annotation_id: UUID
    client_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """All that bears on one answer, with the batch locked. `images`: those it names, by candidate index; `uses`: of its
    client_id.
    """

    task: LabelledTask
    batch: LabelledBatch | None
    answers: list[StoredAnnotation]
    images: dict[int, UUID]
    variant: str | None
    uses: list[Use]


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """`undone`: nothing of it stands any more; else it stands, or another answer replaced it."""

    task_id: UUID
    batch_id: UUID
    annotation_id: UUID
    undone: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one answer or undo. `frees`: the batch may have a free place now."""

    id: UUID
    status: Literal["stored", "repeated"]
    surplus: bool
    frees: bool = False
