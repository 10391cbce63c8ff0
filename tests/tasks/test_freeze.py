import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from comfylabel.accounts.schemas import Principal
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import NotFound, WrongState
from comfylabel.tasks import freeze_repository, prompts_repository, repository
from comfylabel.tasks.plan import generation_id
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.schemas import NewPrompt, PromptChanges, Task
from comfylabel.tasks.service import TaskService
from tests.support.rows import BINDINGS, GRAPH, TaskRows, add_pool, add_task, add_worker
from tests.support.unchanged import nothing_changes
from tests.support.waiting import until


@pytest.fixture
async def draft(database: Database) -> TaskRows:
    """Two prompts of five seeds, planned in chunks of two."""
    async with database.connection() as connection:
        pool = await add_pool(connection, "dress", ["red", "blue"], version=5)
        return await add_task(connection, prompts=2, seeds=5, batch_size=2, variable_pool_ids=[pool])


async def rows(database: Database, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch(sql, *arguments)]


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def pilot_of(connection: Connection, task_id: UUID, edits: int, **overrides: int | None) -> None:
    task = await repository.get(connection, task_id)
    assert task is not None
    pilot = await repository.insert_pilot(connection, UUID(int=edits + 1), task)
    worker = await add_worker(connection, f"pilot-{edits}")
    await repository.finish_pilot(
        connection, pilot.id, worker_id=worker, retries_used=1, ladder=[], overrides=overrides, heaviest={},
        forecast={},
    )  # fmt: skip


# --- what freeze makes


