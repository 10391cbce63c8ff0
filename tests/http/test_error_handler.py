"""One shape for every error, whatever raised it."""

from collections.abc import AsyncIterator
from typing import Annotated

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from comfylabel import errors
from comfylabel.http import error_handler
from tests.support.app import Api


class Inner(BaseModel):
    weight: Annotated[float, Field(ge=0, le=1)]


class Outer(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    variants: list[Inner]


def client_that_raises(error: Exception | None = None) -> httpx.AsyncClient:
    app = FastAPI()
    error_handler.install(app)

    @app.get("/raise")
    async def raise_it() -> Response:
        assert error is not None
        raise error

    @app.get("/half")
    async def half() -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            assert error is not None
            raise error

        return StreamingResponse(pieces())

    @app.post("/body")
    async def body(body: Outer, limit: Annotated[int, Query(ge=1)] = 1) -> Response:
        return Response()

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidField("a.b", "must be 1"), 422, "invalid_field"),
        (errors.InvalidInput("No.", code="workflow_invalid"), 422, "workflow_invalid"),
        (errors.PilotOutOfMemory(data={"ladder": []}), 422, "pilot_out_of_memory"),
        (errors.NotSignedIn(), 401, "not_signed_in"),
        (errors.Forbidden(), 403, "forbidden"),
        (errors.NotFound(), 404, "not_found"),
        (errors.Conflict(code="name_taken"), 409, "name_taken"),
        (errors.WrongState(), 409, "wrong_state"),
        (errors.NoHealthyWorker(), 409, "no_healthy_worker"),
        (errors.TooLarge(), 413, "too_large"),
        (errors.TooManyRequests(retry_after=7), 429, "too_many_requests"),
        (errors.Unavailable(), 503, "unavailable"),
        (ConnectionRefusedError(), 503, "unavailable"),
        (TimeoutError(), 503, "unavailable"),
        (asyncpg.CannotConnectNowError("starting up"), 503, "unavailable"),
        (asyncpg.UniqueViolationError("duplicate key"), 409, "conflict"),
        (ZeroDivisionError("password=hunter2"), 500, "internal"),
    ],
)
async def test_every_kind_of_error(error: Exception, status: int, code: str):
    answer = await client_that_raises(error).get("/raise")

    body = answer.json()
    assert (answer.status_code, body["code"], body["success"]) == (status, code, False)
    assert set(body) == {"success", "data", "error", "code"}
    assert body["error"].endswith(".")
    assert "hunter2" not in answer.text
    assert ("retry-after" in answer.headers) is (status in {429, 503})


async def test_an_unexpected_error_is_logged_without_the_values_of_variables(capsys: pytest.CaptureFixture[str]):
    async def fail_with(secret: str) -> None:
        await client_that_raises(ZeroDivisionError(f"{len(secret)} letters")).get("/raise")

    await fail_with("hunter2")

    logged = capsys.readouterr().out
    assert "ZeroDivisionError: 7 letters" in logged
    assert "raise_it" in logged
    assert "hunter2" not in logged


async def test_half_an_answer_is_cut_and_not_ended_as_if_it_were_whole():
    with pytest.raises(ZeroDivisionError):
        await client_that_raises(ZeroDivisionError()).get("/half")


async def test_every_wrong_value_is_named_by_its_path():
    answer = await client_that_raises().post(
        "/body?limit=0", json={"name": "", "variants": [{"weight": 0}, {"weight": 2}]}
    )

    assert answer.status_code == 422
    assert answer.json() == {
        "success": False,
        "data": {
            "errors": [
                {"path": "limit", "error": "must be greater than or equal to 1"},
                {"path": "name", "error": "string should have at least 1 character"},
                {"path": "variants[1].weight", "error": "must be less than or equal to 1"},
            ]
        },
        "error": "limit must be greater than or equal to 1.",
        "code": "invalid_field",
    }


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"x"', "body"),
        (b"{}", "name"),
        (b"\xff", "body"),
    ],
)
async def test_a_body_that_is_no_such_object(content: bytes, path: str):
    answer = await client_that_raises().post("/body", content=content, headers={"content-type": "application/json"})

    assert answer.status_code in {400, 422}
    if answer.status_code == 422:
        assert answer.json()["data"]["errors"][0]["path"] == path
        if content == b"[]":
            assert answer.json()["error"] == "body must be an object."


async def test_a_body_nested_a_hundred_thousand_deep_is_refused():
    answer = await client_that_raises().post(
        "/body", content=b"[" * 100_000, headers={"content-type": "application/json"}
    )

    assert (answer.status_code, answer.json()["success"]) in {(400, False), (422, False)}


async def test_unknown_paths_and_methods_of_the_api(api: Api):
    unknown = await api.anonymous.get("/api/none")
    wrong_method = await api.anonymous.delete("/api/me")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert unknown.json()["error"] == "There is nothing at /api/none."
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "method_not_allowed")
    assert wrong_method.headers["allow"] == "GET"


async def test_without_its_database_the_api_says_so_and_lives(api: Api):
    admin = await api.as_role("admin")
    await api.app.state.database.close()

    for path in ("/api/me", "/readyz"):
        answer = await admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), path
    keyed = await admin.post("/api/users", json={"name": "a", "role": "admin"}, headers={"idempotency-key": "k"})
    assert keyed.status_code == 503
    assert (await admin.get("/healthz")).status_code == 200
