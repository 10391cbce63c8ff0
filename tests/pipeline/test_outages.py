"""The database stops and comes back in the middle of a run; the store is full for a while: nothing is lost."""

import asyncio

import pytest

from comfylabel.comfy.simulator import running_simulator
from comfylabel.storage.store import ObjectStore, StoreUnavailable
from tests.pipeline.test_exactly_once import check_truth
from tests.support.app import running_api, settings_for
from tests.support.pipeline import Line, running_orchestrator
from tests.support.postgres import own_postgres
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def test_the_database_stops_and_starts_during_a_run(tmp_path):
    async with own_postgres(tmp_path / "postgres") as (postgres, url):
        settings = settings_for(tmp_path / "data")
        async with running_api(settings, url) as api, running_simulator(job_seconds=0.05) as simulator:
            line = await Line.of(api)
            await line.add_worker(simulator.url, max_concurrent_jobs=2)
            task = await line.frozen_task(prompts=8, seeds=4, max_batch_size=2)
            async with running_orchestrator(settings, url):
                await line.run(task)
                for goal in (3, 8):
                    await until(lambda: len(simulator.log) >= goal)  # noqa: B023 - awaited within the round
                    await postgres.stop()
                    answer = await line.admin.get("/api/tasks")
                    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                    await postgres.start()
                assert (await line.until_ended(task))["state"] == "DONE"
                await check_truth(line, task, simulator)


async def test_a_pilot_outlives_its_database(tmp_path):
    """Its job goes on: one that failed would leave it to the next sweep, and a cancelled one to nobody."""
    async with own_postgres(tmp_path / "postgres") as (postgres, url):
        settings = settings_for(tmp_path / "data")
        async with running_api(settings, url) as api, running_simulator() as simulator:
            line = await Line.of(api)
            await line.add_worker(simulator.url)
            task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
            simulator.faults.hold_jobs = True
            async with running_orchestrator(settings, url):
                await line.call("POST", f"/api/tasks/{task}/pilot", status=202, headers={"prefer": "respond-async"})
                await until(lambda: simulator.log and simulator.log[-1].started)
                taken = "select count(*) from submissions where state = 'accepted'"
                await until(lambda: line.database.pool.fetchval(taken))  # until then it asks the worker nothing
                await postgres.stop()
                simulator.faults.hold_jobs = False
                await until(lambda: simulator.log[-1].outcome)
                await until(lambda: any("/history/" in path for _, path in simulator.requests))
                await postgres.start()

                async def piloted() -> bool:
                    return bool(await line.database.pool.fetchval("select true from pilots where state = 'done'"))

                await until(piloted, 60)
                failed = await line.database.pool.fetchval("select count(*) from pgqueuer where status = 'failed'")
                assert failed == 0


async def test_a_full_store_delays_and_loses_nothing(api, monkeypatch):
    """The store says that it is full, as obstore does on ENOSPC (tests/storage has the real full disk)."""
    full = True
    put_all = ObjectStore.put_all

    async def put_or_full(self, *objects, **options):
        if full:
            refused.set()
            raise StoreUnavailable("The image store is full.")
        await put_all(self, *objects, **options)

    refused = asyncio.Event()
    monkeypatch.setattr(ObjectStore, "put_all", put_or_full)
    monkeypatch.setattr("comfylabel.orchestrator.generate._PAUSE_STORE", 0.05)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        await refused.wait()
        assert (await line.progress(task))["done"] == 0
        full = False
        ended = await line.until_ended(task)
        assert (ended["state"], sum(prompt["retries_used"] for prompt in ended["per_prompt"])) == ("DONE", 0)
        await check_truth(line, task, simulator)
