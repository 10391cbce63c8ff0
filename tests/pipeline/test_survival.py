"""What must not end an orchestrator, hold it for ever, or keep it from stopping."""

import asyncio
import signal
import sys
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from comfylabel.comfy.simulator import running_simulator
from comfylabel.orchestrator import workers_repository
from comfylabel.storage.keys import pilot_key
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import Line, loop_graph, running_orchestrator
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


async def test_stopping_takes_no_longer_than_its_waits(api):
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=4, seeds=2)
        await line.run(task)
        async with asyncio.timeout(30):
            async with running_orchestrator(api.settings, line.database.url):
                await until(lambda: simulator.log)
        simulator.faults.hold_jobs = False
        async with running_orchestrator(api.settings, line.database.url):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_fault_in_one_loop_ends_neither_it_nor_the_process(api, monkeypatch):
    slots = workers_repository.slots
    faults = 3

    async def slots_or_fails(connection):
        nonlocal faults
        if faults:
            faults -= 1
            raise asyncpg.QueryCanceledError("canceling statement due to user request")
        return await slots(connection)

    monkeypatch.setattr(workers_repository, "slots", slots_or_fails)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        assert (await line.until_ended(task, 20))["state"] == "DONE"


async def test_a_prompt_is_retried_three_times_over_all_its_chunks(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.execution_errors = -1
        line = await Line.of(api)
        await line.add_worker(simulator.url, max_concurrent_jobs=6)
        task = await line.frozen_task(prompts=1, seeds=6, graph=loop_graph())
        await line.run(task)
        ended = await line.until_ended(task)
        assert (ended["failed"], ended["per_prompt"][0]["retries_used"], len(simulator.log)) == (6, 3, 9)


async def test_a_worker_that_answers_500_to_every_submission_holds_none_for_ever(api):
    async with (
        running_simulator() as broken,
        running_simulator() as well,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        broken.faults.refused_500 = -1
        line = await Line.of(api)
        await line.add_worker(broken.url, "a-broken", priority=1)
        await line.add_worker(well.url, "b-well")
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        ended = await line.until_ended(task, 50)
        assert (ended["state"], ended["failed"]) == ("DONE", 0)
        await check_truth(line, task, broken, well)


async def test_a_pilot_that_dies_at_work_is_run_anew_and_keeps_no_task_from_ending(api):
    """Killed between the worker's end of a submission and our note of it."""
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
        program = [sys.executable, "-m", "tests.support.dying_orchestrator", line.database.url]
        process = await asyncio.create_subprocess_exec(
            *program, str(api.settings.data_dir), "after_history", "3", cwd=ROOT
        )
        pilot = asyncio.create_task(line.call("POST", f"/api/tasks/{task}/pilot"))
        assert await process.wait() == -signal.SIGKILL
        async with running_orchestrator(api.settings, line.database.url):
            assert len((await pilot)["samples"]) == 10
            await line.call("POST", f"/api/tasks/{task}/freeze")
            await line.run(task)
            assert (await line.until_ended(task, 20))["state"] == "DONE"
    assert await line.database.pool.fetchval("select count(*) from submissions where ended_at is null") == 0


async def test_a_pilot_cancelled_while_nobody_ran_it_leaves_its_slot(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        workflow, pool = await line.add_workflow(), await line.add_pool()
        task = (await line.add_task(workflow, [pool], prompts=2, seeds=2))["id"]
        prefer = {"prefer": "respond-async"}
        async with running_orchestrator(api.settings, line.database.url):
            await line.call("POST", f"/api/tasks/{task}/pilot", status=202, headers=prefer)
            await until(lambda: simulator.log)
        await line.database.pool.execute("delete from pgqueuer")  # its job is lost with the process
        await line.call("POST", f"/api/tasks/{task}/freeze")  # which cancels the pilot
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: not simulator.queue.remaining)
            simulator.faults.hold_jobs = False
            await line.run(task)
            assert (await line.until_ended(task, 20))["state"] == "DONE"


async def test_a_pilot_cancelled_by_a_freeze_leaves_no_file_without_a_row(api):
    """Its process dies between the file and the row; the next one finds the pilot cancelled."""
    line = await Line.of(api)
    store = api.settings.data_dir / "objects"
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
        await line.call("POST", f"/api/tasks/{task}/pilot", status=202, headers={"prefer": "respond-async"})
        program = [sys.executable, "-m", "tests.support.dying_orchestrator", line.database.url]
        process = await asyncio.create_subprocess_exec(*program, str(api.settings.data_dir), "after_put", "3", cwd=ROOT)
        assert await process.wait() == -signal.SIGKILL
        await line.call("POST", f"/api/tasks/{task}/freeze")
        rows = await line.database.pool.fetch(
            "select image_uri, thumbnail_uri, tile_uri, preview_uri from generations where pilot"
        )
        kept = {key for row in rows for key in row.values()}

        def stored() -> set[str]:
            return {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}

        assert stored() - kept
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: stored() == kept)


async def test_a_file_stored_after_its_pilot_was_tidied_is_thrown_away(api):
    """By a process that was frozen while it stored a sample, woke up when another had tidied, and died."""
    line = await Line.of(api)
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url)
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
        async with running_orchestrator(api.settings, line.database.url):
            await line.call("POST", f"/api/tasks/{task}/pilot", status=202, headers={"prefer": "respond-async"})
            await until(lambda: simulator.log)
            await line.call("POST", f"/api/tasks/{task}/freeze")
            simulator.faults.hold_jobs = False

            async def is_tidied() -> bool:
                return not await line.database.pool.fetchval("select count(*) from pgqueuer")

            await until(is_tidied)
        pilot = await line.database.pool.fetchval("select id from pilots where state = 'cancelled'")
        late = api.settings.data_dir / "objects" / pilot_key(UUID(task), pilot, 3, "png")
        late.parent.mkdir(parents=True)
        late.write_bytes(b"late")
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: not late.exists())


async def test_a_pilot_whose_worker_is_removed_ends(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        worker = await line.add_worker(simulator.url)
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
        pilot = asyncio.create_task(line.admin.post(f"/api/tasks/{task}/pilot"))
        await until(lambda: len(simulator.log) == 2)
        simulator.faults.hold_jobs = True
        await line.call("DELETE", f"/api/workers/{worker}")
        simulator.faults.hold_jobs = False
        answer = await asyncio.wait_for(pilot, 20)
    assert (answer.status_code, answer.json()["code"]) == (422, "worker_gone")


async def test_jobs_are_picked_again_at_once_when_the_search_for_them_was_cut(api):
    """While a job is under way that takes for ever."""
    line = await Line.of(api)
    async with (
        running_simulator() as simulator,
        running_simulator() as other,
        running_orchestrator(api.settings, line.database.url),
    ):
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, "a", priority=1)
        await line.run(await line.frozen_task(prompts=1, seeds=2))
        await until(lambda: simulator.log)
        await line.add_worker(other.url, "b")
        pool = await line.add_pool("color")
        task = (await line.add_task(await line.add_workflow(name="autumn"), [pool], prompts=1, seeds=2))["id"]
        await line.call("POST", f"/api/tasks/{task}/freeze")
        async with line.database.transaction() as connection:
            await connection.execute("lock table pgqueuer in access exclusive mode")
            await until(lambda: line.database.pool.fetch(_CUT))
        await line.run(task)
        assert (await line.until_ended(task, 20))["state"] == "DONE"


_CUT = """
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
and wait_event_type = 'Lock' and application_name <> 'comfylabel' and query ilike '%pgqueuer%queued%'
"""
