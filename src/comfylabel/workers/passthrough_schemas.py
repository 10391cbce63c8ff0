"""Bodies and answers of what an admin does to a worker directly."""

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, StrictBool

from comfylabel.comfy.schemas import Outcome

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def _fits_a_path(text: str) -> str:
    """Ours and ComfyUI's own are UUIDs; older servers took any text, which could lead elsewhere in a path."""
    if not _ID.fullmatch(text):
        raise ValueError("must be 1 to 200 letters, digits, hyphens or underscores")
    return text


SubmissionId = Annotated[str, AfterValidator(_fits_a_path)]


class InterruptBody(BaseModel):
    """One of our submissions; with `force` a stranger's, or, without an id, whatever runs."""

    model_config = ConfigDict(extra="forbid")

    submission_id: UUID | None = None
    force: StrictBool = False


class FreeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unload_models: StrictBool = True
    free_memory: StrictBool = True


class InterruptAnswer(BaseModel):
    """`was_running`: when the worker was asked just before. What it means was sent in any case."""

    was_running: bool


class QueuedAnswer(BaseModel):
    """`task_id` of one of ours, be it a pilot's; null of a stranger's."""

    id: str
    ours: bool
    task_id: UUID | None


class WorkerQueueAnswer(BaseModel):
    """In the order of running; of `pending` the first 1000."""

    running: list[QueuedAnswer]
    pending: list[QueuedAnswer]
    pending_count: int


class EntryErrorAnswer(BaseModel):
    node_id: str
    node_type: str
    exception_type: str
    message: str
    out_of_memory: bool


class EntryAnswer(BaseModel):
    """`images`: how many it made; `error` of ours only, without the server's paths."""

    id: str
    ours: bool
    task_id: UUID | None
    outcome: Outcome
    images: int
    seconds: float | None
    error: EntryErrorAnswer | None
