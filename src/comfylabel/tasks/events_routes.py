"""HTTP of live pages: server-sent events of one task, and of all tasks and workers."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from comfylabel.accounts.dependencies import Operator, StillOperator
from comfylabel.http.sse import EventStream
from comfylabel.tasks.live import Live

router = APIRouter(prefix="/api", tags=["live"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Open until one side ends it",
    }
}


async def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


Listening = Annotated[Live, Depends(_live)]


@router.get("/tasks/{task_id}/events", response_class=Response, responses=_STREAM)
async def task_events(task_id: UUID, live: Listening, operator: Operator, allowed: StillOperator) -> Response:
    """`event: progress`, whose data is that of GET .../progress?limit=0: at once, and when it has changed."""
    mailbox = await live.watch_task(task_id, operator.user_id, allowed)
    return EventStream(mailbox, lambda: live.leave(mailbox))


@router.get("/events", response_class=Response, responses=_STREAM)
async def all_events(live: Listening, operator: Operator, allowed: StillOperator) -> Response:
    """`event: task`, whose data is a row of GET /api/tasks, and `event: worker`: at once of the tasks that run and of
    all workers, and then of whatever has changed.
    """
    mailbox = await live.watch_all(operator.user_id, allowed)
    return EventStream(mailbox, lambda: live.leave(mailbox))
