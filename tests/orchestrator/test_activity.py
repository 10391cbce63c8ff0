"""What is recorded of a run is what the workers' own logs say, also when the database was away in between."""

from typing import Any

import pytest

from comfylabel.comfy.simulator import running_simulator
from tests.support.app import running_api, settings_for
from tests.support.listening import listening
from tests.support.pipeline import Line, loop_graph, running_orchestrator
from tests.support.postgres import own_postgres
from tests.support.waiting import until


async def totals(line: Line) -> dict[str, dict[str, Any]]:
    rows = await line.database.pool.fetch("select * from worker_totals t join workers w on w.id = t.worker_id")
    return {row["name"]: dict(row) for row in rows}


async def recorded(line: Line, submissions: int) -> dict[str, dict[str, Any]]:
    """The totals, once all of so many submissions are in them."""
    await until(lambda: _all_in(line, submissions))
    return await totals(line)


async def _all_in(line: Line, submissions: int) -> bool:
    return sum(total["submissions"] for total in (await totals(line)).values()) >= submissions


async def test_every_submission_is_recorded_with_its_time_and_the_pause_before_it(api):
    line = await Line.of(api)
    async with (
        running_simulator(job_seconds=0.05) as quick,
        running_simulator(job_seconds=0.15) as slow,
        running_orchestrator(api.settings, line.database.url),
    ):
        await line.add_worker(quick.url, "quick")
        await line.add_worker(slow.url, "slow")
        task = await line.frozen_task(prompts=6, seeds=4, graph=loop_graph())
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        told = await recorded(line, 24)

    for name, simulator in (("quick", quick), ("slow", slow)):
        log, total = simulator.log, told[name]
        assert total["submissions"] == total["images"] == len(log)
        by_its_clock = sum((entry.ended or 0) - (entry.started or 0) for entry in log)
        assert abs(total["busy_seconds"] - by_its_clock) < 0.01 * len(log) + 0.01
        counted = sum(total[f"gaps_{column}"] for column in (10, 30, 100, 300, 1000, 3000, "more"))
        assert counted <= len(log) - 1
    assert sum(told[name]["gaps_more"] for name in told) == 0
    minutes = await line.database.pool.fetchval("select sum(images) from worker_minutes where task_id = $1", task)
    assert minutes == 24
    paces = await line.database.pool.fetch("select * from paces")
    assert {(row["width"], row["height"]) for row in paces} == {(128, 128)}
    assert sum(row["images"] for row in paces) == 24


async def test_somebody_elses_work_and_the_lack_of_work_are_no_gap(api):
    """Two runs of one image, with nothing to do in between."""
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        await line.add_worker(simulator.url)
        for name in ("one", "two"):
            workflow = await line.add_workflow(loop_graph(), name=name)
            task = await line.add_task(workflow, [await line.add_pool(name)], prompts=1, seeds=1)
            await line.call("POST", f"/api/tasks/{task['id']}/freeze")
            await line.run(task["id"])
            await line.until_ended(task["id"])
        (total,) = (await recorded(line, 2)).values()

    assert sum(value for column, value in total.items() if column.startswith("gaps_")) == 0


async def test_a_failure_is_recorded_by_its_kind(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        await line.add_worker(simulator.url)
        simulator.faults.out_of_memory_above = 1
        task = await line.frozen_task(prompts=1, seeds=1, graph=loop_graph())
        await line.run(task)
        progress = await line.until_ended(task)
        (total,) = (await recorded(line, 4)).values()
        failures = await line.database.pool.fetch("select kind, failures from worker_failures")

    assert progress["failures"][0]["count"] == 4
    assert [tuple(row) for row in failures] == [("out_of_memory", 4)]
    assert (total["submissions"], total["images"]) == (4, 0)


@pytest.mark.slow
async def test_figures_and_live_pages_outlive_an_outage_of_the_database(tmp_path):
    async with own_postgres(tmp_path / "postgres") as (postgres, url):
        settings = settings_for(tmp_path / "data")
        async with running_api(settings, url) as api, running_simulator(job_seconds=0.05) as simulator:
            line = await Line.of(api)
            await line.add_worker(simulator.url)
            task = await line.frozen_task(prompts=6, seeds=4, graph=loop_graph())
            async with (
                running_orchestrator(settings, url),
                listening(api, line.admin, f"/api/tasks/{task}/events") as page,
            ):
                await line.run(task)
                await until(lambda: len(simulator.log) >= 5)
                await postgres.stop()
                await postgres.start()
                assert (await line.until_ended(task))["state"] == "DONE"
                (total,) = (await recorded(line, 24)).values()
                await until(lambda: page.of("progress")[-1]["state"] == "DONE")

    assert page.of("progress")[-1]["done"] == 24
    assert total["submissions"] == total["images"] == 24
