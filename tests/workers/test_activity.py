"""What workers did lately, as the orchestrators noted it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from comfylabel.orchestrator.activity_repository import forget_old_minutes
from comfylabel.workers import activity_repository
from comfylabel.workers.activity import WorkerActivity
from tests.support.app import Api
from tests.support.rows import TaskRows, add_task

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
async def task(database) -> TaskRows:
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING")
        await connection.execute("update workers set created_at = $1", AN_HOUR_AGO)
    return task


async def note(database, task: TaskRows, ago: int, **columns: Any) -> None:
    names = ", ".join(columns)
    values = ", ".join(f"${number}" for number in range(4, 4 + len(columns)))
    await database.pool.execute(
        f"insert into worker_minutes (worker_id, task_id, minute, {names}) values"
        f" ($1, $2, date_trunc('minute', now()) - make_interval(mins => $3), {values})",
        *(task.worker_id, task.id, ago, *columns.values()),
    )


async def submit(database, task: TaskRows, state: str, accepted: str) -> None:
    await database.pool.execute(
        f"""insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size,
              graph_digest, sent_at, accepted_at)
            values (gen_random_uuid(), $1, $2, $3, 0, 1, $4, 1, 4, 'x', now(), now() - interval '{accepted}')""",
        *(task.worker_id, task.id, task.prompts[0], state),
    )


async def only(database, minutes: int = 10):
    (activity,) = await WorkerActivity(database).of_all(minutes)
    return activity


async def test_a_worker_that_does_nothing_is_idle(database, task):
    activity = await only(database)
    assert (activity.utilisation, activity.images_per_second, activity.held) == (0, None, 0)


async def test_the_last_minutes_count_and_no_earlier_ones(database, task):
    for ago in (1, 2, 3, 4, 5):
        await note(database, task, ago, submissions=15, images=60, busy_seconds=30.0)
    await note(database, task, 30, submissions=15, images=1000, busy_seconds=60.0)
    activity = await only(database)

    assert (activity.submissions, activity.images) == (75, 300)
    assert activity.utilisation == pytest.approx(0.25, abs=0.03)
    assert activity.images_per_second == pytest.approx(1, abs=0.2)
    assert (await only(database, minutes=60)).images == 1300


async def test_what_was_before_a_worker_was_added_is_none_of_its_time(database, task):
    """Its first minute began before it was there."""
    await database.pool.execute("update workers set created_at = now()")
    await note(database, task, 1, submissions=1, images=8, busy_seconds=0.5)
    activity = await only(database)
    assert activity.active <= activity.window


async def test_what_runs_now_is_work_long_before_it_ends(database, task):
    await submit(database, task, "accepted", "20 minutes")
    activity = await only(database)
    assert (activity.utilisation, activity.held) == (1, 1)


async def test_of_a_worker_that_does_not_answer_nobody_knows_that_it_works(database, task):
    await submit(database, task, "accepted", "20 minutes")
    await database.pool.execute("update workers set status = 'UNHEALTHY', reason = 'no answer'")
    activity = await only(database)
    assert (activity.utilisation, activity.status, activity.reason) == (0, "UNHEALTHY", "no answer")


async def test_a_check_that_is_too_old_says_nothing(database, task):
    await database.pool.execute("update workers set last_checked_at = now() - interval '2 minutes'")
    assert (await only(database)).status == "UNHEALTHY"


async def test_a_release_that_does_not_say_how_long_it_computes_is_not_called_idle(database, task):
    await note(database, task, 1, submissions=15, images=60)
    assert (await only(database)).utilisation is None


async def test_what_each_worker_did_for_a_task(database, task):
    await note(database, task, 1, images=60, busy_seconds=30.0, failures=1)
    await note(database, task, 100, images=40, busy_seconds=70.0)
    async with database.connection() as connection:
        work = (await activity_repository.of_task(connection, task.id))[task.worker_id]
    assert (work.images, work.failures) == (100, 1)


async def test_a_worker_that_was_never_idle_is_not_called_so_because_hours_are_kept_as_hours(database, task):
    """After two hours minutes become hours: a time that began in the middle of one would miss what is before it."""
    await database.pool.execute("update workers set created_at = now() - interval '2 days'")
    await database.pool.execute(
        "insert into worker_minutes (worker_id, task_id, minute, submissions, images, busy_seconds) select $1, $2,"
        " date_trunc('minute', now()) - make_interval(mins => ago), 1, 1, 60 from generate_series(1, 359) ago",
        *(task.worker_id, task.id),
    )
    async with database.transaction() as connection:
        await forget_old_minutes(connection)
    for minutes in (121, 150, 179, 240, 299):
        activity = await only(database, minutes)
        assert activity.utilisation == pytest.approx(1, abs=0.02), minutes
        assert minutes <= activity.images + 1 <= minutes + 60


async def test_it_is_shown_to_operators(api: Api):
    database = api.app.state.database
    async with database.transaction() as connection:
        task = await add_task(connection, "RUNNING")
        await connection.execute(
            "insert into worker_totals (worker_id, images, gap_seconds, gaps_10, gaps_100) values ($1, 7, 0.5, 5, 5)",
            task.worker_id,
        )
        await connection.execute(
            "insert into worker_failures values ($1, 'deadline', 1), ($1, 'out_of_memory', 3)", task.worker_id
        )
    await note(database, task, 0, submissions=3, images=12, busy_seconds=3.0)
    (row,) = (await (await api.as_role("operator")).get("/api/workers/activity?minutes=5")).json()["data"]

    assert UUID(row["worker_id"]) == task.worker_id
    assert (row["submissions"], row["images"]) == (3, 12)
    assert row["failures"] == {"out_of_memory": 3, "deadline": 1}
    assert (row["gap"]["p50_ms"], row["gap"]["p95_ms"]) == (10, 93)
    assert row["gap"]["histogram"][0] == {"le_ms": 10, "count": 5}
    assert row["gap"]["histogram"][-1] == {"le_ms": None, "count": 0}
    assert (await (await api.as_role("operator")).get("/api/workers/activity?minutes=0")).status_code == 422
