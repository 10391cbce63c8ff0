"""The composition root of the API: settings in, one application out."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
from fastapi import FastAPI
from fastapi.routing import APIRoute

from comfylabel.ab_tests.routes import router as ab_tests_router
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.routes import router as accounts_router
from comfylabel.accounts.secret_key import secret_key
from comfylabel.accounts.service import AccountService
from comfylabel.annotations.routes import router as annotations_router
from comfylabel.annotations.service import AnnotationService
from comfylabel.comfy.client import worker_session
from comfylabel.db.pool import Database
from comfylabel.http import error_handler
from comfylabel.http.envelope import ErrorEnvelope
from comfylabel.settings import Settings
from comfylabel.storage.routes import router as images_router
from comfylabel.storage.signing import Signer
from comfylabel.storage.store import ObjectStore
from comfylabel.workers.routes import router as workers_router
from comfylabel.workers.service import WorkerService

MAX_BODY_BYTES = 2**20  # of JSON; a route that takes files says its own limit

ROUTERS = (accounts_router, workers_router, ab_tests_router, annotations_router, images_router)


def create_app(settings: Settings, *, database_url: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as open_things:
            database = await Database.connect(database_url)
            open_things.push_async_callback(database.close)
            app.state.worker_session = await open_things.enter_async_context(worker_session())
            compose(app, settings, database)
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
        max_body_size=MAX_BODY_BYTES,
    )
    error_handler.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def compose(app: FastAPI, settings: Settings, database: Database) -> None:
    """Make the services; each gets plain values and the services it stands on."""
    secret = secret_key(settings.secret_key, settings.data_dir)
    state = app.state
    state.settings = settings
    state.database = database
    state.accounts = AccountService(database, origin=settings.origin, auth_on=settings.auth == "on")
    state.store = ObjectStore.open(settings.object_store_url)
    state.signer = Signer(secret, settings.cdn_url or settings.origin)
    state.workers = WorkerService(
        database, secret=secret, own_port=settings.port, max_image_bytes=settings.max_image_bytes
    )
    state.ab_tests = AbTestService(database)
    state.annotations = AnnotationService(database, state.ab_tests, state.signer.signed_url)


def openapi_document() -> bytes:
    """docs/openapi.json: `python -m comfylabel.main > docs/openapi.json`."""
    document = create_app(Settings(), database_url="").openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _operation_id(route: APIRoute) -> str:
    """The function's name: what a generated client calls the operation."""
    return route.name


if __name__ == "__main__":
    sys.stdout.buffer.write(openapi_document())
