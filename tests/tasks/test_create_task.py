import math
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from comfylabel.accounts.schemas import Principal
from comfylabel.db.pool import Database
from comfylabel.errors import InvalidField, InvalidInput
from comfylabel.tasks.prompts_repository import BEFORE_FIRST
from comfylabel.tasks.schemas import NewTask
from comfylabel.tasks.service import TaskService
from tests.support.rows import BINDINGS, GRAPH, add_pool, add_workflow
from tests.support.unchanged import nothing_changes


async def new_task(database: Database, **fields: Any) -> NewTask:
    async with database.connection() as connection:
        workflow_id = await add_workflow(connection, f"workflow-{uuid4()}")
    plan = {"workflow_id": workflow_id, "variable_pool_ids": [], "target_prompts": 1, "seeds_per_prompt": 1}
    return NewTask.model_validate(plan | fields)


@pytest.fixture
async def dress(database: Database) -> UUID:
    async with database.connection() as connection:
        return await add_pool(connection, "dress", ["red dress", "blue dress"])


@pytest.fixture
async def light(database: Database) -> UUID:
    async with database.connection() as connection:
        await add_pool(connection, "light", ["dim"])
        return await add_pool(connection, "light", ["soft light", "hard light", "no light"], version=2)


@pytest.mark.postgres_16_too
async def test_k_prompts_with_n_seeds_are_drawn_from_pools_by_id_and_by_name(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID, light: UUID
) -> None:
    body = await new_task(
        database, variable_pool_ids=[str(dress), "light"], target_prompts=6, seeds_per_prompt=5, notes="summer"
    )
    view = await tasks.view(await tasks.create_task(body, operator), after_position=BEFORE_FIRST, limit=100)
    assert [prompt.text for prompt in view.prompts] == [
        "red dress, soft light", "red dress, hard light", "red dress, no light",
        "blue dress, soft light", "blue dress, hard light", "blue dress, no light",
    ]  # fmt: skip
    assert view.prompts[0].variables == {"dress": "red dress", "light": "soft light"}
    seeds = [seed.value for prompt in view.prompts for seed in prompt.seeds]
    assert len(set(seeds)) == 30
    assert all(0 <= seed < 2**53 for seed in seeds)
    task = view.task
    assert (task.state, task.notes, task.created_by) == ("DRAFT", "summer", operator.user_id)
    assert (task.variable_pool_ids, task.variable_pool_version) == ([dress, light], "dress:v1,light:v2")
    assert (task.seed_mode, task.batch_size, task.overlap, task.blind) == ("native", 4, 1, False)
    assert (view.pilot, view.next_position) == (None, None)


async def test_the_plan_can_be_drawn_again_from_the_stored_sampling_seed(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID
) -> None:
    body = await new_task(database, variable_pool_ids=["dress"], target_prompts=2, seeds_per_prompt=3)
    one = await tasks.view(await tasks.create_task(body, operator), after_position=BEFORE_FIRST, limit=10)
    other = await tasks.view(await tasks.create_task(body, operator), after_position=BEFORE_FIRST, limit=10)
    assert one.task.sampling_seed != other.task.sampling_seed
    assert {seed.value for prompt in one.prompts for seed in prompt.seeds}.isdisjoint(
        {seed.value for prompt in other.prompts for seed in prompt.seeds}
    )


