"""Who may call what: every route, every kind of caller, and the status they get. A route that is not in TABLE fails.

The ids asked for exist nowhere and the bodies are empty unless TABLE says otherwise, so whoever is let in meets the
status behind the door (`inside`) and nothing changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from comfylabel.accounts.schemas import Role
from comfylabel.accounts.service import SESSION_COOKIE
from tests.support.app import Api

NOBODY, ANNOTATOR, OPERATOR, ADMIN = None, Role.ANNOTATOR, Role.OPERATOR, Role.ADMIN
SOME_ID = "01a2048d-760e-708a-a2bc-657a129fd080"


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    needs: Role | None
    inside: int
    body: Any = None


TABLE = [
    Row("GET", "/healthz", NOBODY, 200),
    Row("GET", "/readyz", NOBODY, 200),
    Row("GET", "/api/openapi.json", NOBODY, 200),
    Row("HEAD", "/api/openapi.json", NOBODY, 200),
    Row("GET", "/images/{key:path}", NOBODY, 403),  # the signature in the address is the permission
    Row("HEAD", "/images/{key:path}", NOBODY, 403),
    Row("GET", "/label/{task_id}", NOBODY, 200),  # a page: what it holds depends on who asks, not whether it comes
    Row("HEAD", "/label/{task_id}", NOBODY, 200),
    Row("POST", "/api/auth/link", NOBODY, 422),
    Row("POST", "/api/auth/password", NOBODY, 422),
    # Everybody who is signed in
    Row("GET", "/api/me", ANNOTATOR, 200),
    Row("PUT", "/api/me/password", ANNOTATOR, 422),
    Row("GET", "/api/tokens", ANNOTATOR, 200),
    Row("POST", "/api/tokens", ANNOTATOR, 422),
    Row("DELETE", "/api/tokens/{token_id}", ANNOTATOR, 404),
    Row("GET", "/api/labelling", ANNOTATOR, 200),
    Row("GET", "/api/labelling/{task_id}", ANNOTATOR, 404),
    Row("GET", "/api/tasks/{task_id}/batches", ANNOTATOR, 404),
    Row("POST", "/api/tasks/{task_id}/batches/next", ANNOTATOR, 404),
    Row("POST", "/api/tasks/{task_id}/batches/release", ANNOTATOR, 404),
    Row("GET", "/api/tasks/{task_id}/batches/{batch_id}", ANNOTATOR, 404),
    Row("POST", "/api/annotations", ANNOTATOR, 422),
    Row("GET", "/api/generations/{generation_id}", ANNOTATOR, 404),
    Row("POST", "/api/ab-tests/assign", ANNOTATOR, 404, {"test_name": "none"}),
    # Operators
    Row("GET", "/api/workflows", OPERATOR, 200),
    Row("GET", "/api/workflows/{workflow_id}", OPERATOR, 404),
    Row("GET", "/api/variable-pools", OPERATOR, 200),
    Row("GET", "/api/variable-pools/{pool_id}", OPERATOR, 404),
    Row("GET", "/api/variable-pools/{pool_id}/sample", OPERATOR, 422),
    Row("GET", "/api/tasks", OPERATOR, 200),
    Row("POST", "/api/tasks", OPERATOR, 422),
    Row("GET", "/api/tasks/{task_id}", OPERATOR, 404),
    Row("PATCH", "/api/tasks/{task_id}", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/prompts", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/prompts", OPERATOR, 422),
    Row("PATCH", "/api/tasks/{task_id}/prompts/{prompt_id}", OPERATOR, 404),
    Row("DELETE", "/api/tasks/{task_id}/prompts/{prompt_id}", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/pilot", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/pilot", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/freeze", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/run", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/pause", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/resume", OPERATOR, 404),
    Row("POST", "/api/tasks/{task_id}/cancel", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/progress", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/events", OPERATOR, 503),  # open streams have no end: here the server is stopping
    Row("GET", "/api/events", OPERATOR, 503),
    Row("GET", "/api/workers/activity", OPERATOR, 200),
    Row("GET", "/api/tasks/{task_id}/workers", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/snapshot", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/export/dpo", OPERATOR, 404),
    Row("GET", "/api/tasks/{task_id}/export/dpo/summary", OPERATOR, 404),
    # Admins
    Row("GET", "/api/users", ADMIN, 200),
    Row("POST", "/api/users", ADMIN, 422),
    Row("PATCH", "/api/users/{user_id}", ADMIN, 404),
    Row("POST", "/api/users/{user_id}/link", ADMIN, 404),
    Row("GET", "/api/workers", ADMIN, 200),
    Row("POST", "/api/workers", ADMIN, 422),
    Row("PATCH", "/api/workers/{worker_id}", ADMIN, 404),
    Row("DELETE", "/api/workers/{worker_id}", ADMIN, 404),
    Row("POST", "/api/workers/{worker_id}/test", ADMIN, 404),
    Row("POST", "/api/workers/{worker_id}/drain", ADMIN, 404),
    Row("GET", "/api/workers/{worker_id}/queue", ADMIN, 404),
    Row("GET", "/api/workers/{worker_id}/history/{prompt_id}", ADMIN, 404),
    Row("POST", "/api/workers/{worker_id}/interrupt", ADMIN, 404),
    Row("POST", "/api/workers/{worker_id}/free", ADMIN, 404),
    Row("POST", "/api/workflows", ADMIN, 422),
    Row("PATCH", "/api/workflows/{workflow_id}", ADMIN, 404),
    Row("POST", "/api/variable-pools", ADMIN, 422),
    Row("POST", "/api/variable-pools/{pool_id}/versions", ADMIN, 422),
    Row("GET", "/api/ab-tests", ADMIN, 200),
    Row("POST", "/api/ab-tests", ADMIN, 422),
    Row("GET", "/api/maintenance/counters", ADMIN, 200),
    Row("POST", "/api/maintenance/counters/repair", ADMIN, 200),
    Row("GET", "/api/maintenance/partitions", ADMIN, 200),
    Row("POST", "/api/maintenance/partitions/repair", ADMIN, 200),
    Row("GET", "/metrics", ADMIN, 200),
    # Last: it ends the session that asks
    Row("POST", "/api/auth/sign-out", ANNOTATOR, 200),
]


@dataclass(frozen=True)
class Caller:
    name: str
    role: Role | None
    client: httpx.AsyncClient

    def expects(self, row: Row) -> int:
        if row.needs is None:
            return row.inside
        if self.role is None:
            return 401
        return row.inside if self.role.covers(row.needs) else 403


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            yield method, str(context.path)


async def call(client: httpx.AsyncClient, row: Row, **headers: str) -> httpx.Response:
    path = row.path.replace("{key:path}", "tasks/x.png")
    for name in (
        "token_id",
        "task_id",
        "batch_id",
        "generation_id",
        "workflow_id",
        "pool_id",
        "prompt_id",
        "user_id",
        "worker_id",
    ):
        path = path.replace(f"{{{name}}}", SOME_ID)
    body = row.body or {} if row.method in {"POST", "PUT", "PATCH"} else None
    return await client.request(row.method, path, headers=headers, json=body)


async def callers(api: Api) -> list[Caller]:
    """Every kind of caller; those without a role are nobody, whatever they once were."""
    found = [Caller("anonymous", None, api.client())]
    for role in Role:
        found.append(Caller(f"session of an {role}", role, await api.as_role(role)))
        found.append(Caller(f"token of an {role}", role, await api.with_token(role)))
    admin = await api.as_role("admin")
    expired = await api.sign_in("admin", "expired")
    revoked = await token_client(api, expired)
    for token in (await expired.get("/api/tokens")).json()["data"]:
        await expired.delete(f"/api/tokens/{token['id']}")
    late = await token_client(api, expired)
    disabled = await api.sign_in("admin", "disabled")
    disabled_token = await token_client(api, disabled)
    disabled_id = (await disabled.get("/api/me")).json()["data"]["id"]
    await admin.patch(f"/api/users/{disabled_id}", json={"disabled": True})
    async with api.app.state.database.connection() as connection:
        of_expired = "user_id = (select id from users where name = 'expired')"
        await connection.execute(f"update sessions set expires_at = now() where {of_expired}")
        await connection.execute(f"update api_tokens set expires_at = now() where {of_expired}")
    forged = api.client(cookie=f"{SESSION_COOKIE}=forged")
    return [
        *found,
        Caller("expired session", None, expired),
        Caller("expired token", None, late),
        Caller("revoked token", None, revoked),
        Caller("session of a disabled user", None, disabled),
        Caller("token of a disabled user", None, disabled_token),
        Caller("forged session", None, forged),
    ]


async def token_client(api: Api, owner: httpx.AsyncClient) -> httpx.AsyncClient:
    made = await owner.post("/api/tokens", json={"name": "test"})
    return api.client(authorization=f"Bearer {made.json()['data']['token']}")


async def test_every_route_answers_every_caller_as_the_table_says(api: Api):
    differences = []
    api.app.state.live.close()
    for caller in await callers(api):
        for row in TABLE:
            answer = await call(caller.client, row)
            if answer.status_code != caller.expects(row):
                differences.append(
                    f"{caller.name}: {row.method} {row.path} answered {answer.status_code}, not {caller.expects(row)}"
                )
    assert differences == []


def test_every_route_stands_in_the_table(api: Api):
    served = {(method, path) for method, path in routes_of(api.app) if path != "/assets"}

    assert served == {(row.method, row.path) for row in TABLE}
    assert len(TABLE) == len(served)


async def test_every_refusal_has_the_one_shape(api: Api):
    admin, anonymous = await api.as_role("admin"), api.client()
    api.app.state.live.close()
    for row in TABLE:
        for client in (anonymous, admin):
            answer = await call(client, row)
            if answer.status_code >= 400 and row.method != "HEAD":
                body = answer.json()
                assert set(body) == {"success", "data", "error", "code"}, row
                assert body["success"] is False
                assert body["error"].endswith("."), (row, body)
                assert body["code"].replace("_", "").isalpha()


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_no_route_changes_anything_for_another_site(api: Api, origin: str):
    admin = await api.as_role("admin")
    for row in TABLE:
        if row.method in {"GET", "HEAD"}:
            continue
        answer = await call(admin, row, origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), row


async def test_no_route_answers_under_a_foreign_name(api: Api):
    admin = await api.as_role("admin")
    for row in TABLE:
        assert (await call(admin, row, host="rebound.example")).status_code == 421, row