@pytest.mark.postgres_16_too
async def test_every_image_gets_its_row_with_the_seed_of_its_chunk(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    task, _ = await tasks.freeze(draft.id, operator)
    assert task.state == "FROZEN"
    made = await rows(
        database,
        "select g.* from generations g join batches b on b.id = g.batch_id where g.task_id = $1 "
        "order by b.position, g.position",
        draft.id,
    )
    first = made[:5]
    assert [row["chunk"] for row in first] == [0, 0, 1, 1, 2]
    assert [row["batch_index"] for row in first] == [0, 1, 0, 1, 0]
    assert [row["batch_size"] for row in first] == [2, 2, 2, 2, 1]
    assert [row["seed_value"] for row in first] == [1000, 1000, 1002, 1002, 1004]
    sent = await rows(database, "select id, seed_value from seeds where prompt_id = $1", draft.prompts[0])
    assert {row["seed_id"]: row["seed_value"] for row in first}.items() <= {
        row["id"]: row["seed_value"] for row in sent
    }.items()
    assert {row["state"] for row in made} == {"pending"}
    assert [row["prompt_id"] for row in made] == [draft.prompts[0]] * 5 + [draft.prompts[1]] * 5
    assert made[0]["metadata"] == {"workflow_version": "3", "model": "sdxl"}
    batches = await rows(database, "select * from batches where task_id = $1 order by position", draft.id)
    assert [(row["prompt_id"], row["total"]) for row in batches] == [(prompt, 5) for prompt in draft.prompts]


@pytest.mark.postgres_16_too
async def test_the_ids_in_the_database_are_those_of_the_rule(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    task, _ = await tasks.freeze(draft.id, operator)
    assert task.frozen_at is not None
    made = await rows(database, "select id, prompt_id, position from generations where task_id = $1", draft.id)
    assert len(made) == 10
    for row in made:
        assert row["id"] == generation_id(task.frozen_at, row["prompt_id"], row["position"])


async def test_rows_lie_in_the_partition_of_the_freeze(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    await tasks.freeze(draft.id, operator)
    made = await rows(database, "select distinct tableoid::regclass::text as partition from generations")
    assert len(made) == 1
    assert made[0]["partition"] != "generations_default"


@pytest.mark.postgres_16_too
async def test_a_plan_inserted_again_meets_the_primary_key(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    task, _ = await tasks.freeze(draft.id, operator)
    assert task.frozen_at is not None
    async with nothing_changes(database):
        with pytest.raises(asyncpg.UniqueViolationError, match="batches"):
            async with database.transaction() as connection:
                await freeze_repository.insert_plan(
                    connection, draft.id, frozen_at=task.frozen_at, seeds_per_prompt=5, batch_size=2, metadata={}
                )
        with pytest.raises(asyncpg.UniqueViolationError, match=r"generations_.*_pkey"):
            async with database.transaction() as connection:
                await connection.execute(
                    freeze_repository._INSERT_GENERATIONS,
                    draft.id, f"{int(task.frozen_at.timestamp() * 1000):012x}", 5, 2, {},
                )  # fmt: skip


# --- the snapshot


@pytest.mark.postgres_16_too
async def test_the_digest_is_that_of_the_streamed_document(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfylabel.tasks.service.SNAPSHOT_PAGE", 1)
    task, _ = await tasks.freeze(draft.id, operator)
    _, pieces = await tasks.snapshot(draft.id)
    document = await whole(pieces)
    assert task.digest == f"sha256:{hashlib.sha256(document).hexdigest()}"
    parsed = orjson.loads(document)
    assert parsed["task"] == task.frozen_snapshot
    assert parsed["prompts"][1] == {
        "id": str(draft.prompts[1]),
        "seeds": [2000, 2001, 2002, 2003, 2004],
        "text": "prompt 1",
        "variables": {},
    }


async def test_the_snapshot_holds_the_recipe(tasks: TaskService, draft: TaskRows, operator: Principal) -> None:
    task, _ = await tasks.freeze(draft.id, operator)
    frozen = task.frozen_snapshot
    assert frozen is not None
    assert (frozen["graph"], frozen["bindings"]) == (GRAPH, BINDINGS)
    assert frozen["counts"] == {"prompts": 2, "seeds": 10, "seeds_per_prompt": 5}
    assert frozen["workflow"]["version"] == "3"
    assert [pool["version"] for pool in frozen["variable_pools"]] == [5]
    assert frozen["overrides"] == {"width": None, "height": None, "batch_size": None}
    assert set(frozen["digests"]) == {"prompts_sha256", "seeds_sha256"}


async def test_a_draft_has_no_snapshot(tasks: TaskService, draft: TaskRows) -> None:
    with pytest.raises(WrongState, match="The task is DRAFT and cannot show a snapshot"):
        await tasks.snapshot(draft.id)


# --- what a pilot found


async def test_the_last_valid_pilots_size_is_written_down(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    async with database.connection() as connection:
        await pilot_of(connection, draft.id, 0, width=768, height=512, batch_size=1)
    task, pilot = await tasks.freeze(draft.id, operator)
    assert pilot is not None
    assert task.overrides == {"width": 768, "height": 512, "batch_size": 1}
    assert task.batch_size == 1
    made = await rows(database, "select distinct batch_size, batch_index from generations")
    assert made == [{"batch_size": 1, "batch_index": 0}]


async def test_a_pilot_before_the_last_edit_is_void(
    database: Database, tasks: TaskService, prompts: PromptService, draft: TaskRows, operator: Principal
) -> None:
    async with database.connection() as connection:
        await pilot_of(connection, draft.id, 0, width=768, height=768, batch_size=1)
    await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="a red coat"))
    task, pilot = await tasks.freeze(draft.id, operator)
    assert (pilot, task.batch_size) == (None, 2)
    assert task.overrides == {"width": None, "height": None, "batch_size": None}


async def test_a_pilot_at_work_is_cancelled_by_freeze(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    async with database.connection() as connection:
        task = await repository.get(connection, draft.id)
        assert task is not None
        await repository.insert_pilot(connection, UUID(int=1), task)
    await tasks.freeze(draft.id, operator)
    async with database.transaction() as connection:
        assert not await repository.lock_running_pilot(connection, UUID(int=1))
        assert not await repository.fail_pilot(connection, UUID(int=1), {})
    assert (await rows(database, "select state from pilots")) == [{"state": "cancelled"}]


# --- refused


async def test_a_second_freeze_is_refused(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    await tasks.freeze(draft.id, operator)
    async with nothing_changes(database):
        with pytest.raises(WrongState, match="The task is FROZEN and cannot be frozen"):
            await tasks.freeze(draft.id, operator)


async def test_an_unknown_task_cannot_be_frozen(tasks: TaskService, operator: Principal) -> None:
    with pytest.raises(NotFound):
        await tasks.freeze(UUID(int=0), operator)


async def test_edits_after_freeze_are_refused(
    database: Database, tasks: TaskService, prompts: PromptService, draft: TaskRows, operator: Principal
) -> None:
    await tasks.freeze(draft.id, operator)
    async with nothing_changes(database):
        with pytest.raises(WrongState):
            await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="x"))
        with pytest.raises(WrongState):
            await prompts.add(draft.id, NewPrompt(text="x"))
        with pytest.raises(WrongState):
            await prompts.delete(draft.id, draft.prompts[0])


PAST_THE_SERVICE = {
    "update of a prompt": "update prompts set text = 'x'",
    "delete of a prompt": "delete from prompts",
    "insert of a prompt": "insert into prompts (id, task_id, position, text) "
    "select gen_random_uuid(), id, 9, 'x' from tasks",
    "move of a prompt to another task": "update prompts set position = position + 9, "
    "task_id = (select id from tasks where state = 'DRAFT') "
    "where task_id <> (select id from tasks where state = 'DRAFT')",
    "update of a seed": "update seeds set seed_value = 1",
    "delete of a seed": "delete from seeds",
    "insert of a seed": "insert into seeds (id, prompt_id, position, seed_value) "
    "select gen_random_uuid(), id, 9, 1 from prompts",
    "truncate of prompts": "truncate prompts cascade",
    "truncate of seeds": "truncate seeds cascade",
    "snapshot": "update tasks set frozen_snapshot = '{\"a\": 1}' where state <> 'DRAFT'",
    "digest": "update tasks set digest = 'sha256:0' where state <> 'DRAFT'",
    "back to DRAFT": "update tasks set state = 'DRAFT', frozen_snapshot = null, frozen_at = null "
    "where state <> 'DRAFT'",
    "workflow": "update tasks set workflow_id = (select workflow_id from tasks where state = 'DRAFT') "
    "where state <> 'DRAFT'",
    "batch size": "update tasks set batch_size = 9 where state <> 'DRAFT'",
}


@pytest.mark.postgres_16_too
@pytest.mark.parametrize("sql", PAST_THE_SERVICE.values(), ids=PAST_THE_SERVICE.keys())
async def test_sql_past_the_service_is_refused_too(database: Database, draft: TaskRows, sql: str) -> None:
    """Of a task without its rows in `generations`, whose foreign keys would refuse some of it first."""
    async with database.connection() as connection:
        await connection.execute("update tasks set state = 'FROZEN', frozen_snapshot = '{}', frozen_at = now()")
        await add_task(connection, prompts=1)
    async with nothing_changes(database):
        with pytest.raises(asyncpg.PostgresError) as refused:
            async with database.transaction() as connection:
                await connection.execute(sql)
    assert refused.value.sqlstate == prompts_repository.FROZEN_SQLSTATE


async def test_the_databases_refusal_is_a_wrong_state_to_a_caller() -> None:
    error = asyncpg.PostgresError.new({"S": "ERROR", "C": "CL001", "M": "task x is frozen"})
    with pytest.raises(WrongState):
        async with prompts_repository.guarded():
            raise error
    other = asyncpg.PostgresError.new({"S": "ERROR", "C": "CL002", "M": "something else"})
    with pytest.raises(asyncpg.PostgresError):
        async with prompts_repository.guarded():
            raise other


# --- an edit and a freeze at the same moment, in both orders

EDIT = "update prompts set text = 'edited in time' where id = $1"
_WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def somebody_waits(database: Database) -> None:
    async def waits() -> bool:
        async with database.connection() as connection:
            return bool(await connection.fetchval(_WAITING))

    await until(waits)


async def texts(tasks: TaskService, task_id: UUID) -> list[str]:
    _, pieces = await tasks.snapshot(task_id)
    return [prompt["text"] for prompt in orjson.loads(await whole(pieces))["prompts"]]


async def is_true_to_its_digest(tasks: TaskService, task: Task) -> bool:
    _, pieces = await tasks.snapshot(task.id)
    return task.digest == f"sha256:{hashlib.sha256(await whole(pieces)).hexdigest()}"


async def test_a_freeze_waits_for_an_edit_by_sql_and_takes_it_in(
    database: Database, tasks: TaskService, draft: TaskRows, operator: Principal
) -> None:
    async with database.transaction() as connection:
        await connection.execute(EDIT, draft.prompts[0])
        freezing = asyncio.create_task(tasks.freeze(draft.id, operator))
        await somebody_waits(database)
    task, _ = await freezing
    assert await texts(tasks, draft.id) == ["edited in time", "prompt 1"]
    assert await is_true_to_its_digest(tasks, task)


async def test_an_edit_by_sql_waits_for_a_freeze_and_is_refused(
    database: Database, tasks: TaskService, draft: TaskRows
) -> None:
    async def edit() -> None:
        async with database.transaction() as connection:
            await connection.execute(EDIT, draft.prompts[0])

    async with database.transaction() as connection:
        task = await repository.lock(connection, draft.id)
        assert task is not None
        editing = asyncio.create_task(edit())
        await somebody_waits(database)
        await tasks._freeze(connection, task, task.state.FROZEN, None)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await editing
    assert refused.value.sqlstate == prompts_repository.FROZEN_SQLSTATE
    assert await texts(tasks, draft.id) == ["prompt 0", "prompt 1"]


async def test_a_freeze_waits_for_an_edit_through_the_service(
    database: Database, tasks: TaskService, prompts: PromptService, draft: TaskRows, operator: Principal
) -> None:
    async with prompts._editing(draft.id) as (connection, _):
        freezing = asyncio.create_task(tasks.freeze(draft.id, operator))
        await somebody_waits(database)
        await connection.execute(EDIT, draft.prompts[0])
    task, _ = await freezing
    assert await texts(tasks, draft.id) == ["edited in time", "prompt 1"]
    assert await is_true_to_its_digest(tasks, task)


@pytest.mark.postgres_16_too
async def test_an_edit_through_the_service_waits_for_a_freeze_and_is_refused(
    database: Database, tasks: TaskService, prompts: PromptService, draft: TaskRows
) -> None:
    async with database.transaction() as connection:
        task = await repository.lock(connection, draft.id)
        assert task is not None
        editing = asyncio.create_task(prompts.change(draft.id, draft.prompts[0], PromptChanges(text="too late")))
        await somebody_waits(database)
        await tasks._freeze(connection, task, task.state.FROZEN, None)
    with pytest.raises(WrongState, match="The task is FROZEN and cannot be edited"):
        await editing
    assert await texts(tasks, draft.id) == ["prompt 0", "prompt 1"]


async def test_two_edits_at_once_both_count(database: Database, prompts: PromptService, draft: TaskRows) -> None:
    await asyncio.gather(
        *(prompts.change(draft.id, draft.prompts[i % 2], PromptChanges(text=f"edit {i}")) for i in range(8))
    )
    assert await rows(database, "select edits from tasks where id = $1", draft.id) == [{"edits": 8}]
