from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from comfylabel.accounts.schemas import Principal
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import NotFound
from comfylabel.generations import progress_repository
from comfylabel.generations.progress import Totals
from comfylabel.generations.progress_repository import TEXT_SHOWN
from comfylabel.tasks import answers
from comfylabel.tasks.answers import TaskProgress
from comfylabel.tasks.eta import Range
from comfylabel.tasks.outlook import Speed
from comfylabel.tasks.progress_service import ProgressService
from comfylabel.tasks.prompts_repository import BEFORE_FIRST
from comfylabel.tasks.service import TaskService
from tests.support.app import Api
from tests.support.rows import TaskRows, add_task, add_worker


async def test_of_a_draft_everything_is_pending(database: Database, progress: ProgressService) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, prompts=3, seeds=4)
    view = await progress.of_task(task.id, after_position=BEFORE_FIRST, limit=2)
    assert view.totals.counts.to_json() == {"total": 12, "done": 0, "running": 0, "pending": 12, "failed": 0}
    assert [(row.prompt_id, row.counts.pending) for row in view.prompts] == [(p, 4) for p in task.prompts[:2]]
    assert view.next_position == 1
    rest = await progress.of_task(task.id, after_position=1, limit=2)
    assert [row.prompt_id for row in rest.prompts] == task.prompts[2:]
    assert rest.next_position is None


async def test_counters_reasons_and_the_summary_of_a_task_with_failures(
    database: Database, progress: ProgressService
) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, "DONE", prompts=4, seeds=2)
        await connection.execute(
            "update batches set done = 1, failed = 1, retries_used = 3, reason = 'error on node 3' where position > 1"
        )
    view = await progress.of_task(task.id, after_position=BEFORE_FIRST, limit=10)
    assert view.totals.counts.to_json() == {"total": 8, "done": 6, "running": 0, "pending": 0, "failed": 2}
    assert view.totals.summary == "2 of 4 prompts, 2 failed"
    assert [(reason.reason, reason.prompts) for reason in view.reasons] == [("error on node 3", 2)]
    assert view.totals.ready_batches == 4
    assert view.prompts[2].to_json() == {
        "prompt_id": task.prompts[2],
        "position": 2,
        "text": "prompt 2",
        "done": 1,
        "running": 0,
        "pending": 0,
        "failed": 1,
        "retries_used": 3,
        "reason": "error on node 3",
    }


async def test_pages_hold_every_prompt_once(database: Database, progress: ProgressService) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, "FROZEN", prompts=7, seeds=1)
    seen, position = [], BEFORE_FIRST
    while True:
        view = await progress.of_task(task.id, after_position=position, limit=3)
        seen += [row.prompt_id for row in view.prompts]
        if view.next_position is None:
            break
        position = view.next_position
    assert seen == task.prompts


async def test_only_the_prompts_with_failed_images_when_asked_for_them(
    database: Database, progress: ProgressService
) -> None:
    async with database.connection() as connection:
        draft = await add_task(connection, prompts=2)
        task = await add_task(connection, "DONE", prompts=9, seeds=2, texts=["long " * 100])
        await connection.execute("update batches set done = 1, failed = 1 where position in (0, 4, 8)")
    first = await progress.of_task(task.id, after_position=BEFORE_FIRST, limit=2, only_failed=True)
    assert first.next_position is not None
    rest = await progress.of_task(task.id, after_position=first.next_position, limit=2, only_failed=True)
    assert [row.position for row in (*first.prompts, *rest.prompts)] == [0, 4, 8]
    assert rest.next_position is None
    assert first.prompts[0].text == ("long " * 100)[:TEXT_SHOWN]
    assert not (await progress.of_task(draft.id, after_position=BEFORE_FIRST, limit=2, only_failed=True)).prompts


async def test_an_unknown_task_is_not_found(progress: ProgressService) -> None:
    with pytest.raises(NotFound):
        await progress.of_task(UUID(int=0), after_position=BEFORE_FIRST, limit=1)


async def running_task(database: Database, *, minutes: int = 5, **columns: Any) -> TaskRows:
    """Ten minutes old, of a hundred images sixty are left; one worker made an image a second in each of so many
    minutes before this one.
    """
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING", prompts=25, seeds=4)
        await connection.execute("update tasks set started_at = now() - interval '10 minutes' where id = $1", task.id)
        await connection.execute("update batches set done = 4 where task_id = $1 and position < 10", task.id)
        for name, value in columns.items():
            await connection.execute(f"update tasks set {name} = $1 where id = $2", value, task.id)
        await connection.execute(
            """insert into worker_minutes (worker_id, task_id, minute, submissions, images, busy_seconds)
               select $1, $2, date_trunc('minute', now()) - make_interval(mins => ago), 15, 60, 60
               from generate_series(1, $3::int) ago""",
            task.worker_id,
            task.id,
            minutes,
        )
    return task


