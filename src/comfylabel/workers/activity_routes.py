"""HTTP of what workers have done lately."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from comfylabel.accounts.dependencies import Operator
from comfylabel.http.envelope import Envelope, ok
from comfylabel.workers.activity import MINUTES, WorkerActivity, answer

router = APIRouter(prefix="/api/workers", tags=["workers"])


class GapCountAnswer(BaseModel):
    """Pauses up to so many milliseconds and above the entry before; null: all that are longer."""

    le_ms: int | None
    count: int


class GapAnswer(BaseModel):
    """How long it stood still between two of our jobs while work was waiting, by its own clock; of all times."""

    p50_ms: float | None
    p95_ms: float | None
    histogram: list[GapCountAnswer]


class WorkerActivityAnswer(BaseModel):
    """`utilisation`: the share of the minutes in which it computed, from 0 to 1, null where it does not say;
    `failures`: how many of each kind, of all times.
    """

    worker_id: UUID
    name: str
    utilisation: float | None
    images_per_second: float | None
    submissions: int
    images: int
    failures: dict[str, int]
    gap: GapAnswer


async def _activity(request: Request) -> WorkerActivity:
    service: WorkerActivity = request.app.state.activity
    return service


@router.get("/activity", response_model=Envelope[list[WorkerActivityAnswer]])
async def list_activity(
    _: Operator,
    activity: Annotated[WorkerActivity, Depends(_activity)],
    minutes: Annotated[int, Query(ge=1, le=1440)] = MINUTES,
) -> Response:
    """What each worker did in the last minutes, and how long it ever waited for us."""
    return ok([answer(of) for of in await activity.of_all(minutes)])
