"""The composition root of the API: settings in, one application out."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.datastructures import State
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import Response

from comfylabel.ab_tests.routes import router as ab_tests_router
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.dependencies import Admin
from comfylabel.accounts.idempotency import Idempotency
from comfylabel.accounts.large_bodies import LargeBodiesFromAdmins
from comfylabel.accounts.routes import router as accounts_router
from comfylabel.accounts.secret_key import secret_key
from comfylabel.accounts.service import SESSION_COOKIE, AccountService
from comfylabel.annotations.dispenser import Dispenser
from comfylabel.annotations.page_routes import router as label_page_router
from comfylabel.annotations.routes import router as annotations_router
from comfylabel.annotations.service import AnnotationService
from comfylabel.comfy.client import worker_session
from comfylabel.comfy.errors import WorkerError
from comfylabel.db.notifications import Notifications
from comfylabel.db.pool import Database
from comfylabel.errors import ComfyLabelError
from comfylabel.exports.routes import router as exports_router
from comfylabel.exports.service import ExportService
from comfylabel.generations.maintenance_routes import router as maintenance_router
from comfylabel.http import error_handler, pages
from comfylabel.http.envelope import ErrorEnvelope
from comfylabel.http.guards import Guard, GuardRules, seen_origin
from comfylabel.http.metrics import CountRequests, Metrics
from comfylabel.http.origins import host_is_loopback
from comfylabel.http.probes import router as probes_router
from comfylabel.settings import Settings
from comfylabel.storage.routes import router as images_router
from comfylabel.storage.signing import Signer
from comfylabel.storage.store import ObjectStore
from comfylabel.tasks.events_routes import router as events_router
from comfylabel.tasks.live import Live
from comfylabel.tasks.measures import Measures
from comfylabel.tasks.pilot_service import PilotService
from comfylabel.tasks.progress_service import ProgressService
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.readiness import Readiness
from comfylabel.tasks.routes import router as tasks_router
from comfylabel.tasks.service import TaskService
from comfylabel.tasks.task_workers import TaskWorkers
from comfylabel.variable_pools.routes import router as variable_pools_router
from comfylabel.variable_pools.service import VariablePoolService
from comfylabel.workers.activity import WorkerActivity
from comfylabel.workers.activity_routes import router as activity_router
from comfylabel.workers.encryption import Vault
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.passthrough import Passthrough
from comfylabel.workers.passthrough_routes import router as passthrough_router
from comfylabel.workers.resolver import GuardedResolver
from comfylabel.workers.routes import router as workers_router
from comfylabel.workers.service import WorkerService
from comfylabel.workflows.routes import router as workflows_router
from comfylabel.workflows.schemas import Ceilings
from comfylabel.workflows.service import WorkflowService

WEB = Path(__file__).parent / "web"
# A workflow's JSON of any honest size, or a pool of a million items; larger bodies are refused in words.
MAX_UPLOAD_BYTES = 64 * 2**20
LARGER_BODIES = {"/api/workflows": MAX_UPLOAD_BYTES, "/api/variable-pools": MAX_UPLOAD_BYTES}
# More than one process can keep busy: it has one core, and a statement takes about a millisecond.
LABELLING_CONNECTIONS = 8
# Lines of an export are many, and a local network is faster than gzip.
NOT_WORTH_COMPRESSING = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/x-ndjson", "application/jsonl")


class OpenDoor(ComfyLabelError):
    """auth=off is allowed on a loopback address only."""

    code = "open_door"


def create_app(settings: Settings, *, database_url: str) -> FastAPI:
    refuse_open_door(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as open_things:
            database = await Database.connect(database_url)
            open_things.push_async_callback(database.close)
            labelling = await Database.connect(database_url, max_size=LABELLING_CONNECTIONS, by_index=True)
            open_things.push_async_callback(labelling.close)
            app.state.worker_session = await open_things.enter_async_context(worker_session(GuardedResolver()))
            compose(app, settings, database, labelling)
            await open_things.enter_async_context(live_updates(app.state.live, database_url))
            yield

    app = FastAPI(
        title="ComfyUI Data Label",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        generate_unique_id_function=_operation_id,
        responses={
            "4XX": {"model": ErrorEnvelope, "description": "Refused; `code` says why and never changes"},
            "5XX": {"model": ErrorEnvelope, "description": "The server, its database or its store failed"},
        },
    )
    install_middleware(app, settings)
    for router in ROUTERS:
        app.include_router(router)
    pages.install(app, WEB)
    return app


def install_middleware(app: FastAPI, settings: Settings) -> None:
    """From the inside out: the last one added sees a request first."""
    metrics = app.state.metrics = Metrics()
    app.add_middleware(Idempotency)
    app.add_middleware(LargeBodiesFromAdmins, larger_bodies=LARGER_BODIES)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5, exclude_content_types=NOT_WORTH_COMPRESSING)
    error_handler.install(app)
    app.add_middleware(CountRequests, metrics=metrics)
    app.add_middleware(
        Guard,
        rules=GuardRules(
            origin=settings.origin,
            host_names=own_names(settings),
            session_cookie=SESSION_COOKIE,
            image_origins=image_origins(settings),
            larger_bodies=LARGER_BODIES,
        ),
    )


def image_origins(settings: Settings) -> set[str]:
    """Where a page may load images from beside the address that it came from."""
    public = [settings.public_url.rstrip("/")] if settings.public_url else []
    return {*settings.image_origins, *public}


def own_names(settings: Settings) -> set[str]:
    """The names that a request may call us by; addresses are checked by themselves."""
    machine = socket.gethostname().lower()
    public = urlsplit(settings.origin).hostname or ""
    return {settings.host.lower(), public, machine, f"{machine}.local"}


def refuse_open_door(settings: Settings) -> None:
    """Without sign-in, whoever reaches the server is its admin: so nobody but this machine may reach it."""
    hosts = {settings.host, urlsplit(settings.origin).hostname or ""}
    if settings.auth == "off" and not all(host_is_loopback(host) for host in hosts):
        raise OpenDoor(f"auth=off is allowed on a loopback address only, not on {', '.join(sorted(hosts))}.")


def compose(app: FastAPI, settings: Settings, database: Database, labelling: Database) -> None:
    """Make the services; each gets plain values and the services it stands on.

    `labelling` is the same database, whose statements touch a few rows each and are planned so.
    """
    secret = secret_key(settings.secret_key, settings.data_dir)
    state = app.state
    state.settings = settings
    state.database = database
    state.sealer = Vault(secret)
    state.accounts = AccountService(database, origin=settings.origin, auth_on=settings.auth == "on")
    state.store = ObjectStore.open(settings.object_store_url)
    state.signer = Signer(secret, settings.cdn_url or settings.public_url or seen_origin.get)
    state.workers = WorkerService(
        database, secret=secret, own_port=settings.port, max_image_bytes=settings.max_image_bytes
    )
    state.inventories = Inventories(database, state.workers, state.worker_session)
    state.readiness = Readiness(
        database, state.inventories, partial(state.workers.why_silent, session=state.worker_session)
    )
    state.passthrough = Passthrough(database, state.workers, state.worker_session)
    state.workflows = WorkflowService(
        database,
        ceilings=Ceilings(
            max_batch_size=settings.max_workflow_batch_size,
            allow_controlnet=settings.allow_controlnet,
            allow_dynamic_resolution=settings.allow_dynamic_resolution,
            max_pixels=settings.max_pixels,
        ),
        object_info_source=partial(object_infos, state),
    )
    state.tasks = TaskService(database, state.readiness, state.workflows.verify)
    state.progress = ProgressService(database, state.readiness)
    state.task_workers = TaskWorkers(database, state.readiness)
    state.activity = WorkerActivity(database)
    state.live = Live(state.progress, state.activity)
    state.measures = Measures(database)
    state.prompts = PromptService(database)
    state.pilots = PilotService(database, state.tasks, wait_seconds=settings.pilot_wait_seconds)
    state.exports = ExportService(database, state.store, secret)
    state.variable_pools = VariablePoolService(database)
    state.ab_tests = AbTestService(database, settings.image_origins)
    state.dispenser = Dispenser(labelling, state.ab_tests, state.signer.signed_url)
    state.annotations = AnnotationService(labelling, state.ab_tests, state.signer.signed_url, state.dispenser.came_back)


@asynccontextmanager
async def live_updates(live: Live, database_url: str) -> AsyncIterator[None]:
    """Listens to the database by a connection of its own, and tells the live pages."""
    notifications = Notifications(database_url, live.heard, live.line_is_back)
    tasks = [asyncio.create_task(notifications.run()), asyncio.create_task(live.run())]
    try:
        yield
    finally:
        live.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def object_infos(state: State) -> list[tuple[str, Mapping[str, Any]]]:
    """What every healthy worker that answers says of its nodes and models, in the order of selection."""
    readiness: Readiness = state.readiness
    inventories: Inventories = state.inventories
    healthy = await readiness.well()
    asked = await asyncio.gather(*map(inventories.ask, healthy), return_exceptions=True)
    infos = []
    for worker, digest in zip(healthy, asked, strict=True):
        if isinstance(digest, WorkerError):
            continue
        if isinstance(digest, BaseException):
            raise digest
        object_info = await inventories.object_info(digest)  # one for all that say the same
        infos += [(worker.name, object_info)] if object_info is not None else []
    return infos


monitoring = APIRouter(tags=["probes"])


@monitoring.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, _admin: Admin) -> Response:
    """For Prometheus, with an admin's API token: behind a proxy every caller looks like this machine itself."""
    counted: Metrics = request.app.state.metrics
    measures: Measures = request.app.state.measures
    return counted.answer(request.app.state.database, await measures.now())


# A request is compared with every route before its own: what labelling asks for all day comes first.
ROUTERS = (
    annotations_router,
    images_router,
    label_page_router,
    accounts_router,
    activity_router,
    workers_router,
    passthrough_router,
    workflows_router,
    variable_pools_router,
    ab_tests_router,
    tasks_router,
    events_router,
    exports_router,
    maintenance_router,
    probes_router,
    monitoring,
)


def openapi_document() -> bytes:
    """docs/openapi.json: `python -m comfylabel.main > docs/openapi.json`."""
    document = create_app(Settings(), database_url="").openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _operation_id(route: APIRoute) -> str:
    """The function's name: what a generated client calls the operation."""
    return route.name


if __name__ == "__main__":
    sys.stdout.buffer.write(openapi_document())