async def told(progress: ProgressService, task: TaskRows) -> TaskProgress:
    view = await progress.of_task(task.id, after_position=BEFORE_FIRST, limit=0)
    (row,) = await progress.some([task.id])
    assert (row.speed, row.totals) == (view.speed, view.totals)  # the page and the list never contradict each other
    assert not view.prompts
    assert view.next_position is None
    return view


async def test_a_running_task_says_how_fast_it_is_and_how_long_it_takes(
    database: Database, progress: ProgressService
) -> None:
    view = await told(progress, await running_task(database))

    assert view.speed.images_per_second == pytest.approx(1)
    assert view.speed.eta is not None
    assert view.speed.eta.low <= 60 <= view.speed.eta.high
    assert view.waiting_for is None


async def test_a_paused_task_has_no_time_left_to_say(database: Database, progress: ProgressService) -> None:
    view = await told(progress, await running_task(database, paused_at=datetime.now(UTC)))

    assert view.speed.images_per_second is not None
    assert view.speed.eta is None


@pytest.mark.parametrize("gone", ["enabled = false", "status = 'UNHEALTHY'", "last_checked_at = now() - interval '2h'"])
async def test_when_all_workers_are_gone_nobody_knows_how_long_it_takes(
    database: Database, progress: ProgressService, gone: str
) -> None:
    task = await running_task(database)
    await database.pool.execute(f"update workers set {gone}")
    view = await told(progress, task)

    assert view.speed.eta is None
    assert view.waiting_for is not None
    assert "No healthy worker can run this workflow" in view.waiting_for


async def test_when_no_worker_can_run_it_any_more_nobody_knows_either(
    database: Database, progress: ProgressService
) -> None:
    task = await running_task(database)
    await database.pool.execute(
        "insert into ineligible_workers (worker_id, workflow_id, reason) values ($1, $2, 'the model is gone')",
        task.worker_id,
        task.workflow_id,
    )
    view = await told(progress, task)

    assert view.speed.images_per_second is not None
    assert view.speed.eta is None
    assert "the model is gone" in str(view.waiting_for)


async def test_what_a_lost_worker_made_promises_nothing(database: Database, progress: ProgressService) -> None:
    task = await running_task(database)
    await database.pool.execute("update workers set enabled = false")
    async with database.transaction() as connection:
        await add_worker(connection, "another, which has made nothing yet")
    view = await told(progress, task)

    assert view.speed.eta is None


async def test_the_pilot_foretells_the_beginning(database: Database, progress: ProgressService) -> None:
    task = await running_task(database, minutes=0)
    await database.pool.execute(
        """insert into pilots (id, task_id, edits, state, forecast) values (gen_random_uuid(), $1, 0, 'done', $2)""",
        task.id,
        {"eta_seconds": {"low": 200, "high": 400}},
    )
    view = await told(progress, task)

    assert view.speed.images_per_second is None
    assert view.speed.eta == Range(120, 240)


async def test_what_was_made_before_it_was_run_again_is_another_story(
    database: Database, progress: ProgressService
) -> None:
    view = await told(progress, await running_task(database, started_at=datetime.now(UTC)))

    assert view.speed == Speed(None, None)


async def test_failures_are_told_in_words(database: Database, progress: ProgressService) -> None:
    task = await running_task(database)
    await database.pool.execute(
        """insert into task_failures (task_id, kind, failures, last_message) values
           ($1, 'deadline', 1, 'late'), ($1, 'out_of_memory', 3, 'CUDA')""",
        task.id,
    )
    answer = answers.progress(await told(progress, task))

    assert [(one["kind"], one["words"], one["count"]) for one in answer["failures"]] == [
        ("out_of_memory", "The GPU ran out of memory.", 3),
        ("deadline", "The worker took longer than it may.", 1),
    ]
    assert answer["failures"][0]["last_message"] == "CUDA"
    assert answer["priority"] == 0


async def in_turn(database: Database, task: TaskRows, **columns: Any) -> TaskRows:
    """Another running task of a hundred images with the workers and the workflow of this one, of priority 1."""
    async with database.transaction() as connection:
        other = await add_task(
            connection,
            "RUNNING",
            prompts=25,
            seeds=4,
            workflow_id=task.workflow_id,
            worker_id=task.worker_id,
            **{"priority": 1} | columns,
        )
        await connection.execute("update tasks set started_at = now() - interval '10 minutes' where id = $1", other.id)
    return other


