"""HTTP in and out of variable pools."""

import uuid
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from comfylabel.accounts.dependencies import Admin, Operator
from comfylabel.http.envelope import Envelope, ok
from comfylabel.variable_pools.schemas import (
    NewVariablePool,
    NewVersion,
    Sample,
    VariablePoolDetail,
    VariablePoolList,
    VariablePoolSummary,
)
from comfylabel.variable_pools.service import VariablePoolService

router = APIRouter(prefix="/api/variable-pools", tags=["variable pools"])


async def _service(request: Request) -> VariablePoolService:
    service: VariablePoolService = request.app.state.variable_pools
    return service


Service = Annotated[VariablePoolService, Depends(_service)]
Limit = Annotated[int, Query(ge=1, le=10_000)]
# As any seed: exact in every JSON reader.
_LARGEST_SEED = 2**53 - 1


@router.post("", status_code=201, response_model=Envelope[VariablePoolSummary])
async def create_variable_pool(body: NewVariablePool, service: Service, _: Admin) -> Response:
    row = await service.create(name=body.name, mode=body.mode, items=body.items)
    return ok(row, status=201)


@router.get("", response_model=Envelope[VariablePoolList])
async def list_variable_pools(
    service: Service,
    _: Operator,
    name: str | None = None,
    cursor: str | None = None,
    limit: Limit = 1000,
) -> Response:
    """The newest version of every pool, by name; with `name`, all versions of that one."""
    rows, next_cursor = await service.list_pools(name=name, cursor=cursor, limit=limit)
    return ok({"items": rows, "next_cursor": next_cursor})


@router.get("/{pool_id}", response_model=Envelope[VariablePoolDetail])
async def get_variable_pool(
    pool_id: uuid.UUID, service: Service, _: Operator, cursor: str | None = None, limit: Limit = 1000
) -> Response:
    row, items, next_cursor = await service.get(pool_id, cursor=cursor, limit=limit)
    return ok(asdict(row) | {"items": items, "next_cursor": next_cursor})


@router.post("/{pool_id}/versions", status_code=201, response_model=Envelope[VariablePoolSummary])
async def add_variable_pool_version(pool_id: uuid.UUID, body: NewVersion, service: Service, _: Admin) -> Response:
    """The next version of this pool; tasks made from an older one keep that."""
    row = await service.add_version(pool_id, mode=body.mode, items=body.items)
    return ok(row, status=201)


@router.get("/{pool_id}/sample", response_model=Envelope[Sample])
async def sample_variable_pool(
    pool_id: uuid.UUID,
    service: Service,
    _: Operator,
    count: Annotated[int, Query(ge=1, le=10_000)],
    sampling_seed: Annotated[int | None, Query(ge=0, le=_LARGEST_SEED)] = None,
) -> Response:
    """`count` items as a task would draw them; nothing is used up."""
    return ok(await service.sample(pool_id, count=count, sampling_seed=sampling_seed))
