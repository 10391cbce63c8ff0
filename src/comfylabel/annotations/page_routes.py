"""GET /label/{task_id}: the labelling page with its first batch in it, so that pictures come before any script runs."""

import asyncio
import re
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from fastapi import APIRouter, Request, Response

from comfylabel.accounts.service import SESSION_COOKIE, AccountService
from comfylabel.annotations.dispenser import Dispenser
from comfylabel.annotations.first_page import first_links, first_pictures
from comfylabel.annotations.service import AnnotationService
from comfylabel.db.pool import AWAY
from comfylabel.errors import ComfyLabelError
from comfylabel.http.guards import seen_origin
from comfylabel.http.pages import Pages

log = structlog.get_logger(__name__)

router = APIRouter(include_in_schema=False)

# What the person holds already, up to this many: the script asks for the rest while these are looked at.
BATCHES = 4
# The plain page is better than a long wait for the full one.
PATIENCE_SECONDS = 2.0
_TASK_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LABEL_PAGE = "src/label/LabelPage.tsx"


@router.api_route("/label/{task_id}", methods=["GET", "HEAD"])
async def label_page(request: Request, task_id: str) -> Response:
    """Leases nothing and writes nothing. Whatever is in the way, the plain page comes and says so by itself."""
    pages: Pages = request.app.state.pages
    first = await _first_or_none(request, task_id)
    if first is None:
        return pages.answer(request.url.path)
    pictures = first_pictures(first["next"], request.cookies.get("tile"))
    links = first_links(pages.code_links(_LABEL_PAGE), pictures, seen_origin.get())
    return pages.with_first(first, {"Link": links} if links else {})


async def _first_or_none(request: Request, task_id: str) -> dict[str, Any] | None:
    if not _TASK_ID.fullmatch(task_id):
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _first(request, UUID(task_id))
    except ComfyLabelError:
        return None  # no such task, or nothing in it to label
    except (*AWAY, asyncpg.PostgresError) as error:
        log.warning("database_away", path=request.url.path, error=repr(error))
        return None


async def _first(request: Request, task_id: UUID) -> dict[str, Any] | None:
    accounts: AccountService = request.app.state.accounts
    annotations: AnnotationService = request.app.state.annotations
    dispenser: Dispenser = request.app.state.dispenser
    principal = await accounts.principal(session=request.cookies.get(SESSION_COOKIE), token=None)
    if principal is None:
        return None
    return {
        "me": {"id": principal.user_id, "name": principal.name, "role": principal.role},
        "task": await annotations.labelling_task(principal, task_id),
        "next": await dispenser.peek(principal, task_id, limit=BATCHES),
    }
