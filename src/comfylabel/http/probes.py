"""For whoever watches the process: is it alive, and can it serve?"""

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import Unavailable
from comfylabel.http.envelope import Envelope, ok

router = APIRouter(tags=["probes"])

_PATIENCE_SECONDS = 2.0


class ProbeAnswer(BaseModel):
    status: str


@router.get("/healthz", response_model=Envelope[ProbeAnswer])
async def healthz() -> Response:
    """The process answers; nothing is asked of the database, so its outage restarts no server."""
    return ok({"status": "alive"})


@router.get("/readyz", response_model=Envelope[ProbeAnswer])
async def readyz(request: Request) -> Response:
    """The database answers too: send traffic here."""
    database: Database = request.app.state.database
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), database.connection() as connection:
            await connection.fetchval("select 1")
    except AWAY:
        raise Unavailable("The database does not answer.") from None
    return ok({"status": "ready"})
