"""Nothing is sent while pending + running >= max_concurrent_jobs, whoever sent what is there."""

import asyncio
import uuid

import aiohttp

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import NATIVE_GRAPH, Line, running_orchestrator
from tests.support.waiting import until


async def test_queue_gate_refuses_while_the_worker_holds_as_many_as_it_may(api):
    """Strangers fill the worker's queue: nothing of ours is sent until one of theirs has ended."""
    line = await Line.of(api)
    async with (
        running_simulator() as simulator,
        aiohttp.ClientSession() as session,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        stranger = ComfyClient(session, simulator.url)
        simulator.faults.hold_jobs = True
        foreign = [str(uuid.uuid4()) for _ in range(2)]
        for identity in foreign:
            await stranger.submit(NATIVE_GRAPH, identity)
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=3, seeds=4)
        await line.run(task)
        looks = _looks(simulator)
        await until(lambda: _looks(simulator) >= looks + 3)  # the gate has looked three times and sent nothing
        assert [entry.id for entry in simulator.log] == foreign
        assert await line.database.pool.fetchval("select count(*) from submissions where state <> 'reserved'") == 0

        await stranger.delete_queued([foreign[1]])
        await until(lambda: len(simulator.log) == 3)
        looks = _looks(simulator)
        await until(lambda: _looks(simulator) >= looks + 3)
        assert len(simulator.log) == 3
        simulator.faults.hold_jobs = False
        ended = await line.until_ended(task)
    assert ended["done"] == 12
    assert ended["per_prompt"][0]["retries_used"] == 0  # a refused reservation is no attempt
    attempts = await line.database.pool.fetch("select attempt from submissions")
    assert {row["attempt"] for row in attempts} == {1}


async def test_never_more_than_max_concurrent_jobs_of_ours_are_on_a_worker(api):
    line = await Line.of(api)
    deepest: dict[str, int] = {}
    async with (
        running_simulator(job_seconds=0.05) as one,
        running_simulator(job_seconds=0.05) as two,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        watched = {"one": one, "two": two}

        async def watch() -> None:
            while True:
                for name, simulator in watched.items():
                    deepest[name] = max(deepest.get(name, 0), simulator.queue.remaining)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        await line.add_worker(one.url, "one", max_concurrent_jobs=1)
        await line.add_worker(two.url, "two", max_concurrent_jobs=3)
        task = await line.frozen_task(prompts=10, seeds=4)
        await line.run(task)
        ended = await line.until_ended(task)
        watcher.cancel()
    assert ended["done"] == 40
    assert deepest["one"] == 1
    assert 1 <= deepest["two"] <= 3


def _looks(simulator) -> int:
    return sum(path == "/queue" for method, path in simulator.requests if method == "GET")
