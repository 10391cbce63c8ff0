"""HTTP of labelling: tasks to label, batches to browse, answers."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from comfylabel.accounts.dependencies import Anyone
from comfylabel.accounts.schemas import Principal
from comfylabel.annotations import received
from comfylabel.annotations.batches import link_header, moment, to_item
from comfylabel.annotations.dispenser import Asked, Dispenser
from comfylabel.annotations.leasing_schemas import (
    NextAnswer,
    NextBatches,
    OneBatchItem,
    ReleaseAnswer,
    ReleaseBatches,
)
from comfylabel.annotations.schemas import (
    AnnotationAnswer,
    BatchesAnswer,
    GenerationAnswer,
    LabellingAnswer,
    LabellingItem,
    RefusedAnswer,
)
from comfylabel.annotations.service import AnnotationService
from comfylabel.errors import ComfyLabelError
from comfylabel.http.envelope import Envelope, ok
from comfylabel.http.pagination import decode_cursor, encode_cursor

router = APIRouter(prefix="/api", tags=["labelling"])


async def _service(request: Request) -> AnnotationService:
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


async def _dispenser(request: Request) -> Dispenser:
    dispenser: Dispenser = request.app.state.dispenser
    return dispenser


Dispensing = Annotated[Dispenser, Depends(_dispenser)]


@router.post("/tasks/{task_id}/batches/next", response_model=Envelope[NextAnswer])
async def lease_next_batches(
    task_id: UUID, principal: Anyone, dispenser: Dispensing, body: NextBatches | None = None
) -> Response:
    """Batches for this person alone: what they hold already, then free ones. Asking again is a contact."""
    asked = body or NextBatches()
    return ok(await dispenser.next_batches(principal, task_id, Asked(asked.count, asked.have, asked.offline)))


@router.post("/tasks/{task_id}/batches/release", response_model=Envelope[ReleaseAnswer])
async def release_batches(
    task_id: UUID, principal: Anyone, dispenser: Dispensing, body: ReleaseBatches | None = None
) -> Response:
    """For others, at once: these batches, or all that this person holds in the task."""
    return ok({"released": await dispenser.release(principal, task_id, body.batch_ids if body else None)})


@router.get("/tasks/{task_id}/batches/{batch_id}", response_model=Envelope[OneBatchItem])
async def read_batch(task_id: UUID, batch_id: UUID, principal: Anyone, dispenser: Dispensing) -> Response:
    """One ready batch with fresh image addresses. Looking leases nothing."""
    return ok(await dispenser.batch(principal, task_id, batch_id))


@router.post("/annotations", response_model=Envelope[AnnotationAnswer | list[AnnotationAnswer | RefusedAnswer]])
async def submit_annotations(body: Annotated[received.Body, Body()], principal: Anyone, service: Service) -> Response:
    """One answer to one batch, or one undo; or a list of at most 50 of them, taken one after the other.

    A second answer of the same person to a batch replaces the first, which is kept as history. In a list each has its
    own outcome: one that is refused holds back no other. A list that was cut off may be sent again as it is.
    """
    if not isinstance(body, list):
        given = received.read(body, "body")
        return ok(received.stored(given, await service.submit(principal, given)))
    received.check_length(body)
    return ok([await _outcome(service, principal, element, f"body[{n}]") for n, element in enumerate(body)])


async def _outcome(
    service: AnnotationService, principal: Principal, element: Any, where: str
) -> AnnotationAnswer | RefusedAnswer:
    try:
        given = received.read(element, where)
        return received.stored(given, await service.submit(principal, given))
    except ComfyLabelError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise  # no fault of this answer: the whole list is to be sent again
        return received.refused(element, error)


@router.get("/generations/{generation_id}", response_model=Envelope[GenerationAnswer])
async def read_generation(generation_id: UUID, principal: Anyone, service: Service) -> Response:
    return ok(await service.generation(principal, generation_id))
