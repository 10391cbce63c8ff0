"""What newer releases do otherwise than 0.3.75, from recordings of 0.28.1 and from ComfyUI's own history."""

import uuid
from collections.abc import AsyncIterator

import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import running_simulator
from tests.support.served import Served
from tests.support.simulator import failing, model_free, node, slow

OLD, NEW = "0.3.75", "0.28.1"


@pytest.fixture
async def served(version: str) -> AsyncIterator[Served]:
    async with running_simulator(version=version) as simulator, worker_session() as session:
        yield Served(simulator.url, session, lambda _: None)


@pytest.mark.parametrize(("version", "taken"), [(OLD, True), ("0.24.9", True), ("0.25.0", False), (NEW, False)])
@pytest.mark.parametrize(
    "identity", ["my-own-id", "DCF03408-E692-4657-B738-BCE33975E636", "dcf03408e6924657b738bce33975e636", 7], ids=str
)
async def test_ids(served: Served, taken: bool, identity: object):
    answer = await served.prompt(model_free(), prompt_id=identity)
    if taken:
        assert (answer.status, answer.json["prompt_id"]) == (200, str(identity))
    else:
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_prompt_id")
        assert answer.json["error"]["message"] == "prompt_id must be a valid UUID"


@pytest.mark.parametrize(("version", "chosen"), [(OLD, False), (NEW, True)])
async def test_an_id_of_null(served: Served, chosen: bool):
    identity = (await served.prompt(model_free(), prompt_id=None)).json["prompt_id"]
    assert (identity == str(uuid.UUID(identity))) if chosen else (identity == "None")


@pytest.mark.parametrize("version", [NEW])
async def test_a_missing_class_is_named(served: Served):
    titled = node("NoSuchNode") | {"_meta": {"title": "My node"}}
    error = (await served.prompt(model_free() | {"7": titled})).json["error"]
    assert error == {
        "type": "missing_node_type",
        "message": "Node 'My node' not found. The custom node may not be installed.",
        "details": "Node ID '#7'",
        "extra_info": {"node_id": "7", "class_type": "NoSuchNode", "node_title": "My node"},
    }
    error = (await served.prompt(model_free() | {"7": {"inputs": {}}})).json["error"]
    assert error["message"].startswith("Node 'ID #7' has no class_type.")
    assert error["extra_info"] == {"node_id": "7", "class_type": None, "node_title": None}


@pytest.mark.parametrize("version", [NEW])
async def test_a_loop_is_described(served: Served):
    graph = model_free() | {"5": node("ImageInvert", image=["6", 0]), "6": node("ImageInvert", image=["5", 0])}
    graph["9"]["inputs"]["images"] = ["6", 0]
    errors = (await served.prompt(graph)).json["node_errors"]
    assert errors.keys() == {"5", "6"}
    assert errors["6"]["errors"][0] == {
        "type": "dependency_cycle",
        "message": "Dependency cycle detected",
        "details": "6 (ImageInvert) -> 5 (ImageInvert) -> 6 (ImageInvert)",
        "extra_info": {"node_id": "6", "cycle_nodes": ["6", "5"]},
    }
    assert errors["5"]["dependent_outputs"] == ["9"]


@pytest.mark.parametrize("version", [NEW])
@pytest.mark.parametrize("graph", [[], {"_comment": "x"}, {"9": {"class_type": "SaveImage", "inputs": None}}], ids=str)
async def test_more_graphs_are_trouble(served: Served, graph: object):
    assert (await served.prompt(graph)).status == 500


@pytest.mark.parametrize(("version", "status"), [(OLD, 200), ("0.18.9", 200), ("0.19.0", 403), (NEW, 403)])
async def test_cross_site_requests(served: Served, status: int):
    assert (await served.get("/queue", headers={"Sec-Fetch-Site": "cross-site"})).status == status


