"""A pilot that runs out of memory tries smaller sizes, at most three."""

from typing import Any
from uuid import UUID

from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import NATIVE_GRAPH, Line, running_orchestrator

# The workflow asks for 512 x 512; 0.75 of it, down to a multiple of 64, is 384, then 256, then 192.
SIZE = 512


def _graph() -> dict[str, Any]:
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": SIZE, "height": SIZE, "batch_size": 1}}
    return NATIVE_GRAPH | {"5": latent}


async def _task(line: Line, **metadata) -> str:
    workflow = await line.add_workflow(_graph(), max_batch_size=4, **metadata)
    return str((await line.add_task(workflow, [await line.add_pool()], prompts=3, seeds=4))["id"])


async def test_pilot_out_of_memory_lowers_resolution_then_batch_and_freeze_keeps_the_rung(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        task = await _task(line)
        simulator.faults.out_of_memory_above = 384 * 384 * 2  # 512 fits alone, four of them do not
        pilot = await line.call("POST", f"/api/tasks/{task}/pilot")
        assert [(rung["width"], rung["batch_size"], rung["outcome"]) for rung in pilot["ladder"]] == [
            (512, 1, "ok"),
            (512, 4, "out_of_memory"),
            (512, 2, "out_of_memory"),
            (512, 1, "ok"),
        ]
        assert (pilot["retries_used"], len(pilot["samples"])) == (2, 10)
        assert sum(path == "/free" for _, path in simulator.requests) == 2

        frozen = await line.call("POST", f"/api/tasks/{task}/freeze")
        assert frozen["state"] == "FROZEN"
        await line.run(task)
        ended = await line.until_ended(task)
    assert ended["done"] == 12
    assert {row["batch_size"] for row in await line.images(task)} == {1}


async def test_pilot_out_of_memory_goes_down_the_resolution_ladder(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        workflow = await line.add_workflow(_graph(), max_batch_size=1)
        task = (await line.add_task(workflow, [await line.add_pool()], prompts=2, seeds=2))["id"]
        simulator.faults.out_of_memory_above = 300 * 300
        pilot = await line.call("POST", f"/api/tasks/{task}/pilot")
        assert [rung["width"] for rung in pilot["ladder"]] == [512, 384, 256]
        assert pilot["overrides"] == {"width": 256, "height": 256, "batch_size": None}
        assert {(sample["width"], sample["height"]) for sample in pilot["samples"]} == {(256, 256)}

        await line.call("POST", f"/api/tasks/{task}/freeze")
        await line.run(task)
        await line.until_ended(task)
    assert {(row["width"], row["height"]) for row in await line.images(task)} == {(256, 256)}


async def test_pilot_is_capped_at_three_retries_and_says_the_ladder(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        worker = await line.add_worker(simulator.url)
        task = await _task(line)
        simulator.faults.out_of_memory_above = 1
        answer = await line.admin.post(f"/api/tasks/{task}/pilot")
        assert (answer.status_code, answer.json()["code"]) == (422, "pilot_out_of_memory")
        data = answer.json()["data"]
        assert [rung["width"] for rung in data["ladder"]] == [512, 384, 256, 192]
        assert {rung["outcome"] for rung in data["ladder"]} == {"out_of_memory"}
        assert (data["retries_used"], data["worker_id"]) == (3, str(worker))
        assert len(simulator.log) == 4
        assert not await line.database.pool.fetchval("select count(*) from generations where task_id = $1", UUID(task))


async def test_without_leave_the_resolution_is_never_lowered(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        task = await _task(line, allow_dynamic_resolution=False)
        simulator.faults.out_of_memory_above = 1
        answer = await line.admin.post(f"/api/tasks/{task}/pilot")
        assert (answer.status_code, answer.json()["code"]) == (422, "pilot_out_of_memory")
        assert len(answer.json()["data"]["ladder"]) == 1
