"""The API of tasks over HTTP, with a simulated worker behind it."""

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from comfylabel.comfy.simulator import Simulator, running_simulator
from tests.support.app import Api
from tests.support.pipeline import Line, running_orchestrator
from tests.support.unchanged import nothing_changes

SOME_ID = "01a2048d-760e-708a-a2bc-657a129fd080"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator() as running:
        yield running


@pytest.fixture
async def line(api: Api, simulator: Simulator) -> Line:
    line = await Line.of(api)
    await line.add_worker(simulator.url)
    return line


@pytest.fixture
async def workflow(line: Line) -> str:
    return await line.add_workflow(max_batch_size=2)


@pytest.fixture
async def pool(line: Line) -> str:
    return await line.add_pool("dress", ["summer dress", "ball gown", "kimono"])


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and path of the first error."""
    body = answer.json()
    assert body["success"] is False
    return answer.status_code, body["code"], body["data"]["errors"][0]["path"]


# --- create and read


async def test_create_answers_as_in_the_example(line: Line, workflow: str, pool: str) -> None:
    task = await line.add_task(workflow, ["dress"], prompts=2, seeds=4, notes="summer dresses")
    assert task["state"] == "DRAFT"
    assert [prompt["text"] for prompt in task["prompts"]] == ["a photo of summer dress", "a photo of ball gown"]
    assert task["prompts"][0]["variables"] == {"dress": "summer dress"}
    assert [len(seeds) for seeds in task["seeds"]] == [4, 4]
    assert (task["seed_mode"], task["chunks"]) == ("native", [2, 2])
    assert (task["next_cursor"], task["paused"], task["overlap"], task["pilot"]) == (None, False, 1, None)
    assert (task["notes"], task["variable_pool_ids"], task["variable_pool_version"]) == (
        "summer dresses",
        [pool],
        "v1",
    )
    again = await line.call("GET", f"/api/tasks/{task['id']}")
    assert again == task


async def test_pages_of_prompts_and_seeds(line: Line, workflow: str, pool: str) -> None:
    body = {"workflow_id": workflow, "variable_pool_ids": [pool], "target_prompts": 3, "seeds_per_prompt": 1}
    task = await line.call("POST", "/api/tasks?limit=2", status=201, json=body)
    assert (len(task["prompts"]), len(task["seeds"])) == (2, 2)
    rest = await line.call("GET", f"/api/tasks/{task['id']}", params={"cursor": task["next_cursor"]})
    assert (len(rest["prompts"]), rest["next_cursor"]) == (1, None)
    progress = await line.call("GET", f"/api/tasks/{task['id']}/progress?limit=2")
    assert (progress["total"], progress["pending"], len(progress["per_prompt"])) == (3, 3, 2)
    listed = await line.call("GET", f"/api/tasks/{task['id']}/prompts?limit=2")
    assert [prompt["id"] for prompt in listed["items"]] == [prompt["id"] for prompt in task["prompts"]]
    assert listed["next_cursor"] == progress["next_cursor"] == task["next_cursor"]


async def test_the_list_shows_the_newest_first_with_their_progress(line: Line, workflow: str, pool: str) -> None:
    made = [(await line.add_task(workflow, [pool], prompts=1, seeds=n))["id"] for n in (1, 2, 3)]
    page = await line.call("GET", "/api/tasks?limit=2")
    assert [task["id"] for task in page["items"]] == made[:0:-1]
    assert page["items"][0]["progress"] == {"total": 3, "done": 0, "running": 0, "pending": 3, "failed": 0}
    rest = await line.call("GET", "/api/tasks", params={"limit": 2, "cursor": page["next_cursor"]})
    assert ([task["id"] for task in rest["items"]], rest["next_cursor"]) == (made[:1], None)


async def test_notes_overlap_and_blind_change_in_every_state(line: Line) -> None:
    task = await line.frozen_task()
    changed = await line.call("PATCH", f"/api/tasks/{task}", json={"notes": "n", "overlap": 3, "blind": True})
    assert (changed["notes"], changed["overlap"], changed["blind"], changed["state"]) == ("n", 3, True, "FROZEN")
    changed = await line.call("PATCH", f"/api/tasks/{task}", json={"notes": None})
    assert (changed["notes"], changed["overlap"], changed["blind"]) == (None, 3, True)


# --- bad requests: a clear sentence, the right code, and nothing written


BAD_TASKS: list[tuple[dict[str, Any], str]] = [
    ({"target_prompts": 0}, "target_prompts"),
    ({"target_prompts": "10"}, "target_prompts"),
    ({"seeds_per_prompt": 0}, "seeds_per_prompt"),
    ({"seeds_per_prompt": 10**6}, "seeds_per_prompt"),
    ({"seeds_per_prompt": 1.5}, "seeds_per_prompt"),
    ({"workflow_id": "none"}, "workflow_id"),
    ({"workflow_id": SOME_ID}, "workflow_id"),
    ({"variable_pool_ids": ["nowhere"]}, "variable_pool_ids[0]"),
    ({"variable_pool_ids": "dress"}, "variable_pool_ids"),
    ({"notes": "a\x00b"}, "notes"),
    ({"overlap": 0}, "overlap"),
    ({"blind": "yes"}, "blind"),
    ({"ab_test_id": SOME_ID}, "ab_test_id"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("fields", "path"), BAD_TASKS, ids=[str(fields) for fields, _ in BAD_TASKS])
async def test_a_bad_task_is_refused(line: Line, fields: dict[str, Any], path: str) -> None:
    workflow, pool = await line.add_workflow(), await line.add_pool()
    body = {"workflow_id": workflow, "variable_pool_ids": [pool], "target_prompts": 1, "seeds_per_prompt": 1}
    async with nothing_changes(line.database):
        answer = await line.admin.post("/api/tasks", json=body | fields)
    assert refused(answer) == (422, "invalid_field", path)


async def test_more_than_the_capacity_is_refused_with_the_number(line: Line, workflow: str, pool: str) -> None:
    body = {"workflow_id": workflow, "variable_pool_ids": [pool], "target_prompts": 4, "seeds_per_prompt": 1}
    async with nothing_changes(line.database):
        answer = await line.admin.post("/api/tasks", json=body)
    assert refused(answer) == (422, "over_capacity", "target_prompts")
    assert answer.json()["data"]["capacity"] == 3


@pytest.mark.parametrize(
    "cursor",
    ["none", "eyJwb3NpdGlvbiI6LTF9", "eyJwb3NpdGlvbiI6MWU5OX0", "eyJwb3NpdGlvbiI6OTk5OTk5OTk5OTl9", "W10"],
)
async def test_a_forged_cursor_is_refused(line: Line, workflow: str, pool: str, cursor: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    for path in (f"/api/tasks/{task}", f"/api/tasks/{task}/prompts", f"/api/tasks/{task}/progress", "/api/tasks"):
        assert refused(await line.admin.get(path, params={"cursor": cursor})) == (422, "invalid_field", "cursor")


@pytest.mark.parametrize(
    "position",
    [
        '{"created_at":"2026-01-01T00:00:00","id":"x"}',
        '{"created_at":"0001-01-01T00:00:00+23:59","id":"01a2048d-760e-708a-a2bc-657a129fd080"}',
        '{"created_at":5,"id":"01a2048d-760e-708a-a2bc-657a129fd080"}',
    ],
)
async def test_a_forged_cursor_of_the_list_is_refused(line: Line, position: str) -> None:
    cursor = base64.urlsafe_b64encode(position.encode()).decode()
    assert refused(await line.admin.get("/api/tasks", params={"cursor": cursor})) == (422, "invalid_field", "cursor")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"overlap": 0}, "overlap"),
        ({"overlap": None}, "overlap"),
        ({"blind": None}, "blind"),
        ({"state": "DONE"}, "state"),
        ({"priority": 1001}, "priority"),
        ({"priority": -1001}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"priority": "7"}, "priority"),
        ({"priority": None}, "priority"),
    ],
)
async def test_a_bad_change_is_refused(
    line: Line, workflow: str, pool: str, changes: dict[str, Any], path: str
) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    async with nothing_changes(line.database):
        answer = await line.admin.patch(f"/api/tasks/{task}", json={"notes": "n"} | changes)
    assert refused(answer) == (422, "invalid_field", path)


async def test_what_is_not_there_is_404(line: Line) -> None:
    nobody = f"/api/tasks/{uuid4()}"
    for method, path, body in (
        ("GET", nobody, None),
        ("PATCH", nobody, {"notes": "n"}),
        ("GET", f"{nobody}/prompts", None),
        ("POST", f"{nobody}/prompts", {"text": "x"}),
        ("POST", f"{nobody}/pilot", None),
        ("GET", f"{nobody}/pilot", None),
        ("POST", f"{nobody}/freeze", None),
        ("POST", f"{nobody}/run", None),
        ("POST", f"{nobody}/pause", None),
        ("POST", f"{nobody}/resume", None),
        ("POST", f"{nobody}/cancel", None),
        ("GET", f"{nobody}/workers", None),
        ("GET", f"{nobody}/progress", None),
        ("GET", f"{nobody}/snapshot", None),
    ):
        answer = await line.admin.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


# --- prompts


async def test_an_edit_answers_as_in_the_example(line: Line, workflow: str, pool: str) -> None:
    task = await line.add_task(workflow, [pool], prompts=2, seeds=4)
    path = f"/api/tasks/{task['id']}/prompts/{task['prompts'][0]['id']}"
    edit = {"text": "a model in a red coat", "seeds": [5, 6, 7, 8]}
    changed = await line.call("PATCH", path, json=edit)
    assert changed == {
        "id": task["prompts"][0]["id"],
        "text": "a model in a red coat",
        "variables": {"dress": "summer dress"},
        "seeds": [5, 6, 7, 8],
        "edited": True,
    }
    async with nothing_changes(line.database):
        for seeds in ([5, 6, 7], [5, 6, 7, 5], [5, 6, 7, -1], [5, 6, 7, 2**53]):
            answer = await line.admin.patch(path, json={"seeds": seeds})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_prompts_come_and_go(line: Line, workflow: str, pool: str) -> None:
    task = await line.add_task(workflow, [pool], prompts=1, seeds=2)
    prompts = f"/api/tasks/{task['id']}/prompts"
    added = await line.call("POST", prompts, status=201, json={"text": "a second"})
    assert (added["text"], added["variables"], len(added["seeds"])) == ("a second", {}, 2)
    assert (await line.call("GET", f"/api/tasks/{task['id']}"))["target_prompts"] == 2
    assert await line.call("DELETE", f"{prompts}/{added['id']}") is None
    answer = await line.admin.delete(f"{prompts}/{task['prompts'][0]['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_prompt")


async def test_markup_comes_back_as_it_was_written(line: Line, workflow: str) -> None:
    nasty = '</script><img src=x onerror=alert(1)> "quoted" \\ \u2028 emoji 🎉'
    pool = await line.add_pool("nasty", [nasty])
    task = await line.add_task(workflow, [pool], prompts=1, seeds=1, notes=nasty)
    assert nasty in task["prompts"][0]["text"]
    assert task["notes"] == nasty
    await line.call("POST", f"/api/tasks/{task['id']}/freeze")
    answer = await line.admin.get(f"/api/tasks/{task['id']}/snapshot")
    assert answer.json()["prompts"][0]["variables"] == {"nasty": nasty}


# --- freeze, run, cancel


async def test_freeze_run_and_cancel(line: Line, workflow: str, pool: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=3, seeds=4))["id"]
    frozen = await line.call("POST", f"/api/tasks/{task}/freeze")
    assert (frozen["state"], frozen["pilot"], frozen["chunks"]) == ("FROZEN", None, [2, 2])
    assert frozen["frozen_at"].endswith("Z")
    answer = await line.admin.get(f"/api/tasks/{task}/snapshot")
    assert frozen["digest"] == f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    assert answer.headers["etag"] == f'"{frozen["digest"]}"'
    running = await line.call("POST", f"/api/tasks/{task}/run")
    workers = await line.call("GET", "/api/workers")
    assert running == {"state": "RUNNING", "worker_ids": [workers[0]["id"]]}
    cancelled = await line.call("POST", f"/api/tasks/{task}/cancel")
    assert cancelled == {"state": "FAILED", "end_reason": "cancelled"}
    progress = await line.call("GET", f"/api/tasks/{task}/progress")
    assert (progress["state"], progress["pending"], progress["summary"]) == ("FAILED", 12, "0 of 3 prompts")


async def test_pause_and_resume_may_be_repeated(line: Line, workflow: str, pool: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    await line.call("POST", f"/api/tasks/{task}/freeze")
    await line.run(task)
    for verb, paused in (("resume", False), ("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        answer = await line.call("POST", f"/api/tasks/{task}/{verb}")
        assert answer == {"state": "RUNNING", "paused": paused}
        assert (await line.call("GET", f"/api/tasks/{task}"))["paused"] is paused
    told = await line.database.pool.fetch("select action from audit_events where subject = $1 order by id", task)
    assert [row["action"] for row in told][-2:] == ["task_paused", "task_resumed"]
    await line.call("POST", f"/api/tasks/{task}/pause")
    answer = await line.admin.post(f"/api/tasks/{task}/run")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


async def test_a_priority_is_changed_in_every_state(line: Line, workflow: str, pool: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    path = f"/api/tasks/{task}"
    assert (await line.call("GET", path))["priority"] == 0
    for number, verb in enumerate((None, "freeze", "run", "pause", "cancel")):
        if verb:
            await line.call("POST", f"{path}/{verb}")
        assert (await line.call("PATCH", path, json={"priority": 1000 - number}))["priority"] == 1000 - number
    assert (await line.call("GET", "/api/tasks"))["items"][0]["priority"] == 996


async def test_each_verb_in_a_wrong_state_is_409(line: Line, workflow: str, pool: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    for method, verb in (
        ("POST", "run"),
        ("POST", "pause"),
        ("POST", "resume"),
        ("POST", "cancel"),
        ("GET", "snapshot"),
    ):
        async with nothing_changes(line.database):
            answer = await line.admin.request(method, f"/api/tasks/{task}/{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert "DRAFT" in answer.json()["error"]


async def test_a_worker_that_lacks_the_model_cannot_run_it(line: Line, simulator: Simulator) -> None:
    task = await line.frozen_task()
    simulator.faults.missing_nodes.add("KSampler")
    await try_the_worker(line)
    answer = await line.admin.post(f"/api/tasks/{task}/run")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_healthy_worker")
    assert answer.json()["error"] == "No healthy worker can run this workflow: gpu-1 lacks the node KSampler."
    simulator.faults.missing_nodes.clear()  # nobody tells of it: what could not be run is asked about again
    assert (await line.run(task))["state"] == "RUNNING"


async def try_the_worker(line: Line) -> None:
    [worker] = await line.call("GET", "/api/workers")
    await line.call("POST", f"/api/workers/{worker['id']}/test")


# --- pilot


async def test_a_pilot_answers_as_in_the_example(api: Api, line: Line, workflow: str, pool: str) -> None:
    task = await line.add_task(workflow, [pool], prompts=3, seeds=4)
    async with running_orchestrator(api.settings, api.app.state.database.url):
        pilot = await line.call("POST", f"/api/tasks/{task['id']}/pilot")
    assert set(pilot) >= {"samples", "worker_id", "retries_used", "ladder", "overrides", "heaviest", "forecast"}
    assert len(pilot["samples"]) == 10
    assert set(pilot["samples"][0]) == {"uri", "seed", "prompt_id", "width", "height", "thumbnail"}
    assert pilot["samples"][0]["prompt_id"] == pilot["heaviest"]["prompt_id"]
    assert f"/tasks/{task['id']}/pilot/{pilot['id']}/01.png?" in pilot["samples"][0]["uri"]
    assert [rung["batch_size"] for rung in pilot["ladder"]] == [1, 2]
    assert (await line.admin.get(pilot["samples"][9]["uri"])).status_code == 200
    assert await line.call("GET", f"/api/tasks/{task['id']}/pilot") == pilot
    shown = (await line.call("GET", f"/api/tasks/{task['id']}"))["pilot"]
    assert (shown["id"], shown["state"], shown["void"]) == (pilot["id"], "done", False)
    prompt = f"/api/tasks/{task['id']}/prompts/{task['prompts'][0]['id']}"
    await line.call("PATCH", prompt, json={"text": "edited"})
    assert (await line.call("GET", f"/api/tasks/{task['id']}/pilot"))["void"] is True


async def test_under_prefer_respond_async_the_answer_comes_at_once(line: Line, workflow: str, pool: str) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    headers = {"prefer": "handling=strict, respond-async"}
    answer = await line.admin.post(f"/api/tasks/{task}/pilot", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/tasks/{task}/pilot")
    pilot = answer.json()["data"]
    assert (pilot["state"], pilot["samples"], pilot["forecast"]) == ("running", [], None)
    assert await line.call("GET", answer.headers["location"]) == pilot


async def test_no_pilot_without_a_healthy_worker(line: Line, workflow: str, pool: str, simulator: Simulator) -> None:
    task = (await line.add_task(workflow, [pool], prompts=1, seeds=1))["id"]
    await simulator.stop()
    await try_the_worker(line)
    async with nothing_changes(line.database):
        answer = await line.admin.post(f"/api/tasks/{task}/pilot")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_healthy_worker")
    assert "gpu-1 is unhealthy: No answer from" in answer.json()["error"]
