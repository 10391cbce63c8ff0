"""What an admin does to a worker directly: only what is ours is told in full, and only what is ours is stopped."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.graph import Graph
from comfylabel.comfy.plain_text import without_paths
from comfylabel.comfy.simulator import Simulator, running_simulator
from tests.support.app import Api
from tests.support.hostile_worker import hostile_worker
from tests.support.rows import TaskRows, add_task
from tests.support.simulator import failing, slow
from tests.support.unchanged import nothing_changes
from tests.support.waiting import until

SECRET_PROMPT = "a secret of somebody else"


@dataclass
class Desk:
    admin: httpx.AsyncClient
    simulator: Simulator
    client: ComfyClient
    api: Api
    worker_id: uuid.UUID
    task: TaskRows

    async def send_ours(self, graph: Graph, *, ends: bool = False) -> str:
        """With a row, as the orchestrator would have written it."""
        identity = uuid.uuid4()
        async with self.api.app.state.database.transaction() as connection:
            await connection.execute(
                "insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value,"
                " batch_size, graph_digest, sent_at) values ($1, $2, $3, $4, 0, 1, 'sent', 1, 1, '', now())",
                identity, self.worker_id, self.task.id, self.task.prompts[0],
            )  # fmt: skip
        await self._send(graph, str(identity), ends=ends)
        return str(identity)

    async def send_theirs(self, graph: Graph, *, ends: bool = False) -> str:
        identity = str(uuid.uuid4())
        await self._send(graph, identity, ends=ends)
        return identity

    async def _send(self, graph: Graph, identity: str, *, ends: bool) -> None:
        graph["9"]["inputs"]["filename_prefix"] = f"home/{SECRET_PROMPT}/x"
        await self.client.submit(graph, identity)
        if ends:
            await until(lambda: identity in self.simulator.queue.history)

    def path(self, rest: str) -> str:
        return f"/api/workers/{self.worker_id}/{rest}"

    async def audited(self) -> list[tuple[str, dict[str, Any]]]:
        async with self.api.app.state.database.connection() as connection:
            rows = await connection.fetch("select action, detail from audit_events where action like 'worker_%'")
        return [(row["action"], row["detail"]) for row in rows if row["action"] != "worker_added"]


@pytest.fixture
def version() -> str:
    return "0.28.1"


@pytest.fixture
async def desk(api: Api, version: str) -> AsyncIterator[Desk]:
    admin = await api.as_role("admin")
    async with running_simulator(version=version) as simulator, aiohttp.ClientSession() as session:
        answer = await admin.post("/api/workers", json={"name": "gpu-1", "base_url": simulator.url})
        worker_id = uuid.UUID(answer.json()["data"]["id"])
        async with api.app.state.database.transaction() as connection:
            task = await add_task(connection, "RUNNING", worker_id=worker_id)
        yield Desk(admin, simulator, ComfyClient(session, simulator.url), api, worker_id, task)


# --- looking


async def test_the_queue_tells_ours_from_theirs_and_shows_no_graph(desk: Desk):
    desk.simulator.faults.hold_jobs = True
    theirs = await desk.send_theirs(slow(0))
    ours = await desk.send_ours(slow(0, nonce=1))
    await until(lambda: desk.simulator.executor.current)
    async with nothing_changes(desk.api.app.state.database):
        answer = await desk.admin.get(desk.path("queue"))
    assert answer.json()["data"] == {
        "running": [{"id": theirs, "ours": False, "task_id": None}],
        "pending": [{"id": ours, "ours": True, "task_id": str(desk.task.id)}],
        "pending_count": 1,
    }
    assert SECRET_PROMPT not in answer.text


async def test_the_history_says_how_it_ended_and_of_a_stranger_no_more(desk: Desk):
    ours = await desk.send_ours(slow(0), ends=True)
    theirs = await desk.send_theirs(slow(0, nonce=1), ends=True)
    async with nothing_changes(desk.api.app.state.database):
        own, foreign = [await desk.admin.get(desk.path(f"history/{one}")) for one in (ours, theirs)]
    shown = own.json()["data"]
    assert shown.pop("seconds") is not None
    assert shown == {
        "id": ours, "ours": True, "task_id": str(desk.task.id), "outcome": "success", "images": 1, "error": None,
    }  # fmt: skip
    assert (foreign.json()["data"]["ours"], foreign.json()["data"]["images"]) == (False, 1)
    assert SECRET_PROMPT not in own.text + foreign.text


async def test_why_ours_failed_is_told_and_why_theirs_did_is_not(desk: Desk):
    ours = await desk.send_ours(failing("cuda_oom"), ends=True)
    theirs = await desk.send_theirs(failing("cuda_oom", nonce=1), ends=True)
    own = (await desk.admin.get(desk.path(f"history/{ours}"))).json()["data"]
    foreign = (await desk.admin.get(desk.path(f"history/{theirs}"))).json()["data"]
    assert (own["outcome"], own["error"]["out_of_memory"], own["error"]["node_type"]) == ("error", True, "ProbeRaise")
    assert (foreign["outcome"], foreign["error"]) == ("error", None)


async def test_what_the_worker_does_not_remember_is_404(desk: Desk):
    answer = await desk.admin.get(desk.path(f"history/{uuid.uuid4()}"))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["error"].startswith("gpu-1 remembers no end of ")


@pytest.mark.parametrize("identity", ["..", "%2e%2e", "a b", "x" * 201, "a.json", "<script>", "%00"])
async def test_no_id_leads_out_of_the_history(desk: Desk, identity: str):
    before = len(desk.simulator.requests)
    answer = await desk.admin.get(desk.path(f"history/{identity}"))
    assert answer.status_code in (404, 405, 422)
    if answer.status_code == 422:
        assert answer.json()["error"] == "prompt_id must be 1 to 200 letters, digits, hyphens or underscores."
    assert [path for _, path in list(desk.simulator.requests)[before:] if path != "/ws"] == []


async def test_a_queue_that_never_ends_is_cut_and_counted(api: Api):
    many = ",".join(f'[{number}, "\\u0000{number}", {{}}, {{}}, []]' for number in range(3000))
    admin = await api.as_role("admin")
    async with hostile_worker({"/queue": f'{{"queue_running": [], "queue_pending": [{many}]}}'}) as url:
        worker = (await admin.post("/api/workers", json={"name": "odd", "base_url": url})).json()["data"]
        shown = (await admin.get(f"/api/workers/{worker['id']}/queue")).json()["data"]
    assert (len(shown["pending"]), shown["pending_count"]) == (1000, 3000)
    assert shown["pending"][0] == {"id": " 0", "ours": False, "task_id": None}


@given(st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=2, max_size=5), st.sampled_from("/\\"))
def test_of_a_path_only_the_name_of_the_file_is_left(folders: list[str], separator: str):
    root = "/" if separator == "/" else "C:\\"
    path = root + separator.join([f"_{folder}_" for folder in folders] + ["model.pt"])
    for text in (f"No such file: {path}", f"[Errno 2] No such file: '{path}'", f'File "{path}", line 7'):
        told = without_paths(text)
        assert "model.pt" in told
        assert all(f"_{folder}_" not in told for folder in folders)


@pytest.mark.parametrize(
    "text", ["and/or", "77x2048 and 768x320", "n/a", "Expected all tensors on cuda:0, not cpu", "1.5/2 GB"]
)
def test_what_is_no_path_is_left_alone(text: str):
    assert without_paths(text) == text


# --- interrupting


async def test_ours_is_interrupted_and_theirs_is_not(desk: Desk):
    desk.simulator.faults.hold_jobs = True
    theirs = await desk.send_theirs(slow(0))
    await until(lambda: desk.simulator.executor.current)
    async with nothing_changes(desk.api.app.state.database):
        refused = await desk.admin.post(desk.path("interrupt"), json={"submission_id": theirs})
    assert (refused.status_code, refused.json()["code"]) == (422, "not_ours")
    forced = await desk.admin.post(desk.path("interrupt"), json={"submission_id": theirs, "force": True})
    assert forced.json()["data"] == {"was_running": True}
    await until(lambda: theirs in desk.simulator.queue.history)
    ours = await desk.send_ours(slow(0, nonce=1))
    await until(lambda: desk.simulator.queue.is_running(ours))
    answer = await desk.admin.post(desk.path("interrupt"), json={"submission_id": ours})
    assert answer.json()["data"] == {"was_running": True}
    await until(lambda: ours in desk.simulator.queue.history)
    assert [entry.outcome for entry in desk.simulator.log] == ["interrupted", "interrupted"]
    assert await desk.audited() == [
        ("worker_interrupted", {"submission_id": theirs, "force": True}),
        ("worker_interrupted", {"submission_id": ours, "force": False}),
    ]


async def test_without_an_id_only_force_interrupts(desk: Desk):
    desk.simulator.faults.hold_jobs = True
    theirs = await desk.send_theirs(slow(0))
    await until(lambda: desk.simulator.executor.current)
    for body in ({}, {"force": False}):
        refused = await desk.admin.post(desk.path("interrupt"), json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert desk.simulator.executor.current is not None
    assert (await desk.admin.post(desk.path("interrupt"), json={"force": True})).json()["data"]["was_running"] is True
    await until(lambda: theirs in desk.simulator.queue.history)


@pytest.mark.parametrize("version", ["0.3.40"])
async def test_a_server_that_would_stop_a_stranger_is_not_asked(desk: Desk):
    """Before 0.3.57 an id is not read: whatever runs would be interrupted."""
    desk.simulator.faults.hold_jobs = True
    theirs = await desk.send_theirs(slow(0))
    ours = await desk.send_ours(slow(0, nonce=1))
    await until(lambda: desk.simulator.queue.is_running(theirs))
    answer = await desk.admin.post(desk.path("interrupt"), json={"submission_id": ours})
    assert (answer.status_code, answer.json()["code"]) == (409, "interrupts_anything")
    assert desk.simulator.queue.is_running(theirs)
    assert ("POST", "/interrupt") not in desk.simulator.requests
    assert await desk.audited() == []


# --- free


async def test_free_sends_what_was_asked_for(desk: Desk):
    assert (await desk.admin.post(desk.path("free"))).json()["data"] is None
    await desk.admin.post(desk.path("free"), json={"free_memory": False})
    assert desk.simulator.executor.frees == [
        {"unload_models": True, "free_memory": True},
        {"unload_models": True, "free_memory": False},
    ]
    assert [action for action, _ in await desk.audited()] == ["worker_freed", "worker_freed"]


# --- whoever asks for what is not there


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        ("interrupt", {"submission_id": "no uuid"}),
        ("interrupt", {"force": "yes"}),
        ("interrupt", {"force": True, "clear": True}),
        ("interrupt", []),
        ("free", {"unload_models": 1}),
        ("free", {"everything": True}),
    ],
)
async def test_a_body_that_means_nothing_is_refused(desk: Desk, rest: str, body: object):
    answer = await desk.admin.post(desk.path(rest), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    assert not {("POST", "/interrupt"), ("POST", "/free")} & set(desk.simulator.requests)


async def test_a_worker_that_is_away_is_a_502_in_words(desk: Desk):
    await desk.simulator.stop()
    for method, rest, body in (
        ("GET", "queue", None),
        ("GET", f"history/{uuid.uuid4()}", None),
        ("POST", "free", {}),
        ("POST", "interrupt", {"force": True}),
    ):
        answer = await desk.admin.request(method, desk.path(rest), json=body)
        assert (answer.status_code, answer.json()["code"]) == (502, "worker_error")
        assert answer.json()["error"].startswith("No answer from http://127.0.0.1:")


async def test_a_removed_worker_is_404(desk: Desk):
    await desk.admin.delete(f"/api/workers/{desk.worker_id}")
    for method, rest in (("GET", "queue"), ("GET", f"history/{uuid.uuid4()}"), ("POST", "free"), ("POST", "drain")):
        assert (await desk.admin.request(method, desk.path(rest))).status_code == 404
    assert (await desk.admin.post(desk.path("interrupt"), json={"force": True})).status_code == 404
