"""GET /api/tasks/{id}/workers: before anything is queued it says who can, afterwards who does."""

import pytest

from comfylabel.comfy.simulator import running_simulator
from tests.support.app import Api
from tests.support.pipeline import Line, running_orchestrator
from tests.support.rows import add_task, add_worker
from tests.support.unchanged import nothing_changes
from tests.support.waiting import until


async def test_a_draft_says_who_can_make_its_images_and_what_the_others_lack(api: Api) -> None:
    line = await Line.of(api)
    async with (
        running_simulator() as able,
        running_simulator(missing_nodes=["KSampler"]) as lacking,
        running_orchestrator(api.settings, line.database.url),
    ):
        await line.add_worker(able.url, "able", priority=2)
        await line.add_worker(lacking.url, "lacking", priority=1)
        off = await line.add_worker(able.url, "off")
        await line.call("PATCH", f"/api/workers/{off}", json={"enabled": False})
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()]))["id"]

        async def all_known() -> bool:
            rows = await line.call("GET", f"/api/tasks/{task}/workers")
            return rows[0]["able"] and rows[1]["missing"]

        await until(all_known)
        async with nothing_changes(line.database):
            rows = await line.call("GET", f"/api/tasks/{task}/workers")
    assert [(row["name"], row["able"], row["enabled"], row["status"]) for row in rows] == [
        ("able", True, True, "HEALTHY"),
        ("lacking", False, True, "HEALTHY"),
        ("off", False, False, "HEALTHY"),
    ]
    assert (rows[0]["missing"], rows[0]["why_not"]) == ([], None)
    assert (rows[1]["missing"], rows[1]["why_not"]) == (["the node KSampler"], "lacks the node KSampler")
    assert rows[2]["why_not"] == "is disabled"
    assert [(row["held"], row["images"], row["failures"], row["images_per_second"]) for row in rows] == [
        (0, 0, 0, None)
    ] * 3


async def test_a_running_task_says_who_has_how_much_of_it(api: Api) -> None:
    line = await Line.of(api)
    async with running_simulator() as simulator:
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2, seeds=2)
        await line.run(task)
        simulator.faults.hold_jobs = True
        async with running_orchestrator(api.settings, line.database.url):
            await until(lambda: simulator.log)
            (row,) = await line.call("GET", f"/api/tasks/{task}/workers")
            assert (row["worker_id"], row["held"], row["images"]) == (str(worker), 1, 0)


async def test_the_paces_of_the_workers_are_those_of_the_task_in_parts(api: Api) -> None:
    database = api.app.state.database
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING", prompts=9)
        await connection.execute("update tasks set started_at = now() - interval '7 minutes' where id = $1", task.id)
        second = await add_worker(connection, "second")
        for worker, ago, images in [
            *((task.worker_id, 2, 120), (task.worker_id, 5, 40), (task.worker_id, 9, 999)),  # the last: an earlier run
            *((second, 1, 90), (second, 2, 7), (second, 30, 999)),
        ]:
            await connection.execute(
                "insert into worker_minutes (worker_id, task_id, minute, submissions, images, failures, busy_seconds)"
                " values ($1, $2, date_trunc('minute', now()) - make_interval(mins => $3), $4, $4, 1, 60)",
                *(worker, task.id, ago, images),
            )
    operator = await api.as_role("operator")
    rows = (await operator.get(f"/api/tasks/{task.id}/workers")).json()["data"]
    whole = (await operator.get(f"/api/tasks/{task.id}/progress?limit=0")).json()["data"]["images_per_second"]

    assert all(row["images_per_second"] for row in rows)
    assert sum(row["images_per_second"] for row in rows) == pytest.approx(whole, rel=0.02)  # three digits of each
    await database.pool.execute("update tasks set state = 'FAILED', ended_at = now() where id = $1", task.id)
    rows = (await operator.get(f"/api/tasks/{task.id}/workers")).json()["data"]
    assert {row["images_per_second"] for row in rows} == {None}
    assert [(row["images"], row["failures"]) for row in rows] == [(1096, 3), (1159, 3)]


async def test_seconds_an_image_are_the_workers_own_of_such_images(api: Api) -> None:
    """Neither the pilot's work nor a failed submission's makes an image look slow; other sizes say nothing."""
    database = api.app.state.database
    async with database.transaction() as connection:
        task = await add_task(connection)
        for side, pace in ((1024, 3.14159), (512, 1.0)):
            await connection.execute(
                "insert into paces (worker_id, workflow_id, width, height, seconds_per_image, images)"
                " values ($1, $2, $3, $3, $4, 50)",
                *(task.worker_id, task.workflow_id, side, pace),
            )
    operator = await api.as_role("operator")
    (row,) = (await operator.get(f"/api/tasks/{task.id}/workers")).json()["data"]
    assert row["seconds_per_image"] == 3.14


async def test_a_fleet_that_works_since_the_start_is_not_called_idle_for_the_time_before(api: Api) -> None:
    database = api.app.state.database
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING", prompts=9)
        await connection.execute("update workers set created_at = now() - interval '1 day'")
        await connection.execute("update tasks set started_at = now() - interval '2 minutes' where id = $1", task.id)
        await connection.execute(
            "insert into worker_minutes (worker_id, task_id, minute, submissions, images, busy_seconds)"
            " select $1, $2, date_trunc('minute', now()) - make_interval(mins => ago), 1, 1, 60"
            " from generate_series(0, 2) ago",
            *(task.worker_id, task.id),
        )
    operator = await api.as_role("operator")
    (row,) = (await operator.get(f"/api/tasks/{task.id}/workers")).json()["data"]
    assert row["utilisation"] == 1


async def test_what_was_done_before_the_start_makes_nobody_busy(api: Api) -> None:
    """It worked for another task in the minute in which this one began, and has stood still since."""
    database = api.app.state.database
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING", prompts=9)
        await connection.execute("update workers set created_at = now() - interval '1 day'")
        await connection.execute(
            "update tasks set started_at = date_trunc('minute', now()) - interval '2 minutes 5 seconds' where id = $1",
            task.id,
        )
        await connection.execute(
            "insert into worker_minutes (worker_id, task_id, minute, submissions, images, busy_seconds)"
            " values ($1, $2, date_trunc('minute', now()) - interval '3 minutes', 1, 1, 50)",
            *(task.worker_id, task.id),
        )
    operator = await api.as_role("operator")
    (row,) = (await operator.get(f"/api/tasks/{task.id}/workers")).json()["data"]
    assert row["utilisation"] <= 0.04  # at most 5 of 125 seconds or more
