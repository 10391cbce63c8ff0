import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comfylabel.comfy.graph import Graph
from comfylabel.comfy.simulator import running_simulator
from comfylabel.db.pool import Database
from comfylabel.errors import Conflict, NoHealthyWorker
from tests.support import rows
from tests.support.app import Api
from tests.support.simulator import EXAMPLE_FILE, text_to_image

EXAMPLE: Graph = json.loads(EXAMPLE_FILE.read_bytes())


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_role("admin")


@pytest.fixture
async def worker(admin: httpx.AsyncClient) -> AsyncIterator[str]:
    async with running_simulator() as simulator:
        body = {"name": "gpu-1", "base_url": simulator.url, "priority": 0, "max_concurrent_jobs": 1}
        answer = await admin.post("/api/workers", json=body)
        assert answer.status_code == 201, answer.text
        yield str(answer.json()["data"]["id"])


async def upload(admin: httpx.AsyncClient, graph: Any = EXAMPLE, **metadata: Any) -> httpx.Response:
    raw = graph if isinstance(graph, bytes) else json.dumps(graph).encode()
    data = {"metadata": json.dumps({"name": "summer", "version": "3"} | metadata)}
    return await admin.post("/api/workflows", files={"workflow": ("any name.json", raw)}, data=data)


async def stored(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await admin.get("/api/workflows")).json()["data"]["items"]
    return listed


async def test_an_upload_is_validated_by_a_worker_and_kept(admin: httpx.AsyncClient, worker: str):
    answer = await upload(admin, max_batch_size=4, model="sdxl")
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    assert {key: data[key] for key in ("name", "version", "max_batch_size", "prompt_nodes", "seed_nodes")} == {
        "name": "summer", "version": "3", "max_batch_size": 4, "prompt_nodes": ["6"], "seed_nodes": ["3"],
    }  # fmt: skip
    assert (data["status"], data["seed_mode"], data["model"]) == ("valid", "native", "sdxl")
    assert data["bindings"]["batch_size"] == [{"node": "5", "input": "batch_size"}]
    assert data["bindings"]["images"] == ["9"]
    assert data["proposed"] == ["prompt", "seed", "width", "height", "batch_size", "images"]
    detail = (await admin.get(f"/api/workflows/{data['id']}")).json()["data"]
    assert detail["raw_definition"] == EXAMPLE
    assert {key: detail[key] for key in data} == data
    assert [row["id"] for row in await stored(admin)] == [data["id"]]


async def test_without_a_worker_it_is_kept_unverified(admin: httpx.AsyncClient):
    data = (await upload(admin)).json()["data"]
    assert (data["status"], data["validated_at"]) == ("unverified", None)


async def test_metadata_may_come_as_a_file_part(admin: httpx.AsyncClient):
    parts = {
        "workflow": ("w.json", json.dumps(EXAMPLE).encode(), "application/json"),
        "metadata": ("metadata.json", b'{"name": "summer"}', "application/json"),
    }
    answer = await admin.post("/api/workflows", files=parts)
    assert (answer.status_code, answer.json()["data"]["version"]) == (201, "1")


async def test_bindings_of_the_upload_win(admin: httpx.AsyncClient, worker: str):
    bindings = {"prompt": [{"node": "7", "input": "text"}], "width": [], "height": []}
    data = (await upload(admin, bindings=bindings)).json()["data"]
    assert data["prompt_nodes"] == ["7"]
    assert data["bindings"]["width"] == []
    assert data["proposed"] == ["seed", "batch_size", "images"]


@pytest.mark.parametrize(
    ("graph", "status", "code"),
    [
        (b"not json", 422, "not_json"),
        (b"[1, 2]", 422, "not_a_graph"),
        ({"nodes": [], "links": [], "version": 0.4}, 422, "ui_format"),
        (EXAMPLE | {"20": {"class_type": "NobodysNode", "inputs": {}}}, 422, "workflow_invalid"),
        (text_to_image(behavior="random", batch_size=17), 422, "workflow_invalid"),
        ({key: value for key, value in EXAMPLE.items() if key != "9"}, 422, "workflow_invalid"),
        (b'{"1": {"class_type": "X", "inputs": {"text": "\\u0000"}}}', 422, "not_storable"),
        (b" " * (10 * 2**20 + 1), 413, "too_large"),
        (b" " * (50 * 2**20), 413, "too_large"),
    ],
    ids=["text", "list", "ui", "unknown", "batch", "no-output", "nul", "just-too-large", "50-mb"],
)
async def test_what_is_refused_leaves_nothing_behind(
    admin: httpx.AsyncClient, worker: str, graph: Any, status: int, code: str
):
    answer = await upload(admin, graph)
    body = answer.json()
    assert (answer.status_code, body["code"], body["success"]) == (status, code, False)
    assert body["error"].endswith(".")
    if code == "workflow_invalid":
        assert [line for line in body["data"]["report"] if line["level"] == "error"]
    assert await stored(admin) == []


