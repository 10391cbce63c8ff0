"""The registry through its API, on real (simulated) workers."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from comfylabel.comfy.simulator import running_simulator
from tests.support.app import Api
from tests.support.unchanged import nothing_changes


async def added(admin: httpx.AsyncClient, url: str, **changes: object) -> dict[str, Any]:
    body = {"name": "gpu-1", "base_url": url, "priority": 5, "max_concurrent_jobs": 2, "tags": ["a100"]} | changes
    answer = await admin.post("/api/workers", json=body)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def listed(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await admin.get("/api/workers")).json()["data"]
    return data


async def test_a_new_worker_is_probed_at_once_and_listed(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator(version="0.28.1") as simulator:
        worker = await added(admin, simulator.url + "/")

    assert [row | {"created_at": "", "last_checked_at": ""} for row in await listed(admin)] == [
        {
            "id": worker["id"],
            "name": "gpu-1",
            "base_url": simulator.url,
            "tags": ["a100"],
            "status": "HEALTHY",
            "enabled": True,
            "priority": 5,
            "max_concurrent_jobs": 2,
            "current_queue_len": 0,
            "last_checked_at": "",
            "reason": None,
            "comfyui_version": "0.28.1",
            "has_api_key": False,
            "header_names": [],
            "held": 0,
            "device": "simulated GPU (comfylabel)",
            "vram_total": 24 * 2**30,
            "vram_free": 24 * 2**30,
            "created_at": "",
        }
    ]
    assert ("GET", "/system_stats") in simulator.requests
    assert ("GET", "/queue") in simulator.requests


async def test_a_dead_address_is_registered_and_says_why_it_is_unhealthy(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        url = simulator.url
    worker = await added(admin, url)

    assert worker["status"] == "UNHEALTHY"
    assert worker["reason"].startswith(f"No answer from {url}/")


async def test_the_test_button_tells_the_queue_and_the_reason(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url)
        well = await admin.post(f"/api/workers/{worker['id']}/test")
    gone = await admin.post(f"/api/workers/{worker['id']}/test")

    assert well.json()["data"] == {"healthy": True, "queue": {"pending": 0, "running": 0}, "reason": None}
    assert gone.status_code == 200
    assert gone.json()["data"] | {"reason": ""} == {
        "healthy": False,
        "queue": {"pending": 0, "running": 0},
        "reason": "",
    }
    assert simulator.url in gone.json()["data"]["reason"]
    assert (await listed(admin))[0]["status"] == "UNHEALTHY"  # at once: somebody asked


@pytest.mark.parametrize("fault", ["401", "502", "html", "redirect", "wrong_type", "huge_json"])
async def test_whatever_answers_but_is_no_comfyui_is_unhealthy(api: Api, fault: str):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url)
        simulator.faults.proxy = fault
        answer = (await admin.post(f"/api/workers/{worker['id']}/test")).json()["data"]

    assert answer["healthy"] is False
    assert simulator.url in answer["reason"]


async def test_the_key_is_sent_to_its_worker_and_shown_to_nobody(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator(api_key="hunter2-hunter2") as simulator:
        refused = await added(admin, simulator.url, api_key="wrong")
        changed = await admin.patch(f"/api/workers/{refused['id']}", json={"api_key": "hunter2-hunter2"})
        everything = (await admin.get("/api/workers")).text + changed.text
        cleared = await admin.patch(f"/api/workers/{refused['id']}", json={"api_key": None})

    assert refused["status"] == "UNHEALTHY"
    assert (changed.json()["data"]["status"], changed.json()["data"]["has_api_key"]) == ("HEALTHY", True)
    assert (cleared.json()["data"]["status"], cleared.json()["data"]["has_api_key"]) == ("UNHEALTHY", False)
    assert "hunter2" not in everything
    async with database.connection() as connection:
        kept = await connection.fetch("select w::text from workers w union all select a::text from audit_events a")
    assert all("hunter2" not in row[0] for row in kept)


async def test_moving_a_worker_forgets_what_was_said_of_the_old_address(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator() as old, running_simulator(version="0.3.40") as new:
        worker = await added(admin, old.url)
        moved = await admin.patch(f"/api/workers/{worker['id']}", json={"base_url": new.url})

    assert moved.json()["data"]["base_url"] == new.url
    assert moved.json()["data"]["comfyui_version"] == "0.3.40"


async def test_a_key_is_not_sent_in_the_clear_to_where_it_was_hidden(api: Api):
    admin = await api.as_role("admin")
    worker = await added(admin, "https://127.0.0.1:9", api_key="hunter2-hunter2", headers={"X-Secret": "hunter2"})
    answer = await admin.patch(f"/api/workers/{worker['id']}", json={"base_url": "http://127.0.0.1:9"})
    assert (answer.json()["data"]["has_api_key"], answer.json()["data"]["header_names"]) == (False, [])


async def test_a_key_does_not_move_to_another_server(api: Api):
    """Nobody can read a stored key by pointing its worker at a server of their own; said again, it moves along."""
    admin = await api.as_role("admin")
    async with running_simulator(api_key="hunter2-hunter2") as old, running_simulator(api_key="hunter2-hunter2") as new:
        worker = await added(admin, old.url, api_key="hunter2-hunter2")
        path = f"/api/workers/{worker['id']}"
        other_path = (await admin.patch(path, json={"base_url": f"{old.url}/behind/a/path"})).json()["data"]
        moved = (await admin.patch(path, json={"base_url": new.url})).json()["data"]
        with_key = {"base_url": old.url, "api_key": "hunter2-hunter2"}
        moved_with_key = (await admin.patch(path, json=with_key)).json()["data"]

    assert (worker["status"], other_path["has_api_key"]) == ("HEALTHY", True)
    assert (moved["has_api_key"], moved["status"]) == (False, "UNHEALTHY")
    assert (moved_with_key["has_api_key"], moved_with_key["status"]) == (True, "HEALTHY")


async def test_changes_one_at_a_time_leave_the_rest(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url)
        changes = {"enabled": False, "priority": -3, "max_concurrent_jobs": 8, "tags": ["b", "b", "c"], "name": "gpu-9"}
        for field, value in changes.items():
            answer = await admin.patch(f"/api/workers/{worker['id']}", json={field: value})
            worker |= {field: value}
            assert answer.json()["data"] == worker | {"tags": list(dict.fromkeys(worker["tags"]))}


async def test_a_removed_worker_is_gone_and_its_name_is_free(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url, api_key="k")
        assert (await admin.delete(f"/api/workers/{worker['id']}")).status_code == 200
        again = await added(admin, simulator.url)

    assert [row["id"] for row in await listed(admin)] == [again["id"]]
    for call in (admin.delete(f"/api/workers/{worker['id']}"), admin.post(f"/api/workers/{worker['id']}/test")):
        assert (await call).status_code == 404
    assert (await admin.patch(f"/api/workers/{worker['id']}", json={"priority": 1})).status_code == 404
    async with database.connection() as connection:
        assert await connection.fetchval("select api_key from workers where removed_at is not null") is None


async def test_a_name_is_given_once(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        await added(admin, simulator.url)
        second = await added(admin, simulator.url, name="gpu-2")
        async with nothing_changes(database):
            again = await admin.post("/api/workers", json={"name": "gpu-1", "base_url": simulator.url})
            renamed = await admin.patch(f"/api/workers/{second['id']}", json={"name": "gpu-1"})
        together = await asyncio.gather(
            *(admin.patch(f"/api/workers/{row['id']}", json={"name": "gpu-7"}) for row in await listed(admin))
        )

    assert [(answer.status_code, answer.json()["code"]) for answer in (again, renamed)] == [(409, "name_taken")] * 2
    assert sorted(answer.status_code for answer in together) == [200, 409]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"base_url": "http://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "http://2852039166/"}, "base_url"),
        ({"base_url": "http://127.0.0.1:8765"}, "base_url"),
        ({"base_url": "http://localhost:8765"}, "base_url"),
        ({"base_url": "ftp://gpu-1"}, "base_url"),
        ({"base_url": "http://a:b@gpu-1"}, "base_url"),
        ({"api_key": "with space"}, "api_key"),
        ({"api_key": "line\r\nbreak: x"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"priority": "high"}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": 2**40}, "priority"),
        ({"max_concurrent_jobs": 0}, "max_concurrent_jobs"),
        ({"max_concurrent_jobs": 1001}, "max_concurrent_jobs"),
        ({"max_concurrent_jobs": 1.5}, "max_concurrent_jobs"),
        ({"tags": ["ok", ""]}, "tags[1]"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"status": "HEALTHY"}, "status"),
    ],
)
async def test_bad_values_are_refused_with_their_path_and_nothing_is_written(api: Api, database, change, path):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url)
        async with nothing_changes(database):
            good = {"name": "gpu-2", "base_url": simulator.url, "priority": 0, "max_concurrent_jobs": 1}
            answers = [
                await admin.post("/api/workers", json=good | change),
                await admin.patch(f"/api/workers/{worker['id']}", json=change),
            ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
        assert [error["path"] for error in answer.json()["data"]["errors"]] == [path]
        assert answer.json()["error"].startswith(f"{path} ")


async def test_an_unknown_worker_is_404(api: Api):
    admin = await api.as_role("admin")

    for call in (
        admin.post(f"/api/workers/{uuid4()}/test"),
        admin.patch(f"/api/workers/{uuid4()}", json={"priority": 1}),
        admin.delete(f"/api/workers/{uuid4()}"),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