@pytest.mark.parametrize(("version", "explained"), [(OLD, False), (NEW, True)])
async def test_an_accelerator_out_of_memory(served: Served, explained: bool):
    entry = await served.run(failing("accelerator_oom"))
    message = entry["status"]["messages"][-1][1]["exception_message"]
    assert ("ran out of memory on your GPU" in message) is explained


@pytest.mark.parametrize(
    ("version", "system", "category"),
    [(OLD, "posix", "api node/"), ("0.23.9", "linux", "api node/"), (NEW, "linux", "partner/")],
)
async def test_names_that_changed(served: Served, system: str, category: str):
    assert (await served.get("/system_stats")).json["system"]["os"] == system
    paid = (await served.client.object_info("SimulatedPartnerTextToImage"))["SimulatedPartnerTextToImage"]
    assert paid["api_node"] is True
    assert paid["category"].startswith(category)


@pytest.mark.parametrize(("version", "visible"), [("0.3.64", True), (OLD, False), (NEW, False)])
async def test_secrets_of_partner_nodes(served: Served, visible: bool):
    entry = await served.run(model_free(), extra_data={"api_key_comfy_org": "SECRET"})
    assert ("api_key_comfy_org" in entry["prompt"][3]) is visible
    assert ("create_time" in entry["prompt"][3]) is not visible


@pytest.mark.parametrize("version", ["0.3.56"])
async def test_an_old_server_interrupts_whatever_runs(served: Served):
    running = await served.submit(slow(30))
    await served.running(running)
    await served.post("/interrupt", {"prompt_id": str(uuid.uuid4())})
    assert (await served.entry(running))["status"]["messages"][-1][0] == "execution_interrupted"


@pytest.mark.parametrize(("version", "jobs", "cancel"), [(OLD, 404, 404), ("0.6.0", 200, 404), (NEW, 200, 200)])
async def test_jobs_came_in_two_steps(served: Served, jobs: int, cancel: int):
    assert (await served.get("/api/jobs", params={"limit": 1})).status == jobs
    assert (await served.post(f"/api/jobs/{uuid.uuid4()}/cancel")).status == cancel


@pytest.mark.parametrize("version", [NEW])
async def test_jobs_by_status(served: Served):
    failed = await served.submit(failing("value_error"))
    await served.entry(failed)
    done = await served.submit(model_free())
    await served.entry(done)
    running = await served.submit(slow(30))
    await served.running(running)
    pending = await served.submit(model_free(1))

    async def ids(**query: str) -> list[str]:
        return [job["id"] for job in (await served.get("/api/jobs", params=query)).json["jobs"]]

    assert await ids(status="pending") == [pending]
    assert await ids(status="in_progress") == [running]
    assert await ids(status="completed") == [done]
    assert await ids(status="failed") == [failed]
    assert (await served.get("/api/jobs", params={"status": "bogus"})).status == 400
    page = (await served.get("/api/jobs", params={"limit": "1", "offset": "1"})).json
    assert len(page["jobs"]) == 1
    assert page["pagination"] == {"offset": 1, "limit": 1, "total": 4, "has_more": True}
    job = (await served.get(f"/api/jobs/{failed}")).json
    assert job["execution_error"]["exception_type"] == "ValueError"
    assert (await served.get(f"/api/jobs/{uuid.uuid4()}")).json == {"error": "Job not found"}
    assert (await served.post(f"/api/jobs/{pending}/cancel")).json == {"cancelled": True}
    assert (await served.post(f"/api/jobs/{pending}/cancel")).json == {"cancelled": False}
    assert (await served.post("/api/jobs/cancel", {"job_ids": [running]})).json == {"cancelled": True}
    await served.entry(running)
    assert await ids(status="cancelled") == [running]
    refused = await served.post("/api/jobs/cancel", {"job_ids": ["x"]})
    assert (refused.status, refused.json["invalid_ids"]) == (400, ["x"])


@pytest.mark.parametrize("version", [NEW])
async def test_more_features(served: Served):
    assert (await served.get("/features")).json["node_replacements"] is True
