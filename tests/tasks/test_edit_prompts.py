from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.errors import Conflict, InvalidField, NotFound
from comfylabel.tasks import repository
from comfylabel.tasks.plan import SeedDraw
from comfylabel.tasks.prompts_repository import BEFORE_FIRST, page_limit
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.schemas import NewPrompt, PromptChanges, Task
from tests.support.rows import TaskRows, add_task
from tests.support.unchanged import nothing_changes


@pytest.fixture
async def draft(database: Database) -> TaskRows:
    async with database.connection() as connection:
        return await add_task(connection, prompts=2, seeds=4, variables={"dress": "red"})


async def task_of(database: Database, task_id: UUID) -> Task:
    async with database.connection() as connection:
        task = await repository.get(connection, task_id)
    assert task is not None
    return task


@pytest.mark.postgres_16_too
async def test_text_and_seeds_change_and_variables_stay(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    before = (await prompts.page(draft.id, after_position=BEFORE_FIRST, limit=1))[0][0]
    changed = await prompts.change(
        draft.id, draft.prompts[0], PromptChanges(text="a model in a red coat", seeds=[5, 6, 7, 8])
    )
    assert (changed.text, changed.variables, changed.edited) == ("a model in a red coat", {"dress": "red"}, True)
    assert [seed.value for seed in changed.seeds] == [5, 6, 7, 8]
    assert [seed.id for seed in changed.seeds] == [seed.id for seed in before.seeds]
    assert (await task_of(database, draft.id)).edits == 1


async def test_what_is_left_out_stays(prompts: PromptService, draft: TaskRows) -> None:
    changed = await prompts.change(draft.id, draft.prompts[1], PromptChanges(seeds=[4, 3, 2, 1]))
    assert (changed.text, [seed.value for seed in changed.seeds]) == ("prompt 1", [4, 3, 2, 1])


async def test_an_edit_of_nothing_is_no_edit(database: Database, prompts: PromptService, draft: TaskRows) -> None:
    async with nothing_changes(database):
        unchanged = await prompts.change(draft.id, draft.prompts[0], PromptChanges())
    assert (unchanged.text, unchanged.edited) == ("prompt 0", False)


@pytest.mark.parametrize(("limit", "seeds", "prompts"), [(1000, 4, 1000), (10_000, 1000, 100), (1, 1000, 1)])
def test_a_page_is_bounded_by_its_seeds_too(limit: int, seeds: int, prompts: int) -> None:
    assert page_limit(limit, seeds) == prompts


async def test_an_added_prompt_stands_last_with_drawn_seeds(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    added = await prompts.add(draft.id, NewPrompt(text="a third", variables={"dress": "blue"}))
    assert [seed.value for seed in added.seeds] == SeedDraw(7).of_prompt(2, 4)
    page, _ = await prompts.page(draft.id, after_position=BEFORE_FIRST, limit=10)
    assert page[-1] == added
    task = await task_of(database, draft.id)
    assert (task.target_prompts, task.edits) == (3, 1)


async def test_an_added_prompt_may_bring_its_seeds(prompts: PromptService, draft: TaskRows) -> None:
    added = await prompts.add(draft.id, NewPrompt(text="a third", seeds=[1, 2, 3, 4]))
    assert [seed.value for seed in added.seeds] == [1, 2, 3, 4]


@pytest.mark.postgres_16_too
async def test_a_deleted_prompt_takes_its_seeds_along(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    await prompts.delete(draft.id, draft.prompts[0])
    page, _ = await prompts.page(draft.id, after_position=BEFORE_FIRST, limit=10)
    assert [prompt.id for prompt in page] == [draft.prompts[1]]
    task = await task_of(database, draft.id)
    assert (task.target_prompts, task.edits) == (1, 1)
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from seeds") == 4


async def test_a_prompt_with_a_pilots_images_can_be_deleted(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    async with database.connection() as connection:
        pilot = await repository.insert_pilot(connection, uuid7(), await task_of(database, draft.id))
        await connection.execute(
            "insert into generations (id, task_id, prompt_id, pilot_id, pilot, position, chunk, seed_value, "
            "batch_index, batch_size) values ($1, $2, $3, $4, true, 1, 0, 5, 0, 1)",
            uuid7(), draft.id, draft.prompts[0], pilot.id,
        )  # fmt: skip
    await prompts.delete(draft.id, draft.prompts[0])
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from generations") == 0


async def test_an_edit_cancels_a_pilot_at_work(database: Database, prompts: PromptService, draft: TaskRows) -> None:
    async with database.connection() as connection:
        pilot = await repository.insert_pilot(connection, uuid7(), await task_of(database, draft.id))
    await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="x"))
    async with database.connection() as connection:
        ended = await repository.get_pilot(connection, pilot.id)
    assert ended is not None
    assert (ended.state, ended.ended_at is None) == ("cancelled", False)


# --- refused, and nothing changes


@pytest.mark.parametrize(
    ("seeds", "path"),
    [
        ([1, 2, 3], "seeds"),
        ([1, 2, 3, 4, 5], "seeds"),
        ([], "seeds"),
        ([1, 2, 3, 1], "seeds[3]"),
        ([-1, 2, 3, 4], "seeds[0]"),
        ([1, 2, 3, 2**53], "seeds[3]"),
        ([1, 10**30, 3, 4], "seeds[1]"),
    ],
)
async def test_seeds_that_cannot_be_are_refused(
    database: Database, prompts: PromptService, draft: TaskRows, seeds: list[int], path: str
) -> None:
    async with nothing_changes(database):
        with pytest.raises(InvalidField) as refused:
            await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="x", seeds=seeds))
        assert refused.value.data["errors"][0]["path"] == path
        with pytest.raises(InvalidField):
            await prompts.add(draft.id, NewPrompt(text="x", seeds=seeds))


async def test_null_is_no_way_to_leave_something_out(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    async with nothing_changes(database):
        with pytest.raises(InvalidField, match="text must not be null"):
            await prompts.change(draft.id, draft.prompts[0], PromptChanges(text=None))


@pytest.mark.parametrize(
    "body",
    [{"text": ""}, {"text": "a\x00b"}, {"text": "x" * 20_001}, {"text": "x", "seeds": ["1"]}, {"text": "x", "a": 1}],
)
def test_a_body_that_cannot_be_stored_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewPrompt.model_validate(body)


async def test_the_last_prompt_stays(database: Database, prompts: PromptService, draft: TaskRows) -> None:
    await prompts.delete(draft.id, draft.prompts[0])
    async with nothing_changes(database):
        with pytest.raises(Conflict) as refused:
            await prompts.delete(draft.id, draft.prompts[1])
    assert refused.value.code == "last_prompt"


async def test_a_prompt_of_another_task_is_not_there(
    database: Database, prompts: PromptService, draft: TaskRows
) -> None:
    async with database.connection() as connection:
        other = await add_task(connection)
    async with nothing_changes(database):
        with pytest.raises(NotFound):
            await prompts.change(draft.id, other.prompts[0], PromptChanges(text="x"))
        with pytest.raises(NotFound):
            await prompts.delete(draft.id, other.prompts[0])
        with pytest.raises(NotFound):
            await prompts.change(uuid4(), other.prompts[0], PromptChanges(text="x"))
        with pytest.raises(NotFound):
            await prompts.page(uuid4(), after_position=BEFORE_FIRST, limit=1)
