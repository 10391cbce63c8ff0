"""GET /api/tasks/{id}/workers: before anything is queued it says who can, afterwards who does."""

from datetime import UTC, datetime
from uuid import UUID

from comfylabel.comfy.simulator import running_simulator
from tests.support.app import Api
from tests.support.pipeline import Line, running_orchestrator
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


async def test_a_running_task_says_who_made_how_much_and_how_fast(api: Api) -> None:
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
    async with line.database.transaction() as connection:
        await connection.execute(
            "insert into worker_minutes (worker_id, task_id, minute, submissions, images, failures, busy_seconds)"
            " values ($1, $2, date_trunc('minute', $3::timestamptz), 3, 12, 1, 24)"
            " on conflict (worker_id, minute, task_id) do update set images = 12, failures = 1, busy_seconds = 24",
            worker, UUID(task), datetime.now(UTC),
        )  # fmt: skip
    (row,) = await line.call("GET", f"/api/tasks/{task}/workers")
    assert (row["images"], row["failures"], row["seconds_per_image"]) == (12, 1, 2.0)
    assert row["images_per_second"] > 0
