"""Edits of a task's prompts and seeds, in DRAFT only. Every edit voids the pilot."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import Conflict, InvalidField, NotFound
from comfylabel.tasks import plan, prompts_repository, repository
from comfylabel.tasks.lifecycle import Verb, next_state
from comfylabel.tasks.schemas import NewPrompt, Prompt, PromptChanges, Seed, Task
from comfylabel.tasks.service import found


class PromptService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, task_id: UUID, *, after_position: int, limit: int) -> tuple[list[Prompt], int | None]:
        """The prompts after that position, and the position to go on after."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id, with_snapshot=False), task_id)
            limit = prompts_repository.page_limit(limit, task.seeds_per_prompt)
            prompts = await prompts_repository.page(connection, task_id, after_position, limit + 1)
        return prompts[:limit], prompts[limit - 1].position if len(prompts) > limit else None

    async def add(self, task_id: UUID, new: NewPrompt) -> Prompt:
        """At the end; one more target prompt."""
        async with self._editing(task_id) as (connection, task):
            plan.check_size(task.target_prompts + 1, task.seeds_per_prompt)
            position = await prompts_repository.next_position(connection, task_id)
            if new.seeds is not None:
                check_seeds(new.seeds, task.seeds_per_prompt)
            drawn = plan.SeedDraw(task.sampling_seed).of_prompt(position, task.seeds_per_prompt)
            seeds = tuple(Seed(uuid7(), value) for value in new.seeds or drawn)
            prompt = Prompt(uuid7(), position, new.text, new.variables, True, seeds)  # noqa: FBT003 - `edited`
            await prompts_repository.insert(connection, task_id, prompt)
            await repository.count_edit(connection, task_id, added_prompts=1)
        return prompt

    async def change(self, task_id: UUID, prompt_id: UUID, changes: PromptChanges) -> Prompt:
        for name in changes.model_fields_set:
            if getattr(changes, name) is None:
                raise InvalidField(name, "must not be null; leave it out to keep it")
        async with self._editing(task_id) as (connection, task):
            if changes.seeds is not None:
                check_seeds(changes.seeds, task.seeds_per_prompt)
            prompt = await prompts_repository.one(connection, task_id, prompt_id)
            if prompt is None:
                raise _no_prompt(task_id, prompt_id)
            if not changes.model_fields_set:
                return prompt
            await prompts_repository.change(connection, prompt_id, text=changes.text, seeds=changes.seeds)
            await repository.count_edit(connection, task_id)
            changed = await prompts_repository.one(connection, task_id, prompt_id)
            assert changed is not None
        return changed

    async def delete(self, task_id: UUID, prompt_id: UUID) -> None:
        async with self._editing(task_id) as (connection, task):
            if await prompts_repository.one(connection, task_id, prompt_id) is None:
                raise _no_prompt(task_id, prompt_id)
            if task.target_prompts == 1:
                raise Conflict("A task needs at least one prompt; this is its last.", code="last_prompt")
            # First: a pilot at work writes nothing more once it is cancelled, so its images can go with the prompt.
            await repository.count_edit(connection, task_id, added_prompts=-1)
            await prompts_repository.delete(connection, task_id, prompt_id)

    @asynccontextmanager
    async def _editing(self, task_id: UUID) -> AsyncIterator[tuple[Connection, Task]]:
        """A transaction on a task that is in DRAFT and stays so until its end."""
        async with prompts_repository.guarded(), self._database.transaction() as connection:
            task = found(await repository.lock_for_edit(connection, task_id), task_id)
            next_state(task.state, Verb.EDIT)
            yield connection, task


def check_seeds(seeds: Sequence[int], seeds_per_prompt: int) -> None:
    """N of them, each of [0, 2^53), none twice within the prompt."""
    if len(seeds) != seeds_per_prompt:
        raise InvalidField("seeds", f"must be {seeds_per_prompt} numbers, not {len(seeds)}")
    first: dict[int, int] = {}
    for place, seed in enumerate(seeds):
        if not 0 <= seed < plan.SEED_SPACE:
            raise InvalidField(f"seeds[{place}]", "must be between 0 and 2^53 - 1")
        if seed in first:
            raise InvalidField(f"seeds[{place}]", f"repeats seeds[{first[seed]}]")
        first[seed] = place


def _no_prompt(task_id: UUID, prompt_id: UUID) -> NotFound:
    return NotFound(f"Task {task_id} has no prompt {prompt_id}.")