async def foretold(database: Database, task: TaskRows, low: int, high: int) -> None:
    await database.pool.execute(
        "insert into pilots (id, task_id, edits, state, forecast) values (gen_random_uuid(), $1, 0, 'done', $2)",
        task.id,
        {"eta_seconds": {"low": low, "high": high}},
    )


async def test_the_time_of_a_higher_priority_comes_before(database: Database, progress: ProgressService) -> None:
    task = await running_task(database)
    alone = (await told(progress, task)).speed.eta
    first = await in_turn(database, task)
    view = await told(progress, task)
    assert view.speed.eta is None  # of what comes first nobody knows how long it takes
    assert str(view.speed.eta_note).startswith("A task of higher priority is made first: nobody knows")

    await foretold(database, first, 5000, 6000)
    view = await told(progress, task)
    assert alone is not None
    assert view.speed.eta == Range(5000 + alone.low, 6000 + alone.high)
    assert str(view.speed.eta_note).startswith("A task of higher priority is made first: the time")
    assert (await told(progress, first)).speed.eta_note is None


@pytest.mark.parametrize(
    "change",
    ["paused_at = now()", "priority = 0", "state = 'FAILED', ended_at = now()"],
    ids=["paused", "same priority", "ended"],
)
async def test_who_takes_no_turn_before_it_does_not_count(
    database: Database, progress: ProgressService, change: str
) -> None:
    task = await running_task(database)
    alone = (await told(progress, task)).speed
    first = await in_turn(database, task)
    await database.pool.execute(f"update tasks set {change} where id = $1", first.id)
    assert (await told(progress, task)).speed == alone


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The tasks whose batches were added up, one after the other."""
    asked: list[UUID] = []
    totals = progress_repository.totals

    async def noted(connection: Connection, task_ids: Sequence[UUID]) -> Mapping[UUID, Totals]:
        asked.extend(task_ids)
        return await totals(connection, task_ids)

    monkeypatch.setattr(progress_repository, "totals", noted)
    return asked


async def test_a_list_counts_again_only_what_can_have_changed(
    database: Database, progress: ProgressService, counted: list[UUID]
) -> None:
    async with database.transaction() as connection:
        draft, frozen, running, done, cancelled = [
            await add_task(connection, state, prompts=3, seeds=2)
            for state in ("DRAFT", "FROZEN", "RUNNING", "DONE", "FAILED")
        ]
        await connection.execute(
            "insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size,"
            " graph_digest) select gen_random_uuid(), $1, $2, id, 0, 1, 'reserved', 1, 1, '' from prompts"
            " where task_id = $2 limit 1",
            *(cancelled.worker_id, cancelled.id),
        )
    first, _ = await progress.newest(None, 10)
    assert set(counted) == {running.id, done.id, cancelled.id}
    counts = {row.task.id: row.totals.counts for row in first}
    assert [counts[one.id].pending for one in (draft, frozen, running, done)] == [6, 6, 6, 0]

    counted.clear()
    await database.pool.execute("update batches set done = 1 where task_id = any($1)", [running.id, cancelled.id])
    again = {row.task.id: row.totals.counts for row in (await progress.newest(None, 10))[0]}
    assert set(counted) == {running.id, cancelled.id}
    assert [again[one.id].done for one in (running, done, cancelled)] == [3, 6, 3]


async def test_what_is_run_again_is_counted_anew(
    database: Database, progress: ProgressService, tasks: TaskService, operator: Principal, counted: list[UUID]
) -> None:
    async with database.transaction() as connection:
        task = await add_task(connection, "DONE", prompts=3, seeds=2, failed=[1])

    async def failed() -> int:
        return (await progress.some([task.id]))[0].totals.counts.failed

    assert (await failed(), await failed(), len(counted)) == (3, 3, 1)
    await tasks.run(task.id, operator)
    assert await failed() == 0
    await tasks.cancel(task.id, operator)
    assert await failed() == 0


async def test_what_is_repaired_is_shown(api: Api) -> None:
    async with api.app.state.database.transaction() as connection:
        await add_task(connection, "DONE", prompts=3, seeds=2, failed=[1])
        await connection.execute("update batches set failed = 0, done = 2 where position = 0")  # which is wrong
    admin = await api.as_role("admin")

    async def failed() -> int:
        (row,) = (await admin.get("/api/tasks")).json()["data"]["items"]
        return int(row["progress"]["failed"])

    assert (await failed(), await failed()) == (2, 2)
    assert (await admin.post("/api/maintenance/counters/repair")).json()["data"]["repaired"] == 1
    assert await failed() == 3
