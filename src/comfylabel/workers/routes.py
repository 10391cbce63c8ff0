"""HTTP of the worker registry."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import aiohttp
from fastapi import APIRouter, Depends, Request, Response

from comfylabel.accounts.dependencies import Admin
from comfylabel.http.envelope import Envelope, ok
from comfylabel.workers.schemas import NewWorker, ProbeAnswer, WorkerAnswer, WorkerChange, WorkerRow
from comfylabel.workers.selection import check_is_fresh
from comfylabel.workers.service import WorkerService

router = APIRouter(prefix="/api/workers", tags=["workers"])


async def _service(request: Request) -> WorkerService:
    service: WorkerService = request.app.state.workers
    return service


async def _session(request: Request) -> aiohttp.ClientSession:
    session: aiohttp.ClientSession = request.app.state.worker_session
    return session


Service = Annotated[WorkerService, Depends(_service)]
Session = Annotated[aiohttp.ClientSession, Depends(_session)]


@router.get("", response_model=Envelope[list[WorkerAnswer]])
async def list_workers(_admin: Admin, service: Service) -> Response:
    return ok([shown(row) for row in await service.rows()])


@router.post("", status_code=201, response_model=Envelope[WorkerAnswer])
async def create_worker(body: NewWorker, admin: Admin, service: Service, session: Session) -> Response:
    """Probed at once: the answer says whether it is healthy."""
    worker = await service.create(admin, body, session)
    return ok(shown(await service.row(worker)), status=201)


@router.patch("/{worker_id}", response_model=Envelope[WorkerAnswer])
async def change_worker(
    worker_id: UUID, body: WorkerChange, admin: Admin, service: Service, session: Session
) -> Response:
    """What is left out stays. `"api_key": null` forgets the key, `"headers": null` all headers and a header's null it;
    another host or port, or http in place of https, forgets all of them.
    """
    worker = await service.change(admin, worker_id, body, session)
    return ok(shown(await service.row(worker)))


@router.delete("/{worker_id}", response_model=Envelope[None])
async def remove_worker(worker_id: UUID, admin: Admin, service: Service) -> Response:
    await service.remove(admin, worker_id)
    return ok(None)


@router.post("/{worker_id}/drain", response_model=Envelope[WorkerAnswer])
async def drain_worker(worker_id: UUID, admin: Admin, service: Service) -> Response:
    """It is disabled, and what waits there of ours is made elsewhere, uncounted. What runs ends and is kept: it may be
    switched off once `held` is 0.
    """
    return ok(shown(await service.drain(admin, worker_id)))


@router.post("/{worker_id}/test", response_model=Envelope[ProbeAnswer])
async def probe_worker(worker_id: UUID, _admin: Admin, service: Service, session: Session) -> Response:
    """200 whatever comes out: the test itself worked."""
    result = await service.test(worker_id, session)
    return ok(
        {
            "healthy": result.healthy,
            "queue": {"pending": result.pending, "running": result.running},
            "reason": result.failure,
        }
    )


def shown(row: WorkerRow) -> dict[str, Any]:
    """Without the key and the headers' values; UNHEALTHY when the last check is too old to mean anything."""
    worker = row.worker
    fresh = check_is_fresh(worker, datetime.now(UTC))
    return {
        "id": worker.id,
        "name": worker.name,
        "base_url": worker.base_url,
        "tags": worker.tags,
        "status": worker.status if fresh else "UNHEALTHY",
        "enabled": worker.enabled,
        "priority": worker.priority,
        "max_concurrent_jobs": worker.max_concurrent_jobs,
        "current_queue_len": worker.current_queue_len,
        "last_checked_at": worker.last_checked_at,
        "reason": worker.reason if fresh or worker.reason else "It has not been checked for 90 s.",
        "comfyui_version": worker.comfyui_version,
        "has_api_key": worker.api_key is not None,
        "header_names": list(worker.header_names),
        "held": row.held,
        "device": worker.device,
        "vram_total": worker.vram_total,
        "vram_free": worker.vram_free,
        "created_at": worker.created_at,
    }
