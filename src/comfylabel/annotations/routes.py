"""HTTP of labelling: tasks to label, batches to browse, answers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from comfylabel.accounts.dependencies import Anyone
from comfylabel.annotations.batches import link_header, moment, to_item
from comfylabel.annotations.schemas import (
    AnnotationAnswer,
    BatchesAnswer,
    GenerationAnswer,
    LabellingAnswer,
    LabellingItem,
    NewAnnotation,
)
from comfylabel.annotations.service import AnnotationService
from comfylabel.http.envelope import Envelope, ok
from comfylabel.http.pagination import decode_cursor, encode_cursor

router = APIRouter(prefix="/api", tags=["labelling"])


def _service(request: Request) -> AnnotationService:
    service: AnnotationService = request.app.state.annotations
    return service


Service = Annotated[AnnotationService, Depends(_service)]
Cursor = Annotated[str | None, Query(max_length=1000)]


@router.get("/labelling", response_model=Envelope[LabellingAnswer])
async def list_labelling_tasks(
    principal: Anyone,
    service: Service,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """The tasks that hold something to judge, newest first: what an annotator starts from."""
    read = decode_cursor(cursor, {"at": moment, "id": UUID})
    rows = await service.labelling_tasks(principal, (read["at"], read["id"]) if read else None, limit + 1)
    items = rows[:limit]
    last = items[-1] if len(rows) > limit else None
    next_cursor = encode_cursor({"at": last["created_at"], "id": last["task_id"]}) if last else None
    return ok({"items": items, "next_cursor": next_cursor})


@router.get("/labelling/{task_id}", response_model=Envelope[LabellingItem])
async def read_labelling_task(task_id: UUID, principal: Anyone, service: Service) -> Response:
    """One of them, whatever its state: what a labelling page starts from."""
    return ok(await service.labelling_task(principal, task_id))


@router.get("/tasks/{task_id}/batches", response_model=Envelope[BatchesAnswer])
async def browse_batches(
    request: Request,
    task_id: UUID,
    principal: Anyone,
    service: Service,
    *,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Ready batches in the order in which they became ready. Looking leases nothing."""
    page, hidden = await service.browse(principal, task_id, cursor, limit)
    items = [to_item(row, service.sign, hidden=hidden) for row in page.rows]
    thumbnails = [url for item in items for url in item["thumbnails"]]
    return ok(
        {"items": items, "next_cursor": page.next_cursor, "previous_cursor": page.previous_cursor},
        headers={"link": link_header(request.app.state.signer.origin, thumbnails)},
    )


@router.post("/annotations", response_model=Envelope[AnnotationAnswer])
async def submit_annotation(body: NewAnnotation, principal: Anyone, service: Service) -> Response:
    """One answer to one batch; a second one of the same person replaces it; the first is kept as history."""
    stored = await service.submit(principal, body)
    return ok({"client_id": body.client_id, "status": stored.status, "id": stored.id, "surplus": stored.surplus})


@router.get("/generations/{generation_id}", response_model=Envelope[GenerationAnswer])
async def read_generation(generation_id: UUID, principal: Anyone, service: Service) -> Response:
    return ok(await service.generation(principal, generation_id))
