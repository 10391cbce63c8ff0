"""GET /history: what it says of success, failure and interruption, and how it is paged and forgotten."""

import uuid

import pytest

from comfylabel.comfy.schemas import HistoryEntry
from tests.support.served import Served, nonce
from tests.support.simulator import failing, model_free, node, slow


async def test_unknown_ids_are_empty(server: Served):
    answer = await server.get(f"/history/{uuid.uuid4()}")
    assert (answer.status, answer.json) == (200, {})


async def test_an_entry_of_success(server: Served):
    graph = model_free(nonce())
    identity = await server.submit(graph)
    entry = await server.entry(identity)
    assert entry.keys() == {"prompt", "outputs", "status", "meta"}
    assert entry["prompt"][1:3] == [identity, graph]
    assert entry["prompt"][4] == ["9"]
    assert entry["status"]["status_str"] == "success"
    assert entry["status"]["completed"] is True
    events = [event for event, _ in entry["status"]["messages"]]
    assert events == ["execution_start", "execution_cached", "execution_success"]
    assert all(data["prompt_id"] == identity for _, data in entry["status"]["messages"])
    assert entry["meta"]["9"] == {"node_id": "9", "display_node": "9", "parent_node": None, "real_node_id": "9"}


@pytest.mark.parametrize(
    ("kind", "exception", "message"),
    [
        ("value_error", "ValueError", "probe value error\n"),
        ("runtime_error", "RuntimeError", "probe runtime error\n"),
        ("file_not_found", "FileNotFoundError", "model file vanished\n"),
        ("accelerator_oom", "torch.AcceleratorError", "CUDA error: out of memory\n"),
    ],
)
async def test_an_entry_of_failure(server: Served, kind: str, exception: str, message: str):
    entry = await server.run(failing(kind, nonce=nonce()))
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    event, data = entry["status"]["messages"][-1]
    assert event == "execution_error"
    assert (data["exception_type"], data["exception_message"]) == (exception, message)
    assert (data["node_id"], data["node_type"]) == ("5", "ProbeRaise")
    assert set(data["executed"]) == {"1", "10"}
    assert {"traceback", "current_inputs", "current_outputs", "timestamp", "prompt_id"} <= data.keys()


async def test_running_out_of_memory_is_explained(server: Served):
    entry = await server.run(failing("cuda_oom", nonce=nonce()))
    _, data = entry["status"]["messages"][-1]
    assert data["exception_type"] == "torch.OutOfMemoryError"
    assert "\nThis error means you ran out of memory on your GPU.\n\nTIPS: " in data["exception_message"]


async def test_pictures_made_before_a_failure_are_listed(server: Served):
    entry = await server.run(failing("value_error", nonce=nonce()))
    assert list(entry["outputs"]) == ["10"]


@pytest.mark.parametrize(
    ("kind", "outcome", "out_of_memory"),
    [
        ("value_error", "error", False),
        ("cuda_oom", "error", True),
        ("accelerator_oom", "error", True),
        ("interrupt", "interrupted", None),
    ],
)
async def test_the_client_tells_them_apart(server: Served, kind: str, outcome: str, out_of_memory: bool | None):
    identity = await server.submit(failing(kind, nonce=nonce()))
    await server.entry(identity)
    entry = await server.client.history(identity)
    assert isinstance(entry, HistoryEntry)
    assert entry.outcome == outcome
    assert (entry.error.out_of_memory if entry.error else None) == out_of_memory
    assert list(entry.images) == ["10"]


async def test_the_worker_says_how_long_it_took_and_what_it_did_not_run_again(server: Served):
    graph = slow(0.5, nonce=nonce())
    saved_again = graph | {"9": node("SaveImage", images=["5", 0], filename_prefix="tests/again")}
    first, again = [HistoryEntry.from_json(await server.run(run)) for run in (graph, saved_again)]
    assert first.seconds is not None
    assert again.seconds is not None
    assert first.seconds > 0.4  # whole milliseconds, and clocks differ a little
    assert "5" not in first.cached
    assert "5" in again.cached


async def test_an_interrupted_node_raises_as_an_interruption_does(server: Served):
    entry = await server.run(failing("interrupt", nonce=nonce()))
    event, data = entry["status"]["messages"][-1]
    assert (event, data["node_id"]) == ("execution_interrupted", "5")


async def test_text_outputs_stand_beside_images(server: Served):
    graph = model_free(nonce()) | {"2": node("ProbeTextOut", text="hello", nonce=nonce())}
    entry = await server.run(graph)
    assert entry["outputs"]["2"] == {"text": ["hello"]}
    parsed = HistoryEntry.from_json(entry)
    assert list(parsed.images) == ["9"]


async def test_pages(server: Served):
    await server.post("/history", {"clear": True})
    ids = [await server.submit(model_free(nonce())) for _ in range(4)]
    await server.entry(ids[-1])
    assert list((await server.get("/history")).json) == ids
    assert list((await server.get("/history", params={"max_items": 2})).json) == ids[2:]
    assert list((await server.get("/history", params={"max_items": 2, "offset": 0})).json) == ids[:2]
    assert list((await server.get("/history", params={"max_items": 2, "offset": 1})).json) == ids[1:3]


async def test_a_page_size_that_is_no_number_is_trouble(server: Served):
    assert (await server.get("/history", params={"max_items": "x"})).status == 500


async def test_entries_can_be_deleted(server: Served):
    kept, deleted = [await server.submit(model_free(nonce())) for _ in range(2)]
    await server.entry(deleted)
    answer = await server.post("/history", {"delete": [deleted, "unknown"]})
    assert (answer.status, answer.body) == (200, b"")
    assert (await server.get(f"/history/{deleted}")).json == {}
    assert (await server.get(f"/history/{kept}")).json != {}


async def test_clearing_does_not_touch_the_job_that_runs(server: Served):
    running = await server.submit(slow(0.5, nonce=nonce()))
    await server.running(running)
    await server.post("/history", {"clear": True})
    assert (await server.get("/history")).json == {}
    assert (await server.entry(running))["status"]["completed"] is True
