"""HTTP of what an admin does to a worker directly. Looking changes nothing, here nor there."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from comfylabel.accounts.dependencies import Admin
from comfylabel.http.envelope import Envelope, ok
from comfylabel.workers.passthrough import Passthrough
from comfylabel.workers.passthrough_schemas import (
    EntryAnswer,
    FreeBody,
    InterruptAnswer,
    InterruptBody,
    SubmissionId,
    WorkerQueueAnswer,
)

router = APIRouter(prefix="/api/workers", tags=["workers"])


async def _passthrough(request: Request) -> Passthrough:
    passthrough: Passthrough = request.app.state.passthrough
    return passthrough


Service = Annotated[Passthrough, Depends(_passthrough)]


@router.get("/{worker_id}/queue", response_model=Envelope[WorkerQueueAnswer])
async def get_worker_queue(worker_id: UUID, _admin: Admin, service: Service) -> Response:
    """What runs and waits there now, ours and strangers'; no graphs."""
    return ok(await service.queue(worker_id))


@router.get("/{worker_id}/history/{prompt_id}", response_model=Envelope[EntryAnswer])
async def get_worker_history(worker_id: UUID, prompt_id: SubmissionId, _admin: Admin, service: Service) -> Response:
    """How the submission with this id ended there; 404 while it waits or runs, and once the worker has forgotten it."""
    return ok(await service.history(worker_id, prompt_id))


@router.post("/{worker_id}/interrupt", response_model=Envelope[InterruptAnswer])
async def interrupt_worker(worker_id: UUID, body: InterruptBody, admin: Admin, service: Service) -> Response:
    """Stops one of our submissions, which is then made again; `force` for anything else."""
    return ok(await service.interrupt(admin, worker_id, body.submission_id, force=body.force))


@router.post("/{worker_id}/free", response_model=Envelope[None])
async def free_worker(worker_id: UUID, admin: Admin, service: Service, body: FreeBody | None = None) -> Response:
    """Unloads models and empties the cache, once what runs has ended."""
    body = body or FreeBody()
    await service.free(admin, worker_id, unload_models=body.unload_models, free_memory=body.free_memory)
    return ok(None)
