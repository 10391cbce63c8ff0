"""The health probe updates a worker's status, and blocks runs when none is healthy."""

from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import Line, running_orchestrator
from tests.support.waiting import until


async def test_health_probe_updates_status_and_blocks_runs_when_no_worker_is_healthy(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task()
        paths = {path for _, path in simulator.requests}
        assert {"/system_stats", "/queue"} <= paths

        await simulator.stop()
        test = await line.call("POST", f"/api/workers/{worker}/test")
        assert test["healthy"] is False
        assert test["queue"] == {"pending": 0, "running": 0}
        assert simulator.url in test["reason"]
        assert (await line.call("GET", "/api/workers"))[0]["status"] == "UNHEALTHY"

        answer = await line.admin.post(f"/api/tasks/{task}/run")
        assert (answer.status_code, answer.json()["code"]) == (409, "no_healthy_worker")
        assert "gpu-1" in answer.json()["error"]
        assert (await line.progress(task))["state"] == "FROZEN"

        await simulator.start()
        assert (await line.call("POST", f"/api/workers/{worker}/test"))["healthy"] is True
        assert (await line.run(task))["worker_ids"] == [str(worker)]


async def test_the_health_loop_finds_a_worker_that_dies_and_one_that_comes_back(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.1})

    async def status() -> str:
        workers = await line.call("GET", "/api/workers")
        return str(workers[0]["status"])

    async with running_simulator() as simulator, running_orchestrator(settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        assert await status() == "HEALTHY"
        simulator.faults.proxy = "502"
        await until(lambda: _is(status, "UNHEALTHY"))
        simulator.faults.proxy = None
        await until(lambda: _is(status, "HEALTHY"))


async def test_a_run_without_a_healthy_worker_goes_on_when_one_comes_back(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.1})
    async with running_simulator() as simulator, running_orchestrator(settings, api.app.state.database.url):
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2, seeds=2)
        simulator.faults.hold_jobs = True
        await line.run(task)
        await until(lambda: simulator.log)
        simulator.faults.proxy = "502"
        await until(lambda: _is_unhealthy(line))
        assert (await line.progress(task))["state"] == "RUNNING"
        simulator.faults.proxy, simulator.faults.hold_jobs = None, False
        ended = await line.until_ended(task)
    assert (ended["state"], ended["done"]) == ("DONE", 4)
    assert {row["worker_id"] for row in await line.images(task)} == {worker}


async def _is(status, expected: str) -> bool:
    return await status() == expected


async def _is_unhealthy(line: Line) -> bool:
    return (await line.call("GET", "/api/workers"))[0]["status"] == "UNHEALTHY"
