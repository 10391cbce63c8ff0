"""HTTP of exports."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from comfylabel.accounts.dependencies import Operator
from comfylabel.exports.dpo import Profile
from comfylabel.exports.handover import Handover
from comfylabel.exports.schemas import DpoSummary
from comfylabel.exports.service import ExportService
from comfylabel.http.envelope import Envelope, ok

router = APIRouter(prefix="/api/tasks/{task_id}/export/dpo", tags=["exports"])


async def _service(request: Request) -> ExportService:
    service: ExportService = request.app.state.exports
    return service


Service = Annotated[ExportService, Depends(_service)]


class LinesResponse(StreamingResponse):
    """Lets go of the database at once when the reader has gone."""

    def __init__(self, lines: Handover, headers: dict[str, str]) -> None:
        super().__init__(lines, headers=headers, media_type="application/x-ndjson")
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._lines.leave()


@router.get(
    "",
    status_code=200,
    response_class=LinesResponse,
    responses={200: {"description": "One JSON object a line", "content": {"application/x-ndjson": {}}}},
)
async def export_dpo(
    task_id: UUID,
    _principal: Operator,
    service: Service,
    *,
    profile: Annotated[Profile, Query(description="full adds provenance to the seven keys")] = "default",
    cursor: Annotated[UUID | None, Query(description="batch_id of the last line that was received")] = None,
) -> LinesResponse:
    """Streamed while it is made. An answer that breaks off is not whole: ask again from its last line."""
    lines = await service.dpo_lines(task_id, profile=profile, cursor=cursor)
    suffix = "-full" if profile == "full" else ""
    return LinesResponse(
        lines,
        headers={
            "Content-Disposition": f'attachment; filename="task-{task_id}-dpo{suffix}.jsonl"',
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # a proxy passes lines on as they come
        },
    )


@router.get("/summary", response_model=Envelope[DpoSummary])
async def summarise_dpo(task_id: UUID, _principal: Operator, service: Service) -> Response:
    """How many lines the export has now, and why the other batches have none."""
    return ok(await service.dpo_summary(task_id))
