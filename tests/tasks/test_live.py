"""Live pages through the whole application: what is told, to whom, how often, and when it ends."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from comfylabel.db.notifications import notify
from comfylabel.db.pool import Database
from comfylabel.http.sse import STREAMS_PER_USER
from comfylabel.tasks.live import Live
from comfylabel.tasks.progress_service import ProgressService
from tests.support.app import Api
from tests.support.listening import listening
from tests.support.rows import TaskRows, add_task, add_worker
from tests.support.waiting import until


async def running_task(api: Api) -> TaskRows:
    async with database(api).transaction() as connection:
        task = await add_task(connection, "RUNNING", prompts=5, seeds=4)
        await connection.execute("update tasks set started_at = now() where id = $1", task.id)
    return task


def database(api: Api) -> Database:
    found: Database = api.app.state.database
    return found


async def make_images(api: Api, task: TaskRows, done: int) -> None:
    async with database(api).transaction() as connection:
        await connection.execute("update batches set done = $2 where task_id = $1 and position = 0", task.id, done)
        await notify(connection, tasks=[task.id], workers=[task.worker_id])


async def test_progress_comes_at_once_and_when_it_has_changed(api: Api):
    operator, task = await api.as_role("operator"), await running_task(api)
    path = f"/api/tasks/{task.id}"
    async with listening(api, operator, f"{path}/events") as heard:
        assert heard.status == 200
        assert heard.headers["content-type"].startswith("text/event-stream")
        assert heard.headers["x-accel-buffering"] == "no"
        assert heard.headers["cache-control"] == "no-store"
        assert "content-encoding" not in heard.headers
        first = await heard.next_after(0)
        assert first == (await operator.get(f"{path}/progress?limit=0")).json()["data"]
        await make_images(api, task, 3)
        assert (await heard.next_after(1))["done"] == 3

    ids = [event.id for event in heard.events]
    assert len(set(ids)) == len(ids)


async def test_the_overview_tells_of_running_tasks_and_of_all_workers(api: Api):
    operator, task = await api.as_role("operator"), await running_task(api)
    async with database(api).transaction() as connection:
        draft = await add_task(connection)
        await add_worker(connection, "resting", enabled=False)
    async with listening(api, operator, "/api/events") as heard:
        await until(lambda: len(heard.of("task")) == 1 and len(heard.of("worker")) == 3)
        rows = (await operator.get("/api/tasks")).json()["data"]["items"]
        assert heard.of("task") == [row for row in rows if row["id"] == str(task.id)]
        assert set(heard.of("worker")[0]) == {
            *("id", "name", "status", "enabled", "held", "current_queue_len", "utilisation"),
            *("images_per_second", "reason", "removed"),
        }

        async with database(api).transaction() as connection:
            await connection.execute("update tasks set notes = 'seen' where id = $1", draft.id)
            await connection.execute("update workers set enabled = true where name = 'resting'")
            await notify(connection, tasks=[draft.id], workers=[uuid4()])
        await until(lambda: len(heard.of("task")) == 2 and len(heard.of("worker")) == 4)
        assert heard.of("task")[-1]["notes"] == "seen"
        assert heard.of("worker")[-1]["enabled"] is True  # and of the others, which are as they were, nothing

        await (await api.as_role("admin")).delete(f"/api/workers/{task.worker_id}")
        assert (await heard.next_after(4, "worker"))["removed"] is True
        await (await api.as_role("admin")).patch(f"/api/tasks/{draft.id}", json={"notes": "changed"})
        assert (await heard.next_after(2, "task"))["notes"] == "changed"


async def test_what_nobody_says_is_found_by_a_look(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("comfylabel.tasks.live.PACE_SECONDS", 0.01)
    await running_task(api)
    async with listening(api, await api.as_role("operator"), "/api/events") as heard:
        await heard.next_after(0, "worker")
        await database(api).pool.execute("update workers set status = 'UNHEALTHY', reason = 'gone'")
        assert (await heard.next_after(1, "worker"))["reason"] == "gone"


async def test_many_listeners_cost_one_reading(api: Api, monkeypatch: pytest.MonkeyPatch):
    readings: list[UUID] = []
    read = ProgressService.of_task

    async def counted(self: ProgressService, task_id: UUID, **arguments: Any) -> Any:
        readings.append(task_id)
        return await read(self, task_id, **arguments)

    monkeypatch.setattr(ProgressService, "of_task", counted)
    monkeypatch.setattr("comfylabel.tasks.live.LOOK_SECONDS", 3600)
    operator, task = await api.as_role("operator"), await running_task(api)
    async with AsyncExitStack() as open_pages:
        pages = [
            await open_pages.enter_async_context(listening(api, operator, f"/api/tasks/{task.id}/events"))
            for _ in range(10)
        ]
        for page in pages:
            await page.next_after(0)
        assert len(readings) == 1
        await make_images(api, task, 4)
        for page in pages:
            assert (await page.next_after(1))["done"] == 4
        assert len(readings) == 2


async def test_a_page_that_reads_slowly_gets_the_newest_and_no_backlog(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.PACE_SECONDS", 0.01)
    operator, task = await api.as_role("operator"), await running_task(api)
    path = f"/api/tasks/{task.id}/events"
    async with listening(api, operator, path) as slow, listening(api, operator, path) as quick:
        await slow.next_after(0)
        slow.reads.clear()
        for done in range(1, 5):
            await make_images(api, task, done)
            assert (await quick.next_after(done))["done"] == done
        slow.reads.set()
        await until(lambda: slow.of("progress")[-1]["done"] == 4)

    assert len(slow.of("progress")) <= 3  # the first, the one that it was being told, and the newest


async def test_what_changed_while_the_line_was_cut_is_told_when_it_is_back(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.LOOK_SECONDS", 3600)
    operator, task = await api.as_role("operator"), await running_task(api)
    async with (
        listening(api, operator, f"/api/tasks/{task.id}/events") as page,
        listening(api, operator, "/api/events") as overview,
    ):
        await page.next_after(0)
        await overview.next_after(0, "task")
        await make_images(api, task, 1)
        await page.next_after(1)  # the line stands: what follows is said to nobody
        await database(api).pool.execute("update batches set done = 2 where task_id = $1 and position = 0", task.id)
        await database(api).pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query ilike 'listen%'"
        )
        await until(lambda: page.of("progress")[-1]["done"] == 2)
        await until(lambda: overview.of("task")[-1]["progress"]["done"] == 2)


async def test_it_ends_with_the_session(api: Api):
    task = await running_task(api)
    ann = await api.sign_in("operator", "ann")
    async with listening(api, ann, f"/api/tasks/{task.id}/events") as heard:
        await heard.next_after(0)
        await ann.post("/api/auth/sign-out")
        await until(lambda: heard.ended)


async def test_it_ends_with_the_role(api: Api):
    admin, ann = await api.as_role("admin"), await api.sign_in("operator", "ann")
    user = next(user for user in (await admin.get("/api/users")).json()["data"] if user["name"] == "ann")
    async with listening(api, ann, "/api/events") as heard, listening(api, admin, "/api/events") as other:
        assert (await admin.patch(f"/api/users/{user['id']}", json={"role": "annotator"})).status_code == 200
        await until(lambda: heard.ended)
        assert not other.ended


async def test_it_ends_when_the_session_runs_out(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.ALLOWED_SECONDS", 0.05)
    live = api.app.state.live
    ann = await api.sign_in("operator", "ann")
    checking = asyncio.create_task(live._check_now_and_then())
    async with listening(api, ann, "/api/events") as heard:
        await database(api).pool.execute("update sessions set expires_at = now()")
        await until(lambda: heard.ended)
    checking.cancel()


async def test_it_ends_with_the_session_although_asking_failed_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.ALLOWED_SECONDS", 3600)
    faults = fail_once(monkeypatch, api.app.state.live)
    ann = await api.sign_in("operator", "ann")
    async with listening(api, ann, "/api/events") as heard:
        await ann.post("/api/auth/sign-out")
        await until(lambda: heard.ended)
    assert faults == []


async def test_it_ends_when_the_session_runs_out_although_asking_failed_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.tasks.live.ALLOWED_SECONDS", 0.05)
    live = api.app.state.live
    ann = await api.sign_in("operator", "ann")
    async with listening(api, ann, "/api/events") as heard:
        faults = fail_once(monkeypatch, live)
        checking = asyncio.create_task(live._check_now_and_then())
        await until(lambda: not faults)
        await database(api).pool.execute("update sessions set expires_at = now()")
        await until(lambda: heard.ended)
    checking.cancel()


def fail_once(monkeypatch: pytest.MonkeyPatch, live: Live) -> list[Exception]:
    """What is still to go wrong when it is asked who may listen."""
    faults: list[Exception] = [asyncpg.OutOfMemoryError("out of memory")]
    check = live._check

    async def faulty(users: set[UUID] | None) -> None:
        if faults:
            raise faults.pop()
        await check(users)

    monkeypatch.setattr(live, "_check", faulty)
    return faults


async def test_nobody_holds_more_than_their_share_and_what_is_closed_is_given_back(api: Api):
    operator = await api.as_role("operator")
    for _ in range(2):
        async with AsyncExitStack() as open_pages:
            for _ in range(STREAMS_PER_USER):
                await open_pages.enter_async_context(listening(api, operator, "/api/events"))
            refused = await operator.get("/api/events")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
            assert refused.headers["retry-after"]
    live = api.app.state.live
    assert (live._allowed, live._told, live._of_all, live._doors._open) == ({}, {}, set(), {})


@pytest.mark.parametrize("path", ["/api/tasks/0199aa00-0000-7000-8000-000000000000/events", "/api/tasks/x/events"])
async def test_of_a_task_that_is_not_there_is_nothing_to_hear(api: Api, path: str):
    operator = await api.as_role("operator")
    assert (await operator.get(path)).status_code in (404, 422)
    assert api.app.state.live._allowed == {}


async def test_a_server_that_stops_opens_no_stream(api: Api):
    operator = await api.as_role("operator")
    api.app.state.live.close()
    assert (await operator.get("/api/events")).status_code == 503
