"""HTTP in and out of tasks."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from comfylabel.accounts.dependencies import Operator
from comfylabel.http.envelope import Envelope, ok
from comfylabel.http.pagination import decode_cursor, encode_cursor
from comfylabel.storage.signing import Signer
from comfylabel.tasks import answers
from comfylabel.tasks.pilot_service import PilotService, raise_what_ended
from comfylabel.tasks.progress_schemas import ProgressAnswer
from comfylabel.tasks.progress_service import ProgressService
from comfylabel.tasks.prompts_repository import BEFORE_FIRST
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.schemas import (
    CancelledAnswer,
    FrozenAnswer,
    NewPrompt,
    NewTask,
    PausedAnswer,
    PilotAnswer,
    PromptChanges,
    PromptPageAnswer,
    PromptWithSeedsAnswer,
    RunningAnswer,
    TaskAnswer,
    TaskChanges,
    TaskPageAnswer,
    TaskWorkerAnswer,
)
from comfylabel.tasks.service import CANCELLED, TaskService
from comfylabel.tasks.task_workers import TaskWorkers

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

# PostgreSQL's int: a forged cursor beyond it is refused, not a failure.
_LARGEST_POSITION = 2**31 - 1


async def _tasks(request: Request) -> TaskService:
    service: TaskService = request.app.state.tasks
    return service


async def _prompts(request: Request) -> PromptService:
    service: PromptService = request.app.state.prompts
    return service


async def _pilots(request: Request) -> PilotService:
    service: PilotService = request.app.state.pilots
    return service


async def _progress(request: Request) -> ProgressService:
    service: ProgressService = request.app.state.progress
    return service


async def _task_workers(request: Request) -> TaskWorkers:
    workers: TaskWorkers = request.app.state.task_workers
    return workers


async def _after_position(cursor: str | None = None) -> int:
    position = decode_cursor(cursor, {"position": _position})
    return position["position"] if position else BEFORE_FIRST


def _position(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_POSITION:
        raise ValueError(value)
    return value


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


Tasks = Annotated[TaskService, Depends(_tasks)]
Prompts = Annotated[PromptService, Depends(_prompts)]
Pilots = Annotated[PilotService, Depends(_pilots)]
Progress = Annotated[ProgressService, Depends(_progress)]
Workers = Annotated[TaskWorkers, Depends(_task_workers)]
AfterPosition = Annotated[int, Depends(_after_position)]
Limit = Annotated[int, Query(ge=1, le=10_000)]
ShortLimit = Annotated[int, Query(ge=1, le=200)]


# --- tasks


@router.post("", status_code=201, response_model=Envelope[TaskAnswer])
async def create_task(body: NewTask, tasks: Tasks, operator: Operator, limit: Limit = 1000) -> Response:
    """K unique prompts with N seeds each, in DRAFT; the answer holds the first `limit` of them."""
    task_id = await tasks.create_task(body, operator)
    view = await tasks.view(task_id, after_position=BEFORE_FIRST, limit=limit)
    return ok(answers.task(view), status=201)


@router.get("", response_model=Envelope[TaskPageAnswer])
async def list_tasks(progress: Progress, _: Operator, cursor: str | None = None, limit: ShortLimit = 50) -> Response:
    """The newest first."""
    position = decode_cursor(cursor, {"created_at": _moment, "id": UUID})
    before = (position["created_at"], position["id"]) if position else None
    rows, more = await progress.newest(before, limit)
    last = rows[-1].task if rows and more else None
    return ok(
        {
            "items": [answers.task_row(row) for row in rows],
            "next_cursor": encode_cursor({"created_at": last.created_at, "id": last.id}) if last else None,
        }
    )


@router.get("/{task_id}", response_model=Envelope[TaskAnswer])
async def get_task(task_id: UUID, tasks: Tasks, _: Operator, after: AfterPosition, limit: Limit = 1000) -> Response:
    """With `limit` prompts and their seeds from where `cursor` points (fewer where that is over 100 000 seeds)."""
    return ok(answers.task(await tasks.view(task_id, after_position=after, limit=limit)))


@router.patch("/{task_id}", response_model=Envelope[TaskAnswer])
async def change_task(task_id: UUID, body: TaskChanges, tasks: Tasks, _: Operator, limit: Limit = 1000) -> Response:
    """Notes, overlap, blind and priority, in every state."""
    await tasks.change(task_id, body)
    return ok(answers.task(await tasks.view(task_id, after_position=BEFORE_FIRST, limit=limit)))


# --- prompts


@router.get("/{task_id}/prompts", response_model=Envelope[PromptPageAnswer])
async def list_prompts(
    task_id: UUID, prompts: Prompts, _: Operator, after: AfterPosition, limit: Limit = 1000
) -> Response:
    page, next_position = await prompts.page(task_id, after_position=after, limit=limit)
    return ok(
        {
            "items": [answers.prompt(prompt) for prompt in page],
            "next_cursor": answers.position_cursor(next_position),
        }
    )


@router.post("/{task_id}/prompts", status_code=201, response_model=Envelope[PromptWithSeedsAnswer])
async def add_prompt(task_id: UUID, body: NewPrompt, prompts: Prompts, _: Operator) -> Response:
    """One more prompt at the end, in DRAFT; seeds left out are drawn."""
    return ok(answers.prompt(await prompts.add(task_id, body)), status=201)


@router.patch("/{task_id}/prompts/{prompt_id}", response_model=Envelope[PromptWithSeedsAnswer])
async def change_prompt(task_id: UUID, prompt_id: UUID, body: PromptChanges, prompts: Prompts, _: Operator) -> Response:
    """Text or seeds, in DRAFT; voids the pilot."""
    return ok(answers.prompt(await prompts.change(task_id, prompt_id, body)))


@router.delete("/{task_id}/prompts/{prompt_id}", response_model=Envelope[None])
async def delete_prompt(task_id: UUID, prompt_id: UUID, prompts: Prompts, _: Operator) -> Response:
    """With its seeds, in DRAFT; voids the pilot."""
    await prompts.delete(task_id, prompt_id)
    return ok(None)


# --- pilot


@router.post(
    "/{task_id}/pilot",
    response_model=Envelope[PilotAnswer],
    responses={202: {"model": Envelope[PilotAnswer], "description": "At work still; `Location` shows it"}},
)
async def start_pilot(
    task_id: UUID,
    request: Request,
    pilots: Pilots,
    _: Operator,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:
    """Ten samples at the largest size that fits, and a forecast. Under `Prefer: respond-async`, 202 at once."""
    pilot = await pilots.start(task_id)
    if not _respond_async(prefer):
        pilot = await pilots.wait(pilot.id)
    raise_what_ended(pilot)
    view = await pilots.view(task_id)
    answer = answers.pilot(view, _signer(request).signed_url)
    if pilot.state == "running":
        return ok(answer, status=202, headers={"location": f"/api/tasks/{task_id}/pilot"})
    return ok(answer)


@router.get("/{task_id}/pilot", response_model=Envelope[PilotAnswer])
async def get_pilot(task_id: UUID, request: Request, pilots: Pilots, _: Operator) -> Response:
    """The last one; void after an edit."""
    return ok(answers.pilot(await pilots.view(task_id), _signer(request).signed_url))


def _respond_async(prefer: str | None) -> bool:
    return "respond-async" in [part.strip().lower() for part in (prefer or "").split(",")]


def _signer(request: Request) -> Signer:
    signer: Signer = request.app.state.signer
    return signer


# --- freeze, run, pause, resume, cancel, progress


@router.post("/{task_id}/freeze", response_model=Envelope[FrozenAnswer])
async def freeze_task(task_id: UUID, tasks: Tasks, operator: Operator) -> Response:
    """Locks prompts, seeds and workflow for good."""
    task, pilot = await tasks.freeze(task_id, operator)
    return ok(answers.frozen(task, pilot))


@router.post("/{task_id}/run", response_model=Envelope[RunningAnswer])
async def run_task(task_id: UUID, tasks: Tasks, operator: Operator) -> Response:
    """Starts, or resumes what is missing. 409 when no healthy worker can run the workflow."""
    state, workers = await tasks.run(task_id, operator)
    return ok({"state": state, "worker_ids": [worker.id for worker in workers]})


@router.post("/{task_id}/pause", response_model=Envelope[PausedAnswer])
async def pause_task(task_id: UUID, tasks: Tasks, operator: Operator) -> Response:
    """Nothing new is sent; what runs ends and is kept. Again changes nothing."""
    return ok({"state": await tasks.pause(task_id, operator), "paused": True})


@router.post("/{task_id}/resume", response_model=Envelope[PausedAnswer])
async def resume_task(task_id: UUID, tasks: Tasks, operator: Operator) -> Response:
    """Goes on at once. Of a task that is not paused it changes nothing."""
    return ok({"state": await tasks.resume(task_id, operator), "paused": False})


@router.post("/{task_id}/cancel", response_model=Envelope[CancelledAnswer])
async def cancel_task(task_id: UUID, tasks: Tasks, operator: Operator) -> Response:
    """Nothing more is made; images that are done stay and can be labelled."""
    return ok({"state": await tasks.cancel(task_id, operator), "end_reason": CANCELLED})


@router.get("/{task_id}/progress", response_model=Envelope[ProgressAnswer])
async def get_progress(
    task_id: UUID,
    progress: Progress,
    _: Operator,
    after: AfterPosition,
    limit: Annotated[int, Query(ge=0, le=10_000)] = 1000,
    only: Literal["failed"] | None = None,
) -> Response:
    """`only=failed` leaves out the prompts of which no image was given up."""
    view = await progress.of_task(task_id, after_position=after, limit=limit, only_failed=only == "failed")
    return ok(answers.progress(view))


@router.get("/{task_id}/workers", response_model=Envelope[list[TaskWorkerAnswer]])
async def list_task_workers(task_id: UUID, workers: Workers, _: Operator) -> Response:
    """Who can make its images, and what they lack; who does, and how fast. In every state."""
    return ok(await workers.of_task(task_id))


@router.get("/{task_id}/snapshot", response_class=StreamingResponse)
async def get_snapshot(task_id: UUID, tasks: Tasks, _: Operator) -> StreamingResponse:
    """The canonical document of a frozen task, byte for byte; its SHA-256 is the task's `digest`."""
    task, pieces = await tasks.snapshot(task_id)
    return StreamingResponse(
        pieces,
        media_type="application/json",
        headers={
            "etag": f'"{task.digest}"',
            "content-disposition": f'attachment; filename="task-{task_id}-snapshot.json"',
        },
    )