async def test_a_loop_workflow_sends_one_image_at_a_time(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    async with database.connection() as connection:
        workflow_id = await add_workflow(connection, "loop", seed_mode="loop")
    body = await new_task(database, workflow_id=workflow_id, seeds_per_prompt=4)
    view = await tasks.view(await tasks.create_task(body, operator), after_position=BEFORE_FIRST, limit=10)
    assert (view.task.seed_mode, view.task.batch_size) == ("loop", 1)


async def test_placeholders_in_the_bound_text_are_filled(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID
) -> None:
    graph = GRAPH | {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a model wearing a {dress}, photo"}}}
    async with database.connection() as connection:
        workflow_id = await add_workflow(connection, "template", raw_definition=graph, bindings=BINDINGS)
    body = await new_task(database, workflow_id=workflow_id, variable_pool_ids=["dress"], target_prompts=2)
    view = await tasks.view(await tasks.create_task(body, operator), after_position=BEFORE_FIRST, limit=10)
    assert [prompt.text for prompt in view.prompts] == [
        "a model wearing a red dress, photo",
        "a model wearing a blue dress, photo",
    ]


async def test_pages_hold_every_prompt_once(database: Database, tasks: TaskService, operator: Principal) -> None:
    async with database.connection() as connection:
        await add_pool(connection, "number", [f"n{i}" for i in range(25)], mode="no_replacement")
    body = await new_task(database, variable_pool_ids=["number"], target_prompts=25, seeds_per_prompt=2)
    task_id = await tasks.create_task(body, operator)
    texts, position = [], BEFORE_FIRST
    while True:
        view = await tasks.view(task_id, after_position=position, limit=10)
        texts += [prompt.text for prompt in view.prompts]
        if view.next_position is None:
            break
        position = view.next_position
    assert sorted(texts) == sorted(f"n{i}" for i in range(25))


async def test_a_product_of_a_million_million_costs_nothing(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    async with database.connection() as connection:
        for name in ("a", "b", "c", "d"):
            await add_pool(connection, name, [f"{name}{i}" for i in range(1000)], mode="no_replacement")
    body = await new_task(database, variable_pool_ids=["a", "b", "c", "d"], target_prompts=2000, seeds_per_prompt=2)
    task_id = await tasks.create_task(body, operator)
    async with database.connection() as connection:
        counted = await connection.fetchrow(
            "select count(distinct text) as texts, count(*) as prompts, max(position) as last from prompts "
            "where task_id = $1",
            task_id,
        )
        seeds = await connection.fetchval("select count(distinct seed_value) from seeds")
    assert counted is not None
    assert tuple(counted) == (2000, 2000, 1999)
    assert seeds == 4000


# --- refused, and nothing is written


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"target_prompts": 0}, "target_prompts"),
        ({"seeds_per_prompt": 0}, "seeds_per_prompt"),
        ({"seeds_per_prompt": 10**6}, "seeds_per_prompt"),
        ({"variable_pool_ids": ["dress", "nowhere"]}, "variable_pool_ids[1]"),
        ({"variable_pool_ids": [str(uuid4())]}, "variable_pool_ids[0]"),
        ({"variable_pool_ids": ["dress", "dress"]}, "variable_pool_ids[1]"),
        ({"workflow_id": uuid4()}, "workflow_id"),
        ({"ab_test_id": uuid4()}, "ab_test_id"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_written(
    database: Database, tasks: TaskService, operator: Principal, fields: dict[str, Any], path: str
) -> None:
    async with database.connection() as connection:
        await add_pool(connection, "dress", ["red dress", "blue dress"])
    body = await new_task(database, **fields)
    async with nothing_changes(database):
        with pytest.raises(InvalidField) as refused:
            await tasks.create_task(body, operator)
    assert refused.value.data["errors"][0]["path"] == path


async def test_items_that_make_an_endless_prompt_are_refused_and_nothing_is_written(
    database: Database, tasks: TaskService, operator: Principal
) -> None:
    async with database.connection() as connection:
        for name in ("a", "b", "c"):
            await add_pool(connection, name, ["x", f"{name * 9000}"])
    body = await new_task(database, variable_pool_ids=["a", "b", "c"], target_prompts=8)
    async with nothing_changes(database):
        with pytest.raises(InvalidField, match="more than 20000 characters") as refused:
            await tasks.create_task(body, operator)
    assert refused.value.data["errors"][0]["path"] == "variable_pool_ids"


async def test_an_endless_text_in_the_workflow_is_refused_and_nothing_is_written(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID
) -> None:
    """A million placeholders, each for an item of 10 kB, would be 10 GB of one prompt."""
    body = await new_task(database, variable_pool_ids=["dress"], target_prompts=2)
    async with database.connection() as connection:
        await connection.execute(
            "update workflows set raw_definition = jsonb_set(raw_definition, '{6,inputs,text}', to_jsonb($1::text))",
            "{dress}" * 3000,
        )
    async with nothing_changes(database):
        with pytest.raises(InvalidField, match="more than 20000 characters") as refused:
            await tasks.create_task(body, operator)
    assert refused.value.data["errors"][0]["path"] == "workflow_id"


async def test_more_than_the_capacity_is_refused_with_the_number(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID, light: UUID
) -> None:
    body = await new_task(database, variable_pool_ids=["dress", "light"], target_prompts=7)
    async with nothing_changes(database):
        with pytest.raises(InvalidInput, match="give 6 different prompts") as refused:
            await tasks.create_task(body, operator)
    assert refused.value.data["capacity"] == math.prod((2, 3))


async def test_a_plan_that_breaks_off_leaves_nothing(
    database: Database, tasks: TaskService, operator: Principal, dress: UUID
) -> None:
    body = await new_task(database, variable_pool_ids=["dress"], target_prompts=2, seeds_per_prompt=2)
    async with database.connection() as connection:
        await connection.execute("alter table seeds add constraint none_is_allowed check (position < 1)")
    async with nothing_changes(database):
        with pytest.raises(asyncpg.CheckViolationError):
            await tasks.create_task(body, operator)