async def test_a_body_without_a_stated_length_is_read_to_the_limit_and_no_further(admin: httpx.AsyncClient):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="workflow"; filename="w"\r\n\r\n'
        while sent < 200 * 2**20:
            sent += 2**20
            yield b" " * 2**20

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await admin.post("/api/workflows", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert sent < 70 * 2**20


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"json": {"name": "summer"}}, "not_multipart"),
        ({"content": b"broken", "headers": {"content-type": "multipart/form-data"}}, "not_multipart"),
        ({"content": b"broken", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "not_multipart"),
        ({"files": {"workflow": b"{}"}}, "invalid_field"),
        ({"files": {"file": b"{}"}, "data": {"metadata": "{}"}}, "invalid_field"),
        ({"files": {"workflow": json.dumps(EXAMPLE).encode()}, "data": {"metadata": "{"}}, "invalid_field"),
    ],
)
async def test_a_broken_upload_is_named(admin: httpx.AsyncClient, arguments: dict[str, Any], code: str):
    answer = await admin.post("/api/workflows", **arguments)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await stored(admin) == []


async def test_a_name_has_each_version_once(admin: httpx.AsyncClient):
    assert (await upload(admin)).status_code == 201
    answer = await upload(admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert (await upload(admin, version="4")).status_code == 201
    assert [row["version"] for row in await stored(admin)] == ["4", "3"]


async def test_bindings_and_limits_change_until_a_task_uses_it(admin: httpx.AsyncClient, api: Api, worker: str):
    data = (await upload(admin, max_batch_size=8)).json()["data"]
    url = f"/api/workflows/{data['id']}"
    change = {"bindings": {"prompt": [{"node": "7", "input": "text"}]}, "max_batch_size": 2}
    changed = (await admin.patch(url, json=change)).json()["data"]
    assert (changed["prompt_nodes"], changed["max_batch_size"], changed["seed_mode"]) == (["7"], 2, "native")
    assert changed["bindings"]["seed"] == data["bindings"]["seed"]
    unset = (await admin.patch(url, json={"bindings": {"batch_size": []}})).json()["data"]
    assert (unset["seed_mode"], unset["status"]) == ("loop", "warnings")

    for body, code in (
        ({"max_batch_size": 3}, "invalid_field"),
        ({"bindings": {"seed": [{"node": "6", "input": "text"}]}}, "invalid_field"),
        ({"bindings": {"seed": []}}, "no_seed"),
        ({"name": "other"}, "invalid_field"),
    ):
        answer = await admin.patch(url, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), body
    database: Database = api.app.state.database
    async with database.transaction() as connection:
        await rows.add_task(connection, workflow_id=uuid.UUID(data["id"]))
    answer = await admin.patch(url, json={"max_batch_size": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert (await admin.get(url)).json()["data"]["max_batch_size"] == 2


async def test_a_workflow_that_is_not_there_is_404(admin: httpx.AsyncClient):
    for method in ("GET", "PATCH"):
        answer = await admin.request(method, f"/api/workflows/{uuid.uuid4()}", json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_unverified_workflow_is_asked_about_again(admin: httpx.AsyncClient, api: Api):
    service = api.app.state.workflows
    workflow_id = uuid.UUID((await upload(admin)).json()["data"]["id"])
    unknown = EXAMPLE | {"20": {"class_type": "NobodysNode", "inputs": {}}}
    unknown_id = uuid.UUID((await upload(admin, unknown, version="4")).json()["data"]["id"])
    with pytest.raises(NoHealthyWorker, match="No healthy worker") as nobody:
        await service.verify(workflow_id)
    assert nobody.value.status == 409
    async with running_simulator() as simulator:
        body = {"name": "gpu-1", "base_url": simulator.url, "priority": 0, "max_concurrent_jobs": 1}
        await admin.post("/api/workers", json=body)
        assert (await service.verify(workflow_id)).status == "valid"
        with pytest.raises(Conflict, match="NobodysNode") as refused:
            await service.verify(unknown_id)
        assert (refused.value.status, refused.value.code) == (409, "workflow_invalid")
    assert (await admin.get(f"/api/workflows/{workflow_id}")).json()["data"]["status"] == "valid"


async def test_lists_come_in_pages(admin: httpx.AsyncClient):
    for version in "123":
        await upload(admin, version=version)
    first = (await admin.get("/api/workflows", params={"limit": 2})).json()["data"]
    rest = (await admin.get("/api/workflows", params={"cursor": first["next_cursor"]})).json()["data"]
    assert [row["version"] for row in first["items"] + rest["items"]] == ["3", "2", "1"]
    assert rest["next_cursor"] is None
