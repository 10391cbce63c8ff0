from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfylabel.accounts.schemas import Principal
from comfylabel.comfy.errors import WorkerUnreachable
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import NoHealthyWorker, NotFound, WrongState
from comfylabel.tasks import repository
from comfylabel.tasks.lifecycle import MOVES, TaskState, Verb
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.readiness import Readiness
from comfylabel.tasks.schemas import PromptChanges
from comfylabel.tasks.service import TaskService
from tests.support.rows import TaskRows, add_task, add_worker, finish_batches
from tests.support.unchanged import nothing_changes
from tests.tasks.conftest import OBJECT_INFO, Said, alive, verified


async def frozen_task(database: Database, tasks: TaskService, operator: Principal, **plan: Any) -> TaskRows:
    """With the rows that freeze itself makes, and one healthy worker."""
    async with database.connection() as connection:
        draft = await add_task(connection, **plan)
    await tasks.freeze(draft.id, operator)
    async with database.connection() as connection:
        batches = await connection.fetch("select id from batches where task_id = $1 order by position", draft.id)
    draft.batches.extend(row["id"] for row in batches)
    return draft


async def jobs(database: Database) -> list[tuple[str, int]]:
    async with database.connection() as connection:
        rows = await connection.fetch("select entrypoint, count(*) as n from pgqueuer group by 1 order by 1")
    return [(row["entrypoint"], row["n"]) for row in rows]


async def one(database: Database, sql: str, *arguments: Any) -> Any:
    async with database.connection() as connection:
        return await connection.fetchval(sql, *arguments)


async def state_of(database: Database, task_id: UUID) -> str:
    state: str = await one(database, "select state from tasks where id = $1", task_id)
    return state


async def _make_all(connection: Connection, task: TaskRows, failed: Sequence[int] = ()) -> None:
    """All images, but for those at the positions in `failed` of the last prompt."""
    await connection.execute(
        "update generations set metadata = jsonb_build_object('planned_worker', $2::text) where task_id = $1",
        task.id,
        str(task.worker_id),
    )
    await finish_batches(connection, task.batches[:-1])
    await finish_batches(connection, task.batches[-1:], failed=failed)


# --- run


async def test_run_gives_the_first_chunks_a_job(database: Database, tasks: TaskService, operator: Principal) -> None:
    task = await frozen_task(database, tasks, operator, prompts=20, seeds=4)
    state, workers = await tasks.run(task.id, operator)
    assert (state, [worker.id for worker in workers]) == ("RUNNING", [task.worker_id])
    assert await jobs(database) == [("generate", 4), ("top_up", 1)]
    assert await one(database, "select started_at is not null and ended_at is null from tasks")


