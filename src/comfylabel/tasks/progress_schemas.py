"""How far tasks are, as the API shows it."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from comfylabel.tasks.lifecycle import TaskState


class CountsAnswer(BaseModel):
    total: int
    done: int
    running: int
    pending: int
    failed: int


class EtaAnswer(BaseModel):
    low: int
    high: int


class SpeedAnswer(BaseModel):
    """Null where nothing is known or nothing is being made. The range narrows the more was seen.

    `eta_note`: a sentence where tasks of higher priority are made first, which `eta_seconds` counts in; else null.
    """

    images_per_second: float | None
    eta_seconds: EtaAnswer | None
    eta_note: str | None


class PromptProgressAnswer(BaseModel):
    """`text`: the first 300 characters of what the prompt says."""

    prompt_id: UUID
    position: int
    text: str
    done: int
    failed: int
    retries_used: int
    running: int
    pending: int
    reason: str | None


class ReasonAnswer(BaseModel):
    reason: str | None
    prompts: int


class FailureAnswer(BaseModel):
    """How often submissions ended so, retried or not; `words` are for people."""

    kind: str
    words: str
    count: int
    last_message: str
    last_at: datetime


class ProgressAnswer(CountsAnswer, SpeedAnswer):
    """`summary`: "997 of 1000 prompts, 3 failed"; `reasons`: the most frequent ones behind what failed.

    `waiting_for`: why nothing of a running task can be made now, in a sentence.
    """

    per_prompt: list[PromptProgressAnswer]
    state: TaskState
    paused: bool
    priority: int
    ready_batches: int
    summary: str
    waiting_for: str | None
    failures: list[FailureAnswer]
    reasons: list[ReasonAnswer]
    next_cursor: str | None
