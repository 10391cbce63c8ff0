"""A workflow that no worker could be asked about is taken, and judged before anything is made with it."""

import json

from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import NATIVE_GRAPH, Line


async def _status(line: Line, workflow: str) -> str:
    return str((await line.call("GET", f"/api/workflows/{workflow}"))["status"])


async def test_an_unverified_workflow_is_asked_about_again_at_run(api):
    line = await Line.of(api)
    workflow = await line.add_workflow()
    task = (await line.add_task(workflow, [await line.add_pool()]))["id"]
    await line.call("POST", f"/api/tasks/{task}/freeze")
    assert await _status(line, workflow) == "unverified"
    answer = await line.admin.post(f"/api/tasks/{task}/run")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_healthy_worker")
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        await line.run(task)
    assert await _status(line, workflow) in ("valid", "warnings")


async def test_a_workflow_that_workers_refuse_later_is_never_run(api):
    line = await Line.of(api)
    graph = json.loads(json.dumps(NATIVE_GRAPH))
    graph["3"]["inputs"]["steps"] = 0  # the server wants at least 1
    workflow = await line.add_workflow(graph)
    task = (await line.add_task(workflow, [await line.add_pool()]))["id"]
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        answer = await line.admin.post(f"/api/tasks/{task}/pilot")
        assert answer.status_code == 409
        assert "steps" in answer.json()["error"]
        assert simulator.log == []
    assert (await line.call("GET", f"/api/tasks/{task}"))["state"] == "DRAFT"
