"""What was left behind is taken up again: by the sweep in the rows, by the tidying on the workers."""

import uuid
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.simulator import running_simulator
from comfylabel.orchestrator import upkeep_repository
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import NATIVE_GRAPH, QUICK, Line, running_orchestrator
from tests.support.waiting import until

# Of a process that died between the reservation and the answer of GET /queue, for work that nobody asks for.
ABANDONED = """
insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size, graph_digest,
  created_at)
select gen_random_uuid(), $1, p.task_id, p.id, 0, 1, 'reserved', 1, 1, '', now() - interval '31 seconds'
from prompts p where p.task_id = $2 limit 1
"""


async def test_pending_images_without_a_job_get_one(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task()
        await line.run(task)
        assert await line.database.pool.fetchval("delete from pgqueuer returning 1")
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_submission_that_nobody_follows_is_followed_and_not_sent_again(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        async with running_orchestrator(api.settings, line.database.url):
            await line.run(task)
            await until(lambda: simulator.log)
        await line.database.pool.execute("delete from pgqueuer")
        simulator.faults.hold_jobs = False
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)
        assert len(simulator.log) == 1


async def test_a_reservation_of_a_dead_process_gives_its_slot_back(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        pool = await line.add_pool("color")
        waiting = await line.add_task(await line.add_workflow(name="autumn"), [pool], prompts=1, seeds=1)
        await line.database.pool.execute(ABANDONED, worker, uuid.UUID(waiting["id"]))
        await line.run(task)
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        assert await line.database.pool.fetchval("select count(*) from submissions where state = 'reserved'") == 0


async def test_jobs_that_failed_are_kept_for_a_week(database):
    async with database.transaction() as connection:
        for age, key in (("6 days", "young"), ("8 days", "old")):
            await connection.execute(
                "insert into pgqueuer (priority, status, entrypoint, dedupe_key, updated)"
                " values (0, 'failed', 'generate', $1, now() - $2::text::interval)",
                key,
                age,
            )
        await upkeep_repository.drop_failed_jobs(connection)
        assert [row["dedupe_key"] for row in await connection.fetch("select dedupe_key from pgqueuer")] == ["young"]


async def test_a_run_without_a_healthy_worker_raises_an_alert(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.1})
    with structlog.testing.capture_logs() as told:

        def heard(event: str) -> int:
            return sum(entry["event"] == event for entry in told)

        async with running_simulator() as simulator, running_orchestrator(settings, line.database.url):
            await line.add_worker(simulator.url)
            task = await line.frozen_task()
            simulator.faults.proxy = "502"
            await until(lambda: heard("worker_unhealthy"))
            assert not heard("runs_wait_for_a_worker")  # nothing waits yet
            healthy = heard("worker_healthy")  # once, or twice where the loop and the registration met
            simulator.faults.proxy = None
            await until(lambda: heard("worker_healthy") > healthy)
            simulator.faults.hold_jobs = True
            await line.run(task)
            simulator.faults.proxy = "502"
            await until(lambda: heard("runs_wait_for_a_worker"))
            assert (await line.progress(task))["state"] == "RUNNING"


async def test_a_worker_that_is_back_is_used_before_the_next_round_of_checks(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 3600.0})
    pace = replace(QUICK, unwell_seconds=0.1)
    async with running_simulator() as simulator, running_orchestrator(settings, line.database.url, pace):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log)
        await line.database.pool.execute("update workers set status = 'UNHEALTHY', failed_checks = 2")
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_queue_full_of_strangers_is_told_once_and_so_is_its_end(api):
    line = await Line.of(api)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.1})
    with structlog.testing.capture_logs() as told:

        def heard(event: str) -> list[Any]:
            return [entry for entry in told if entry["event"] == event]

        async with (
            running_simulator() as simulator,
            aiohttp.ClientSession() as session,
            running_orchestrator(settings, line.database.url),
        ):
            simulator.faults.hold_jobs = True
            stranger = ComfyClient(session, simulator.url)
            for _ in range(3):
                await stranger.submit(NATIVE_GRAPH, str(uuid.uuid4()))
            await line.add_worker(simulator.url, max_concurrent_jobs=2)
            task = await line.frozen_task()
            await line.run(task)
            await until(lambda: heard("queue_backlog"))
            simulator.faults.hold_jobs = False
            assert (await line.until_ended(task))["state"] == "DONE"
            await until(lambda: heard("queue_backlog_over"))

    (alert,) = heard("queue_backlog")
    assert (alert["worker"], alert["queue"], alert["limit"]) == ("gpu-1", 3, 2)
    assert len(heard("queue_backlog_over")) == 1


@pytest.mark.slow
async def test_what_was_given_up_is_taken_off_a_worker_that_comes_back(api):
    line = await Line.of(api)
    async with (
        running_simulator() as silent,
        running_simulator() as other,
        running_orchestrator(api.settings, line.database.url),
    ):
        silent.faults.hold_jobs = True
        worker = await line.add_worker(silent.url, "a-silent", priority=9)
        await line.add_worker(other.url, "b-other")
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await until(lambda: silent.log)
        silent.faults.proxy = "502"
        assert (await line.until_ended(task))["state"] == "DONE"
        silent.faults.proxy = None
        assert (await line.call("POST", f"/api/workers/{worker}/test"))["healthy"]
        await until(lambda: silent.queue.remaining == 0)
        assert silent.log[0].outcome == "interrupted"
        await check_truth(line, task, silent, other)
