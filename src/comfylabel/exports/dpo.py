"""From a judged batch to a line of a DPO data set. Pure.

The stream of a whole task is made by the database itself (repository.py) and says the same, line for line: a test holds
the two against each other on random tasks.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

SCHEMA_VERSION = 1

Profile = Literal["default", "full"]


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What all lines of a task share."""

    task_id: UUID
    workflow_id: UUID
    model: str
    variable_pool_version: str
    snapshot_digest: str
    seed_mode: str


@dataclass(frozen=True, slots=True)
class Candidate:
    generation_id: UUID
    index: int
    uri: str
    seed: int
    batch_index: int
    batch_size: int
    sha256: str
    bytes: int | None
    width: int | None
    height: int | None
    worker_id: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """`chosen` and `rejected` are candidate indexes; a choice always has the first."""

    id: UUID
    kind: Literal["choice", "tie", "spam", "skip"]
    chosen: int | None
    rejected: int | None
    surplus: bool
    user_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    batch_id: UUID
    prompt: str
    variables: dict[str, str]
    ready: bool
    spam: bool
    candidates: Sequence[Candidate]
    answers: Sequence[Answer]


class LeftOut(StrEnum):
    """Why a batch has no line."""

    NOT_READY = "not_ready"
    SPAM = "spam"
    UNANSWERED = "unanswered"
    SKIPPED = "skipped"
    TIE = "tie"
    DRAW = "draw"
    SINGLE_IMAGE = "single_image"


@dataclass(frozen=True, slots=True)
class Decision:
    """`answers` are those that decided: they chose the winner."""

    chosen: Candidate
    rejected: list[Candidate]
    answers: list[Answer]


def to_line(
    batch: JudgedBatch, task: TaskFacts, profile: Profile = "default", pseudonym_key: str = ""
) -> dict[str, Any] | LeftOut:
    """Exactly seven keys; `full` adds to them and to the images, and renames nothing."""
    decision = decide(batch)
    if isinstance(decision, LeftOut):
        return decision
    full = profile == "full"
    line: dict[str, Any] = {
        "prompt": batch.prompt,
        "chosen": _image(decision.chosen, full=full),
        "rejected": [_image(candidate, full=full) for candidate in decision.rejected],
        "workflow_id": str(task.workflow_id),
        "model": task.model,
        "variable_pool_version": task.variable_pool_version,
        "created_at": _second(max(answer.created_at for answer in decision.answers)),
    }
    if full:
        line |= _provenance(batch, task, decision.answers, pseudonym_key)
    return line


def decide(batch: JudgedBatch) -> Decision | LeftOut:
    """Most votes for one image win. Rejected is the image that all who chose the winner named, else all others."""
    if not batch.ready:
        return LeftOut.NOT_READY
    if batch.spam:
        return LeftOut.SPAM
    votes: defaultdict[int, list[Answer]] = defaultdict(list)
    for answer in batch.answers:
        if answer.kind == "choice" and answer.chosen is not None and not answer.surplus:
            votes[answer.chosen].append(answer)
    if not votes:
        return _why_nothing_counts(batch.answers)
    most = max(map(len, votes.values()))
    winners = [index for index, answers in votes.items() if len(answers) == most]
    if len(winners) > 1:
        return LeftOut.DRAW
    if len(batch.candidates) < 2:  # noqa: PLR2004 - a preference needs two images
        return LeftOut.SINGLE_IMAGE
    winner, answers = winners[0], sorted(votes[winners[0]], key=lambda answer: answer.id)
    named = {answer.rejected for answer in answers}
    all_name_one = len(named) == 1 and None not in named
    return Decision(
        chosen=next(candidate for candidate in batch.candidates if candidate.index == winner),
        rejected=[
            candidate
            for candidate in batch.candidates
            if (candidate.index in named if all_name_one else candidate.index != winner)
        ],
        answers=answers,
    )


def pseudonym(pseudonym_key: str, user_id: UUID) -> str:
    """The same person in all lines of a task; nobody without the key can say who, or find them in another task."""
    return hashlib.sha256(f"{pseudonym_key}{user_id}".encode()).hexdigest()[:16]


def _why_nothing_counts(answers: Sequence[Answer]) -> LeftOut:
    kinds = {answer.kind for answer in answers if not answer.surplus}
    if "tie" in kinds:
        return LeftOut.TIE
    return LeftOut.SKIPPED if "skip" in kinds else LeftOut.UNANSWERED


def _image(candidate: Candidate, *, full: bool) -> dict[str, Any]:
    image: dict[str, Any] = {"uri": candidate.uri, "seed": candidate.seed}
    if full:
        image |= {
            "batch_index": candidate.batch_index,
            "batch_size": candidate.batch_size,
            "sha256": candidate.sha256,
            "bytes": candidate.bytes,
            "width": candidate.width,
            "height": candidate.height,
            "generation_id": str(candidate.generation_id),
            "worker_id": str(candidate.worker_id),
        }
    return image


def _provenance(batch: JudgedBatch, task: TaskFacts, answers: Sequence[Answer], pseudonym_key: str) -> dict[str, Any]:
    return {
        "task_id": str(task.task_id),
        "batch_id": str(batch.batch_id),
        "annotation_ids": [str(answer.id) for answer in answers],
        "votes": len(answers),
        "annotator": pseudonym(pseudonym_key, answers[0].user_id),
        "snapshot_digest": task.snapshot_digest,
        "seed_mode": task.seed_mode,
        # A string: its keys differ from task to task, and readers of JSON lines want one type per key.
        "variables_json": json.dumps(batch.variables, ensure_ascii=False),
        "schema_version": SCHEMA_VERSION,
    }


def _second(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
