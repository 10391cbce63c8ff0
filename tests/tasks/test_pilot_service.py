import asyncio
from typing import Any
from uuid import UUID

import pytest

from comfylabel.accounts.schemas import Principal
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.errors import ComfyLabelError, Conflict, NoHealthyWorker, NotFound, WrongState
from comfylabel.tasks import repository
from comfylabel.tasks.pilot_service import PilotService, raise_what_ended
from comfylabel.tasks.prompts_service import PromptService
from comfylabel.tasks.schemas import Pilot, PromptChanges
from comfylabel.tasks.service import TaskService
from tests.support.rows import TaskRows, add_task
from tests.support.unchanged import nothing_changes


@pytest.fixture
async def draft(database: Database) -> TaskRows:
    async with database.connection() as connection:
        return await add_task(connection, prompts=2, seeds=4)


async def finish(database: Database, pilot: Pilot, worker_id: UUID) -> bool:
    async with database.transaction() as connection:
        return await repository.finish_pilot(
            connection,
            pilot.id,
            worker_id=worker_id,
            retries_used=1,
            ladder=[{"width": 768, "height": 768, "batch_size": 1, "outcome": "ok"}],
            overrides={"width": 768, "height": 768, "batch_size": 2},
            heaviest={"prompt_id": str(uuid7()), "why": "longest text"},
            forecast={"seconds_per_image": 3.1},
        )


async def fail(database: Database, pilot: Pilot, **error: Any) -> bool:
    async with database.transaction() as connection:
        return await repository.fail_pilot(connection, pilot.id, error)


async def test_a_pilot_is_a_row_and_a_job_ahead_of_mass_work(
    database: Database, pilots: PilotService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    assert (pilot.state, pilot.task_id, pilot.edits) == ("running", draft.id, 0)
    async with database.connection() as connection:
        job = await connection.fetchrow("select entrypoint, priority, payload from pgqueuer")
    assert job is not None
    assert (job["entrypoint"], job["priority"]) == ("pilot", 1_000_000)
    assert str(pilot.id).encode() in job["payload"]


async def test_asking_twice_waits_for_the_same_pilot(database: Database, pilots: PilotService, draft: TaskRows) -> None:
    first, second = await asyncio.gather(pilots.start(draft.id), pilots.start(draft.id))
    assert first.id == second.id
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from pgqueuer") == 1


async def test_the_request_waits_until_the_pilot_has_ended(
    database: Database, pilots: PilotService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    waiting = asyncio.create_task(pilots.wait(pilot.id))
    assert await finish(database, pilot, draft.worker_id)
    ended = await waiting
    assert (ended.state, ended.worker_id, ended.retries_used) == ("done", draft.worker_id, 1)
    assert ended.overrides == {"width": 768, "height": 768, "batch_size": 2}
    raise_what_ended(ended)  # nothing


async def test_a_pilot_that_takes_too_long_is_answered_as_it_is(
    database: Database, tasks: TaskService, draft: TaskRows
) -> None:
    impatient = PilotService(database, tasks, wait_seconds=0)
    pilot = await impatient.start(draft.id)
    assert (await impatient.wait(pilot.id)).state == "running"


async def test_what_the_pilot_failed_with_is_what_the_request_answers(
    database: Database, pilots: PilotService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    data = {"ladder": [], "retries_used": 3, "worker_id": None}
    await fail(database, pilot, status=422, code="pilot_out_of_memory", message="No size was left.", data=data)
    with pytest.raises(ComfyLabelError, match="No size was left") as refused:
        raise_what_ended(await pilots.wait(pilot.id))
    assert (refused.value.status, refused.value.code, refused.value.data) == (422, "pilot_out_of_memory", data)


async def test_an_edit_ends_the_pilot_at_work_and_its_result_comes_too_late(
    database: Database, pilots: PilotService, prompts: PromptService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="x"))
    assert not await finish(database, pilot, draft.worker_id)
    assert not await fail(database, pilot, status=422, code="x", message="x")
    with pytest.raises(Conflict) as refused:
        raise_what_ended(await pilots.wait(pilot.id))
    assert refused.value.code == "pilot_cancelled"
    again = await pilots.start(draft.id)
    assert (again.id != pilot.id, again.edits) == (True, 1)


async def test_the_last_pilot_is_shown_and_void_after_an_edit(
    database: Database, pilots: PilotService, prompts: PromptService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    await finish(database, pilot, draft.worker_id)
    view = await pilots.view(draft.id)
    assert (view.pilot.id, view.pilot.edits == view.task.edits) == (pilot.id, True)
    await prompts.change(draft.id, draft.prompts[0], PromptChanges(text="x"))
    view = await pilots.view(draft.id)
    assert (view.pilot.id, view.pilot.state, view.pilot.edits == view.task.edits) == (pilot.id, "done", False)


async def test_its_images_come_in_their_order_and_no_others(
    database: Database, pilots: PilotService, draft: TaskRows
) -> None:
    pilot = await pilots.start(draft.id)
    async with database.connection() as connection:
        for position, state in ((2, "done"), (1, "done"), (3, "failed")):
            await connection.execute(
                "insert into generations (id, task_id, prompt_id, pilot_id, pilot, position, chunk, seed_value,"
                " batch_index, batch_size, state, image_uri, thumbnail_uri, checksum, submission_id, worker_id,"
                " width, height) values ($1, $2, $3, $4, true, $5::int, 0, $5::int, 0, 1, $6, 'a.png', 'a.webp', 'x',"
                " gen_random_uuid(), $7, 768, 512)",
                uuid7(), draft.id, draft.prompts[0], pilot.id, position, state, draft.worker_id,
            )  # fmt: skip
    images = (await pilots.view(draft.id)).images
    assert [image.seed for image in images] == [1, 2]
    assert (images[0].width, images[0].height, images[0].prompt_id) == (768, 512, draft.prompts[0])


# --- refused


async def test_no_healthy_worker(database: Database, pilots: PilotService, draft: TaskRows) -> None:
    async with database.connection() as connection:
        await connection.execute("update workers set status = 'UNHEALTHY', reason = 'It is off.'")
    async with nothing_changes(database):
        with pytest.raises(NoHealthyWorker, match="It is off"):
            await pilots.start(draft.id)


async def test_a_pilot_is_for_drafts_only(
    database: Database, tasks: TaskService, pilots: PilotService, draft: TaskRows, operator: Principal
) -> None:
    await tasks.freeze(draft.id, operator)
    async with nothing_changes(database):
        with pytest.raises(WrongState, match="The task is FROZEN and cannot be piloted"):
            await pilots.start(draft.id)


async def test_what_is_not_there_is_not_found(pilots: PilotService, draft: TaskRows) -> None:
    with pytest.raises(NotFound, match="has had no pilot"):
        await pilots.view(draft.id)
    for act in (pilots.view(UUID(int=0)), pilots.start(UUID(int=0)), pilots.wait(UUID(int=0))):
        with pytest.raises(NotFound):
            await act
