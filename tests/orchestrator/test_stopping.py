"""An orchestrator that is told to stop stops, whatever its workers still do, and the next one goes on."""

import asyncio

from comfylabel.comfy.simulator import running_simulator
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import Line, running_orchestrator
from tests.support.waiting import until


async def test_it_ends_while_submissions_run_and_the_next_one_ends_them(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=3, seeds=2)
        async with asyncio.timeout(30), running_orchestrator(api.settings, line.database.url):
            await line.run(task)
            await until(lambda: len(simulator.log) == 2)
        assert simulator.queue.remaining == 2  # it stopped although these had not ended
        simulator.faults.hold_jobs = False
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)
