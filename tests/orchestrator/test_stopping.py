"""An orchestrator that is told to stop stops, whatever its workers and its database do, and the next one goes on."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from comfylabel.comfy.simulator import running_simulator
from comfylabel.orchestrator import queue_gate
from comfylabel.orchestrator.process import orchestrator
from tests.orchestrator.test_dispatcher import UNSWEPT, picks_nothing
from tests.pipeline.test_exactly_once import check_truth
from tests.support.app import running_api, settings_for
from tests.support.pipeline import QUICK, Line, running_orchestrator
from tests.support.postgres import own_postgres
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


async def test_what_it_had_under_way_is_followed_by_the_other_one_at_once(api, monkeypatch):
    """Not by the sweep, and not after a lease."""
    line = await Line.of(api)
    url = line.database.url
    async with running_simulator() as simulator, running_orchestrator(api.settings, url, UNSWEPT) as other:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=2, seeds=2)
        async with picks_nothing(monkeypatch, other), running_orchestrator(api.settings, url, UNSWEPT):
            await line.run(task)
            await until(lambda: len(simulator.log) == 2)
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_a_slot_that_it_has_reserved_and_not_used_is_given_back(api, monkeypatch):
    line = await Line.of(api)
    asked = asyncio.Event()

    async def never_answers(*_: object) -> int:
        asked.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(queue_gate, "look", never_answers)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        async with running_orchestrator(api.settings, line.database.url, UNSWEPT):
            await line.run(task)
            await asked.wait()
    assert await line.database.pool.fetchval("select count(*) from submissions") == 0


@contextmanager
def frozen(server: psutil.Process) -> Iterator[None]:
    """With all that it has started."""
    processes = [server, *server.children(recursive=True)]
    try:
        for process in processes:
            os.kill(process.pid, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


async def test_it_ends_although_the_database_says_nothing_any_more(tmp_path, monkeypatch):
    for name in ("db.jobs._STOP_SECONDS", "db.pool._CLOSE_SECONDS", "orchestrator.process._STOP_SECONDS"):
        monkeypatch.setattr(f"comfylabel.{name}", 0.2)
    settings = settings_for(tmp_path / "data")
    async with (
        own_postgres(tmp_path / "postgres") as (_, url),
        running_api(settings, url) as api,
        running_simulator() as simulator,
    ):
        line = await Line.of(api)
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=3, seeds=2)
        server = psutil.Process(await line.database.pool.fetchval("select pg_backend_pid()")).parent()
        assert server is not None
        async with orchestrator(settings, url, pace=QUICK) as parts:
            work = asyncio.create_task(parts.run())
            await line.run(task)
            await until(lambda: len(simulator.log) == 2)
            with frozen(server):
                pool = parts.database.pool
                await until(lambda: pool.get_size() - pool.get_idle_size() >= 2)  # they wait for its answers
                work.cancel()
                done, _ = await asyncio.wait({work}, timeout=30)
                assert done
        simulator.faults.hold_jobs = False
        async with running_orchestrator(settings, url):
            assert (await line.until_ended(task))["state"] == "DONE"
        await check_truth(line, task, simulator)


async def test_it_ends_although_the_database_is_away(tmp_path, caplog):
    """And PgQueuer has nothing to complain of: what it could not write down, others find."""
    settings = settings_for(tmp_path / "data")
    async with own_postgres(tmp_path / "postgres") as (postgres, url):
        async with running_api(settings, url) as api, running_simulator() as simulator:
            line = await Line.of(api)
            simulator.faults.hold_jobs = True
            await line.add_worker(simulator.url)
            task = await line.frozen_task(prompts=1, seeds=2)
            async with orchestrator(settings, url, pace=QUICK) as parts:
                work = asyncio.create_task(parts.run())
                await line.run(task)
                await until(lambda: simulator.log)
                await postgres.stop()
                work.cancel()
                done, _ = await asyncio.wait({work}, timeout=30)
                assert done
        assert not [record.message for record in caplog.records if record.name.startswith("pgqueuer")]