@pytest.mark.postgres_16_too
async def test_run_again_after_failures_touches_nothing_that_is_done(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    task = await frozen_task(database, tasks, operator, prompts=3, seeds=4)
    await tasks.run(task.id, operator)
    async with database.connection() as connection:
        await _make_all(connection, task, failed=[1, 3])
        await connection.execute(
            "update batches set retries_used = 3, losses = 2, reason = 'because' where id = $1", task.batches[2]
        )
        await connection.execute("update batches set retries_used = 1 where id = $1", task.batches[0])
        assert await repository.finish_task_if_complete(connection, task.id) == "DONE"
    untouched = "select md5(string_agg(g::text, '|' order by id)) from generations g where state = 'done'"
    done_before = await one(database, untouched)
    ready_before = await one(database, "select array_agg(ready_at order by position) from batches")
    state, _ = await tasks.run(task.id, operator)
    assert state == "RUNNING"
    assert await one(database, untouched) == done_before
    assert await one(database, "select array_agg(ready_at order by position) from batches") == ready_before
    async with database.connection() as connection:
        pending = await connection.fetch("select position, retries_used from generations where state = 'pending'")
        budgets = await connection.fetch(
            "select done, failed, retries_used, losses, reason from batches order by position"
        )
        task_row = await connection.fetchrow("select ended_at, end_reason from tasks")
    assert sorted(tuple(row) for row in pending) == [(1, 0), (3, 0)]
    assert [tuple(row) for row in budgets] == [(4, 0, 1, 0, None), (4, 0, 0, 0, None), (2, 0, 0, 0, None)]
    assert task_row is not None
    assert tuple(task_row) == (None, None)


async def test_a_done_task_without_a_missing_image_is_not_run_again(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    async with database.connection() as connection:
        task = await add_task(connection, "DONE")
    async with nothing_changes(database):
        with pytest.raises(WrongState, match="DONE and no image is missing"):
            await tasks.run(task.id, operator)


async def test_a_cancelled_task_is_run_again(database: Database, tasks: TaskService, operator: Principal) -> None:
    task = await frozen_task(database, tasks, operator)
    await tasks.run(task.id, operator)
    assert await tasks.cancel(task.id, operator) == "FAILED"
    assert await one(database, "select end_reason from tasks") == "cancelled"
    assert await one(database, "select count(*) from generations where state = 'pending'") == 8
    state, _ = await tasks.run(task.id, operator)
    assert state == "RUNNING"
    assert await one(database, "select end_reason from tasks") is None


async def test_a_task_that_was_cancelled_after_its_last_image_is_done_when_run(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    task = await frozen_task(database, tasks, operator)
    await tasks.run(task.id, operator)
    await tasks.cancel(task.id, operator)
    async with database.connection() as connection:
        await _make_all(connection, task)
    state, _ = await tasks.run(task.id, operator)
    assert state == "DONE"
    assert await state_of(database, task.id) == "DONE"


# --- nobody can run it


WITHOUT_SAMPLER = {name: info for name, info in OBJECT_INFO.items() if name != "KSampler"}


async def test_without_a_worker_nothing_starts(database: Database, tasks: TaskService, operator: Principal) -> None:
    task = await frozen_task(database, tasks, operator)
    async with database.connection() as connection:
        await connection.execute("update workers set removed_at = now()")
    async with nothing_changes(database):
        with pytest.raises(NoHealthyWorker, match="none is registered") as refused:
            await tasks.run(task.id, operator)
    assert (refused.value.status, refused.value.code) == (409, "no_healthy_worker")


async def test_every_worker_is_named_with_its_obstacle(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    task = await frozen_task(database, tasks, operator)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    async with database.connection() as connection:
        await connection.execute("update workers set removed_at = now()")
        await add_worker(connection, "gpu-1", enabled=False)
        await add_worker(connection, "gpu-2", status="UNHEALTHY", reason="It answers HTML.")
        await add_worker(connection, "gpu-3", last_checked_at=long_ago)
        await add_worker(connection, "gpu-4")
    picky = TaskService(database, Readiness(database, Said(WITHOUT_SAMPLER), alive), verified)
    async with nothing_changes(database):
        with pytest.raises(NoHealthyWorker) as refused:
            await picky.run(task.id, operator)
    assert refused.value.message.startswith("No healthy worker can run this workflow: gpu-1 is disabled, gpu-2 is ")
    assert "It answers HTML" in refused.value.message
    assert f"gpu-3 has not been checked since {long_ago:%H:%M}" in refused.value.message
    assert "gpu-4 lacks" in refused.value.message
    assert "KSampler" in refused.value.message


async def test_a_worker_that_does_not_say_what_it_can_run_is_not_counted_on(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    task = await frozen_task(database, tasks, operator)
    mute = Said({}, WorkerUnreachable("No answer within 5 s."))
    async with nothing_changes(database):
        with pytest.raises(NoHealthyWorker, match="does not say what it can run: No answer within 5 s"):
            await TaskService(database, Readiness(database, mute, alive), verified).run(task.id, operator)


# --- the end


async def test_a_task_with_work_left_does_not_end(database: Database, tasks: TaskService, operator: Principal) -> None:
    task = await frozen_task(database, tasks, operator)
    await tasks.run(task.id, operator)
    async with database.connection() as connection:
        assert await repository.finish_task_if_complete(connection, task.id) is None
        await connection.execute("update generations set state = 'failed'")
        await connection.execute(
            "insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size,"
            " graph_digest) select gen_random_uuid(), $1, $2, id, 0, 1, 'reserved', 1, 1, '' from prompts limit 1",
            task.worker_id, task.id,
        )  # fmt: skip
        assert await repository.finish_task_if_complete(connection, task.id) is None


async def test_a_task_of_which_nothing_can_be_labelled_has_failed(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    task = await frozen_task(database, tasks, operator)
    await tasks.run(task.id, operator)
    async with database.connection() as connection:
        await connection.execute("update generations set state = 'failed'")
        await connection.execute("update batches set failed = total")
        assert await repository.finish_task_if_complete(connection, task.id) == "FAILED"
        assert await repository.finish_task_if_complete(connection, task.id) is None
    assert await one(database, "select end_reason from tasks") == "nothing_to_label"


# --- the law of the table, on the database


async def _edit(prompts: PromptService, task: TaskRows) -> None:
    await prompts.change(task.id, task.prompts[0], PromptChanges(text="edited"))


async def _end(connection: Connection, task: TaskRows, verb: Verb) -> None:
    """As the orchestrator brings it about: every image is done, or every image is given up."""
    if verb is Verb.FINISH:
        await _make_all(connection, task)
    else:
        await connection.execute("update generations set state = 'failed' where task_id = $1", task.id)
        await connection.execute("update batches set failed = total where task_id = $1", task.id)
    await repository.finish_task_if_complete(connection, task.id)


people = st.sampled_from([Verb.EDIT, Verb.FREEZE, Verb.RUN, Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.READ_SNAPSHOT])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(people, min_size=1, max_size=8))
async def test_an_illegal_verb_changes_nothing_and_a_legal_one_leads_where_the_table_says(
    database: Database, tasks: TaskService, prompts: PromptService, operator: Principal, verbs: list[Verb]
) -> None:
    async with database.connection() as connection:
        worker = await connection.fetchval("select id from workers limit 1") or await add_worker(connection)
        task = await add_task(connection, prompts=1, seeds=2, worker_id=worker)
    for verb in verbs:
        state = TaskState(await state_of(database, task.id))
        acts: dict[Verb, Callable[[], Awaitable[Any]]] = {
            Verb.EDIT: lambda: _edit(prompts, task),
            Verb.FREEZE: lambda: tasks.freeze(task.id, operator),
            Verb.RUN: lambda: tasks.run(task.id, operator),
            Verb.PAUSE: lambda: tasks.pause(task.id, operator),
            Verb.RESUME: lambda: tasks.resume(task.id, operator),
            Verb.CANCEL: lambda: tasks.cancel(task.id, operator),
            Verb.READ_SNAPSHOT: lambda: tasks.snapshot(task.id),
        }
        act = acts[verb]
        if (state, verb) in MOVES:
            await act()
            assert await state_of(database, task.id) == MOVES[state, verb]
        else:
            async with nothing_changes(database):
                with pytest.raises(WrongState):
                    await act()


@pytest.mark.parametrize(("verb", "state"), [(Verb.FINISH, TaskState.DONE), (Verb.FAIL, TaskState.FAILED)])
async def test_only_a_running_task_ends_by_itself(
    database: Database, tasks: TaskService, operator: Principal, verb: Verb, state: TaskState
) -> None:
    task = await frozen_task(database, tasks, operator)
    async with nothing_changes(database), database.connection() as connection:
        assert await repository.finish_task_if_complete(connection, task.id) is None
    await tasks.run(task.id, operator)
    async with database.connection() as connection:
        await _end(connection, task, verb)
    assert await state_of(database, task.id) == state


async def test_an_unknown_task_is_not_found(tasks: TaskService, operator: Principal) -> None:
    nobody = UUID(int=0)
    verbs = (tasks.run, tasks.pause, tasks.resume, tasks.cancel)
    for act in (*(verb(nobody, operator) for verb in verbs), tasks.snapshot(nobody)):
        with pytest.raises(NotFound):
            await act
