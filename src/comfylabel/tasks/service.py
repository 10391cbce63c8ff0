"""The life of a task: its plan is drawn, frozen and run. `create_task` is where the product's walk begins."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from comfylabel.accounts.repository import audit
from comfylabel.accounts.schemas import Principal
from comfylabel.comfy.graph import prompt_template
from comfylabel.db.ids import uuid7
from comfylabel.db.jobs import cancel_job, enqueue, top_up_job
from comfylabel.db.notifications import notify
from comfylabel.db.partitions import ensure_partitions
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import InvalidField, NotFound
from comfylabel.generations import taking_back_repository
from comfylabel.generations.repository import top_up
from comfylabel.tasks import freeze_repository, plan, prompts_repository, repository, snapshot
from comfylabel.tasks.answers import TaskView
from comfylabel.tasks.freezing import frozen_snapshot, generation_metadata
from comfylabel.tasks.lifecycle import TaskState, Verb, next_state, refuse_nothing_missing
from comfylabel.tasks.readiness import Readiness, Verify
from comfylabel.tasks.schemas import NewTask, Pilot, Task, TaskChanges
from comfylabel.variable_pools import repository as pools_repository
from comfylabel.variable_pools.schemas import VariablePool
from comfylabel.workers.schemas import Worker
from comfylabel.workflows import repository as workflows_repository
from comfylabel.workflows.schemas import Workflow

CANCELLED = "cancelled"
SNAPSHOT_PAGE = 500
# Computing rows never waits for anything: without this the COPY of a large plan would hold the loop to its end.
ROWS_BETWEEN_BREATHS = 200

Row = TypeVar("Row")


class TaskService:
    """`readiness` and `verify` may ask workers; no transaction is open meanwhile."""

    def __init__(self, database: Database, readiness: Readiness, verify: Verify) -> None:
        self._database = database
        self._readiness = readiness
        self._verify = verify

    # --- create, read, change

    async def create_task(self, new: NewTask, by: Principal) -> UUID:
        """K unique prompts with N seeds each, drawn from the pools and streamed into the database."""
        plan.check_size(new.target_prompts, new.seeds_per_prompt)
        async with self._database.transaction() as connection:
            workflow = await workflows_repository.get(connection, new.workflow_id)
            if workflow is None:
                raise InvalidField("workflow_id", f"names no workflow: {new.workflow_id}")
            pools = await pools_repository.resolve(connection, new.variable_pool_ids)
            plan.check_capacity(pools, new.target_prompts)
            template = prompt_template(workflow.raw_definition, workflow.bindings)
            plan.check_template(template)
            drawn = plan.TaskPlan(
                task_id=uuid7(),
                sampling_seed=secrets.randbelow(plan.SEED_SPACE),
                template=template,
                pools=pools,
                prompts=new.target_prompts,
                seeds_per_prompt=new.seeds_per_prompt,
            )
            await _insert(connection, drawn, new, workflow, by)
            await prompts_repository.copy_prompts(connection, _breathing(drawn.prompt_rows()))
            await prompts_repository.copy_seeds(connection, _breathing(drawn.seed_rows()))
            await audit(connection, by.user_id, "task_created", str(drawn.task_id))
            await notify(connection, tasks=[drawn.task_id])
        return drawn.task_id

    async def view(self, task_id: UUID, *, after_position: int, limit: int) -> TaskView:
        """The task with the prompts that follow that position."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id), task_id)
            limit = prompts_repository.page_limit(limit, task.seeds_per_prompt)
            prompts = await prompts_repository.page(connection, task_id, after_position, limit + 1)
            pilot = await repository.last_pilot(connection, task_id)
        next_position = prompts[limit - 1].position if len(prompts) > limit else None
        return TaskView(task, prompts[:limit], next_position, pilot)

    async def change(self, task_id: UUID, changes: TaskChanges) -> None:
        """Notes, overlap and blind are about labelling, priority is about time: so in every state."""
        sent = changes.model_fields_set
        for name in sent - {"notes"}:
            if getattr(changes, name) is None:
                raise InvalidField(name, "must not be null; leave it out to keep it")
        async with self._database.transaction() as connection:
            # Against answers under way: one that was stored for the old overlap must not wait for a place that is free.
            before = found(await repository.lock(connection, task_id), task_id)
            await repository.change(
                connection,
                task_id,
                set_notes="notes" in sent,
                notes=changes.notes,
                overlap=changes.overlap,
                blind=changes.blind,
                priority=changes.priority,
            )
            if changes.priority is not None:
                await repository.change_priority_of_jobs(connection, task_id, changes.priority)
            if changes.overlap is not None and changes.overlap > before.overlap:
                await repository.promote_waiting_answers(connection, task_id, changes.overlap)
            await notify(connection, tasks=[task_id])

    # --- freeze and its snapshot

    async def freeze(self, task_id: UUID, by: Principal) -> tuple[Task, Pilot | None]:
        """Lock prompts, seeds and recipe for good, and make a row for every batch and every image to come."""
        async with self._database.connection() as connection:
            await ensure_partitions(connection, datetime.now(UTC))
        async with self._database.transaction() as connection:
            task = found(await repository.lock(connection, task_id), task_id)
            state = next_state(task.state, Verb.FREEZE)
            pilot = await repository.last_valid_pilot(connection, task)
            await repository.cancel_running_pilot(connection, task_id)
            await self._freeze(connection, task, state, pilot)
            await audit(connection, by.user_id, "task_frozen", str(task_id))
            await notify(connection, tasks=[task_id])
            return found(await repository.get(connection, task_id), task_id), pilot

    async def _freeze(self, connection: Connection, task: Task, state: TaskState, pilot: Pilot | None) -> None:
        workflow = await workflow_of(connection, task)
        pools = await _pools_of(connection, task)
        overrides = plan.overrides_of(pilot.overrides if pilot else None, task.batch_size)
        batch_size = overrides["batch_size"] or task.batch_size
        document = snapshot.DocumentDigest()
        async for prompt in prompts_repository.in_order(connection, task.id, task.seeds_per_prompt):
            document.add(prompt)
        frozen_at = await freeze_repository.now(connection)
        frozen = frozen_snapshot(
            task,
            workflow,
            pools,
            frozen_at=frozen_at,
            overrides=overrides,
            batch_size=batch_size,
            document=document,
        )
        await freeze_repository.freeze(
            connection,
            task.id,
            state=state,
            frozen_at=frozen_at,
            batch_size=batch_size,
            frozen_snapshot=frozen,
            digest=document.whole(frozen),
        )
        await freeze_repository.insert_plan(
            connection,
            task.id,
            frozen_at=frozen_at,
            seeds_per_prompt=task.seeds_per_prompt,
            batch_size=batch_size,
            metadata=generation_metadata(workflow),
        )

    async def snapshot(self, task_id: UUID) -> tuple[Task, AsyncIterator[bytes]]:
        """The canonical document, piece by piece; its SHA-256 is the task's digest."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id), task_id)
        next_state(task.state, Verb.READ_SNAPSHOT)
        return task, self._snapshot_pieces(task)

    async def _snapshot_pieces(self, task: Task) -> AsyncIterator[bytes]:
        """In pages: what is frozen cannot change between two, and no connection waits for a slow reader."""
        assert task.frozen_snapshot is not None
        yield snapshot.HEAD
        position, separator = prompts_repository.BEFORE_FIRST, b""
        limit = prompts_repository.page_limit(SNAPSHOT_PAGE, task.seeds_per_prompt)
        while True:
            async with self._database.connection() as connection:
                prompts = await prompts_repository.page(connection, task.id, position, limit)
            if not prompts:
                break
            yield separator + b",".join(map(snapshot.entry, prompts))
            position, separator = prompts[-1].position, b","
        yield snapshot.tail(task.frozen_snapshot)

    # --- run, pause, resume, cancel

    async def run(self, task_id: UUID, by: Principal) -> tuple[TaskState, list[Worker]]:
        """Start, or resume what is missing: what failed is pending again, what is done stays untouched."""
        async with self._database.connection() as connection:
            task = found(await repository.get(connection, task_id), task_id)
            await _check_can_run(connection, task)
        workers = await self.able_workers(task.workflow_id)
        async with self._database.transaction() as connection:
            task = found(await repository.lock(connection, task_id), task_id)
            state = await _check_can_run(connection, task)
            await freeze_repository.retry_failed(connection, task_id)
            await repository.start(connection, task_id, state)
            await _wake(connection, task_id)
            await audit(connection, by.user_id, "task_run", str(task_id))
            await notify(connection, tasks=[task_id])
            # A task that was cancelled after its last image has nothing left to do.
            state = await repository.finish_task_if_complete(connection, task_id) or state
        return state, workers

    async def able_workers(self, workflow_id: UUID) -> list[Worker]:
        """Asked before anything starts; NoHealthyWorker says of each worker why not."""
        able = await self._readiness.able_workers(workflow_id)
        await self._verify(workflow_id)
        return able

    async def pause(self, task_id: UUID, by: Principal) -> TaskState:
        """Nothing new is sent from this commit on; what runs ends and is kept."""
        async with self._database.transaction() as connection:
            task = found(await repository.lock(connection, task_id), task_id)
            state = next_state(task.state, Verb.PAUSE)
            if task.paused_at is None:
                await repository.pause(connection, task_id)
                await audit(connection, by.user_id, "task_paused", str(task_id))
                await notify(connection, tasks=[task_id])
        return state

    async def resume(self, task_id: UUID, by: Principal) -> TaskState:
        async with self._database.transaction() as connection:
            task = found(await repository.lock(connection, task_id), task_id)
            state = next_state(task.state, Verb.RESUME)
            if task.paused_at is not None:
                await repository.resume(connection, task_id)
                await _wake(connection, task_id)
                await audit(connection, by.user_id, "task_resumed", str(task_id))
                await notify(connection, tasks=[task_id])
        return state

    async def cancel(self, task_id: UUID, by: Principal) -> TaskState:
        """Nothing more is made, and what was under way is pending again; the orchestrator takes it off the workers by
        its ids, so that nothing of a later run is meant. Images done stay, and those that are being fetched come.
        """
        async with self._database.transaction() as connection:
            task = found(await repository.lock(connection, task_id), task_id)
            state = next_state(task.state, Verb.CANCEL)
            await repository.end(connection, task_id, state, CANCELLED)
            taken = await taking_back_repository.of_task(connection, task_id, "The task was cancelled.")
            await enqueue(connection, [cancel_job(*held) for held in taking_back_repository.on_workers(taken).items()])
            await audit(connection, by.user_id, "task_cancelled", str(task_id))
        return state


async def _insert(
    connection: Connection, drawn: plan.TaskPlan, new: NewTask, workflow: Workflow, by: Principal
) -> None:
    if new.ab_test_id is not None and not await repository.ab_test_exists(connection, new.ab_test_id):
        raise InvalidField("ab_test_id", f"names no A/B test: {new.ab_test_id}")
    await repository.insert(
        connection,
        task_id=drawn.task_id,
        workflow_id=workflow.id,
        notes=new.notes,
        target_prompts=drawn.prompts,
        seeds_per_prompt=drawn.seeds_per_prompt,
        variable_pool_ids=[pool.id for pool in drawn.pools],
        variable_pool_version=plan.pool_versions(drawn.pools),
        sampling_seed=drawn.sampling_seed,
        seed_mode=workflow.seed_mode,
        batch_size=plan.batch_size(workflow.seed_mode, drawn.seeds_per_prompt, workflow.max_batch_size),
        overlap=new.overlap,
        blind=new.blind,
        ab_test_id=new.ab_test_id,
        created_by=by.user_id,
    )


async def _breathing(rows: Iterator[Row]) -> AsyncIterator[Row]:
    for number, row in enumerate(rows):
        if number % ROWS_BETWEEN_BREATHS == 0:
            await asyncio.sleep(0)
        yield row


async def _wake(connection: Connection, task_id: UUID) -> None:
    """Jobs for what is missing, now and once those that are just ending are gone."""
    await top_up(connection, task_id)
    await enqueue(connection, [top_up_job(task_id)])


async def _check_can_run(connection: Connection, task: Task) -> TaskState:
    state = next_state(task.state, Verb.RUN)
    if task.state is TaskState.DONE and not await freeze_repository.has_missing_images(connection, task.id):
        raise refuse_nothing_missing()
    return state


async def workflow_of(connection: Connection, task: Task) -> Workflow:
    workflow = await workflows_repository.get(connection, task.workflow_id)
    assert workflow is not None, "a foreign key holds it"
    return workflow


async def _pools_of(connection: Connection, task: Task) -> list[VariablePool]:
    return await pools_repository.resolve(connection, [str(pool_id) for pool_id in task.variable_pool_ids])


def found(task: Task | None, task_id: UUID) -> Task:
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    return task
