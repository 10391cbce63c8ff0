"""Whatever the document allows, and much that it does not, is answered as it says and never with a 500."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from comfylabel.accounts.service import AccountService
from comfylabel.db.pool import Database
from comfylabel.main import create_app, openapi_document
from tests.support.app import settings_for
from tests.support.postgres import cluster, fresh_database

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def without_sign_in(document: dict[str, Any]) -> dict[str, Any]:
    """Every call carries an admin's token: who may call what is the matter of test_route_table.py."""
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    return document


schema = schemathesis.openapi.from_dict(without_sign_in(orjson.loads(openapi_document())))


class Served:
    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def served(session_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server_url = cluster(session_dir, int(os.environ["COMFYLABEL_TEST_SESSION_PID"]))
    with fresh_database(server_url) as database_url:
        app = create_app(settings_for(tmp_path_factory.mktemp("data")), database_url=database_url)
        with in_a_thread(app) as url:
            yield Served(url, make_token(database_url))


@contextmanager
def in_a_thread(app: FastAPI) -> Iterator[str]:
    """Over real HTTP, in an event loop of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def make_token(database_url: str) -> str:
    async def make() -> str:
        database = await Database.connect(database_url)
        accounts = AccountService(database, origin="http://test", auth_on=False)
        admin = await accounts.principal(session=None, token=None)
        assert admin is not None
        _, secret = await accounts.create_token(admin, "fuzz", None)
        await database.close()
        return secret

    return asyncio.run(make())


# A stream of events has no end (tests/tasks/test_live.py).
@schema.exclude(path_regex=r"^/api/(auth/|events$)").parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_its_word(case: schemathesis.Case[Any], served: Served) -> None:
    case.call_and_validate(base_url=served.url, headers=served.headers, checks=CHECKS, timeout=30)
