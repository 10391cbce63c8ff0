"""Tasks, prompts and pilots as the API shows them. Pure: rows in, JSON values out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from comfylabel.generations.failures import TaskFailure
from comfylabel.generations.progress import FailureReason, PromptProgress, Totals
from comfylabel.http.pagination import encode_cursor
from comfylabel.tasks.outlook import Speed
from comfylabel.tasks.plan import chunks
from comfylabel.tasks.schemas import Pilot, PilotImage, Prompt, Task


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task with a page of its prompts; more follow after `next_position`."""

    task: Task
    prompts: Sequence[Prompt]
    next_position: int | None
    pilot: Pilot | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """As the list shows it."""

    task: Task
    totals: Totals
    speed: Speed


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """Of a task, with a page of its prompts; more follow after `next_position`. `waiting_for`: why nothing of it can
    be made now.
    """

    task: Task
    totals: Totals
    speed: Speed
    prompts: Sequence[PromptProgress]
    reasons: Sequence[FailureReason]
    failures: Sequence[TaskFailure]
    waiting_for: str | None
    next_position: int | None


@dataclass(frozen=True, slots=True)
class PilotView:
    task: Task
    pilot: Pilot
    images: Sequence[PilotImage]


def position_cursor(position: int | None) -> str | None:
    return None if position is None else encode_cursor({"position": position})


def task(view: TaskView) -> dict[str, Any]:
    return {
        **task_settings(view.task),
        "prompts": [{"id": prompt.id, "text": prompt.text, "variables": prompt.variables} for prompt in view.prompts],
        "seeds": [[seed.value for seed in prompt.seeds] for prompt in view.prompts],
        "next_cursor": position_cursor(view.next_position),
        "pilot": pilot_summary(view.task, view.pilot),
        "overrides": view.task.overrides,
    }


def task_settings(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "state": task.state,
        "workflow_id": task.workflow_id,
        "notes": task.notes,
        "target_prompts": task.target_prompts,
        "seeds_per_prompt": task.seeds_per_prompt,
        "variable_pool_ids": list(task.variable_pool_ids),
        "variable_pool_version": task.variable_pool_version,
        "seed_mode": task.seed_mode,
        "chunks": chunks(task.seeds_per_prompt, task.batch_size),
        "overlap": task.overlap,
        "blind": task.blind,
        "priority": task.priority,
        "ab_test_id": task.ab_test_id,
        "paused": task.paused_at is not None,
        "digest": task.digest,
        "end_reason": task.end_reason,
        "created_at": task.created_at,
        "frozen_at": task.frozen_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
    }


def task_row(row: TaskRow) -> dict[str, Any]:
    return {**task_settings(row.task), "progress": row.totals.counts.to_json(), **row.speed.to_json()}


def prompt(prompt: Prompt) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "text": prompt.text,
        "variables": prompt.variables,
        "seeds": [seed.value for seed in prompt.seeds],
        "edited": prompt.edited,
    }


def frozen(task: Task, pilot: Pilot | None) -> dict[str, Any]:
    return {
        "state": task.state,
        "frozen_at": task.frozen_at,
        "digest": task.digest,
        "overrides": task.overrides,
        "chunks": chunks(task.seeds_per_prompt, task.batch_size),
        "pilot": pilot_summary(task, pilot),
    }


def pilot_summary(task: Task, pilot: Pilot | None) -> dict[str, Any] | None:
    if pilot is None:
        return None
    return {
        "id": pilot.id,
        "state": pilot.state,
        "void": pilot.edits != task.edits,
        "retries_used": pilot.retries_used,
        "overrides": pilot.overrides,
        "ended_at": pilot.ended_at,
    }


def pilot(view: PilotView, signed_url: Callable[[str], str]) -> dict[str, Any]:
    pilot = view.pilot
    return {
        "id": pilot.id,
        "state": pilot.state,
        "void": pilot.edits != view.task.edits,
        "samples": [_sample(image, signed_url) for image in view.images],
        "worker_id": pilot.worker_id,
        "retries_used": pilot.retries_used,
        "ladder": pilot.ladder,
        "overrides": pilot.overrides,
        "heaviest": pilot.heaviest,
        "forecast": pilot.forecast and {**_NOT_FORECAST, **pilot.forecast},
        "error": pilot.error
        and {"code": pilot.error["code"], "error": pilot.error["message"], "data": pilot.error.get("data")},
    }


# What pilots did not measure yet when theirs was written down.
_NOT_FORECAST: dict[str, Any] = {"by_batch_size": {}, "batch_size": None, "vram": None, "notes": []}


def _sample(image: PilotImage, signed_url: Callable[[str], str]) -> dict[str, Any]:
    return {
        "uri": signed_url(image.image_key),
        "seed": image.seed,
        "prompt_id": image.prompt_id,
        "width": image.width,
        "height": image.height,
        "thumbnail": signed_url(image.thumbnail_key) if image.thumbnail_key else None,
    }


def progress(view: TaskProgress) -> dict[str, Any]:
    return {
        **view.totals.counts.to_json(),
        "per_prompt": [row.to_json() for row in view.prompts],
        "state": view.task.state,
        "paused": view.task.paused_at is not None,
        "priority": view.task.priority,
        "ready_batches": view.totals.ready_batches,
        "summary": view.totals.summary,
        **view.speed.to_json(),
        "waiting_for": view.waiting_for,
        "failures": [_failure(failure) for failure in view.failures],
        "reasons": view.reasons,
        "next_cursor": position_cursor(view.next_position),
    }


def _failure(failure: TaskFailure) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "words": failure.words,
        "count": failure.count,
        "last_message": failure.last_message,
        "last_at": failure.last_at,
    }
