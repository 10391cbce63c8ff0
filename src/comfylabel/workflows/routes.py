"""HTTP in and out of workflows."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from comfylabel.accounts.dependencies import Admin, Operator
from comfylabel.errors import InvalidField, InvalidInput, TooLarge
from comfylabel.http.envelope import Envelope, ok
from comfylabel.workflows.repository import nodes_of
from comfylabel.workflows.schemas import (
    Metadata,
    Workflow,
    WorkflowAnswer,
    WorkflowChange,
    WorkflowDetail,
    WorkflowList,
)
from comfylabel.workflows.service import WorkflowService

# The largest published workflow has 0.4 MB.
MAX_FILE_BYTES = 10 * 2**20
_MAX_METADATA_BYTES = 2**20
# Both parts, and what multipart puts around them.
_MAX_BODY_BYTES = MAX_FILE_BYTES + _MAX_METADATA_BYTES + 2**16

router = APIRouter(prefix="/api/workflows", tags=["workflows"])


async def _service(request: Request) -> WorkflowService:
    service: WorkflowService = request.app.state.workflows
    return service


Service = Annotated[WorkflowService, Depends(_service)]

# Its parts are the same models as in a PATCH, so the document names them there.
_METADATA = Metadata.model_json_schema(ref_template="#/components/schemas/{model}")
_METADATA.pop("$defs", None)
_UPLOADED_PARTS = {
    "type": "object",
    "required": ["workflow", "metadata"],
    "properties": {
        "workflow": {
            "type": "string",
            "format": "binary",
            "description": "workflow_api.json: a graph in API format, at most 10 MB",
        },
        "metadata": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": _METADATA,
        },
    },
}
_UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _UPLOADED_PARTS}}}}


@router.post("", status_code=201, response_model=Envelope[WorkflowAnswer], openapi_extra=_UPLOAD)
async def upload_workflow(request: Request, service: Service, _: Admin) -> Response:
    """Validates a graph and keeps it, or says why not and keeps nothing. Bindings left out are looked for."""
    file, metadata = await _read_upload(request.headers, request.stream())
    workflow, proposed = await service.create(file=file, metadata=metadata)
    return ok(_answer(workflow, proposed), status=201)


@router.get("", response_model=Envelope[WorkflowList])
async def list_workflows(
    service: Service, _: Operator, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> Response:
    """Newest first."""
    rows, next_cursor = await service.list_workflows(cursor=cursor, limit=limit)
    return ok({"items": rows, "next_cursor": next_cursor})


@router.get("/{workflow_id}", response_model=Envelope[WorkflowDetail])
async def get_workflow(workflow_id: uuid.UUID, service: Service, _: Operator) -> Response:
    """With its graph."""
    workflow = await service.get(workflow_id)
    return ok(_answer(workflow) | {"raw_definition": workflow.raw_definition})


@router.patch("/{workflow_id}", response_model=Envelope[WorkflowAnswer])
async def change_workflow(workflow_id: uuid.UUID, body: WorkflowChange, service: Service, _: Admin) -> Response:
    """Other bindings or lower limits, until a task uses the workflow."""
    return ok(_answer(await service.change(workflow_id, body)))


def _answer(workflow: Workflow, proposed: Sequence[str] | None = None) -> dict[str, Any]:
    if proposed is None:
        found = (line.message for line in workflow.report if line.code == "binding_found")
        proposed = [message.split(" ", 1)[0] for message in found]
    return {
        "id": workflow.id,
        "name": workflow.name,
        "version": workflow.version,
        "model": workflow.model,
        "max_batch_size": workflow.max_batch_size,
        "prompt_nodes": nodes_of(workflow.bindings.prompt),
        "seed_nodes": nodes_of(workflow.bindings.seed),
        "forbidden_nodes": [],
        "status": workflow.status,
        "seed_mode": workflow.seed_mode,
        "bindings": workflow.bindings.to_json(),
        "proposed": proposed,
        "limits": workflow.limits.to_json(),
        "report": [asdict(line) for line in workflow.report],
        "validated_at": workflow.validated_at,
        "created_at": workflow.created_at,
    }


async def _read_upload(headers: Headers, body: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """(workflow file, metadata); stops reading at the limit, whatever the headers promised."""
    if "multipart/form-data" not in headers.get("content-type", ""):
        raise InvalidInput("Send the workflow as multipart/form-data.", code="not_multipart")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > _MAX_BODY_BYTES:
        raise _too_large()
    parser = MultiPartParser(headers, _limited(body), max_files=2, max_fields=2, max_part_size=MAX_FILE_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(f"The upload cannot be read: {error.message}", code="not_multipart") from error
    try:
        parts = {name: await _bytes_of(value) for name, value in form.multi_items()}
    finally:
        await form.close()
    for name in ("workflow", "metadata"):
        if name not in parts:
            raise InvalidField(name, "is required: a part of the upload")
    if len(parts["workflow"]) > MAX_FILE_BYTES or len(parts["metadata"]) > _MAX_METADATA_BYTES:
        raise _too_large()
    return parts["workflow"], parts["metadata"]


async def _limited(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in body:
        received += len(chunk)
        if received > _MAX_BODY_BYTES:
            raise _too_large()
        yield chunk


async def _bytes_of(value: UploadFile | str) -> bytes:
    return value.encode() if isinstance(value, str) else await value.read()


def _too_large() -> TooLarge:
    return TooLarge(f"A workflow file may have at most {MAX_FILE_BYTES // 2**20} MB.")
