"""What the export routes answer. A line itself comes without an envelope: JSON lines."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel

from comfylabel.exports.dpo import LeftOut


class AnswerCounts(BaseModel):
    """`surplus`: beyond the task's overlap, whatever they say; the others count."""

    choice: int
    tie: int
    spam: int
    skip: int
    surplus: int


class DpoSummary(BaseModel):
    """`lines` and all of `left_out` add up to the batches of the task."""

    task_id: UUID
    lines: int
    left_out: dict[LeftOut, int]
    answers: AnswerCounts
    preview: list[dict[str, Any]]
