"""What a process believes of the workers' slots: its own steps at once, everybody's at the next reading."""

from uuid import UUID, uuid4

from comfylabel.orchestrator.picture import Picture, nothing_refused
from comfylabel.orchestrator.workers_repository import Slot
from tests.support import rows

SUBMISSION = """
insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size, graph_digest,
  sent_at, ended_at)
values ($1, $2, $3, $4, 0, 1, $5, 1, 1, '', now(), case when $5 in ('ingested', 'lost') then now() end)
"""


def free(picture: Picture) -> list[int]:
    return [seat.free for seat in picture.seats(lambda _: False)]


async def hold(connection, task: rows.TaskRows, state: str = "accepted") -> UUID:
    submission_id = uuid4()
    await connection.execute(SUBMISSION, submission_id, task.worker_id, task.id, task.prompts[0], state)
    return submission_id


async def worker_and_tasks(database) -> tuple[rows.TaskRows, rows.TaskRows]:
    async with database.transaction() as connection:
        worker = await rows.add_worker(connection, max_concurrent_jobs=4)
        one = await rows.add_task(connection, "RUNNING", prompts=1, worker_id=worker)
        other = await rows.add_task(connection, "RUNNING", prompts=1, worker_id=worker)
        return one, other


async def test_slots_of_all_processes_are_counted_by_worker_and_by_task(database):
    one, other = await worker_and_tasks(database)
    async with database.transaction() as connection:
        for task, state in ((one, "sent"), (one, "reserved"), (other, "accepted"), (other, "generated"), (one, "lost")):
            await hold(connection, task, state)
    picture = Picture(database, nothing_refused, max_age=60)
    await picture.refresh([], [])
    assert free(picture) == [1]
    assert (picture.held[one.id], picture.held[other.id]) == (2, 1)
    assert picture.others_hold(one.worker_id)


async def test_what_this_process_takes_and_gives_back_is_known_at_once(database):
    task, _ = await worker_and_tasks(database)
    picture = Picture(database, nothing_refused, max_age=60)
    await picture.refresh([], [])
    async with database.transaction() as connection:
        mine = await hold(connection, task, "reserved")
    picture.took(mine, Slot(task.worker_id, task.id))
    assert (free(picture), picture.held[task.id]) == ([3], 1)
    await picture.refresh([], [])
    assert (free(picture), picture.others_hold(task.worker_id)) == ([3], False)  # counted once
    picture.gave_back(mine)
    picture.gave_back(mine)
    assert (free(picture), picture.held[task.id]) == ([4], 0)


async def test_what_somebody_else_has_ended_is_free_at_the_next_reading(database):
    task, _ = await worker_and_tasks(database)
    picture = Picture(database, nothing_refused, max_age=60)
    async with database.transaction() as connection:
        cancelled = await hold(connection, task)
    picture.took(cancelled, Slot(task.worker_id, task.id))
    async with database.transaction() as connection:
        await connection.execute("update submissions set state = 'cancelled', ended_at = now()")
    await picture.refresh([], [])
    assert free(picture) == [4]


async def test_what_was_given_back_while_it_was_read_is_not_counted(database):
    task, _ = await worker_and_tasks(database)
    picture = Picture(database, nothing_refused, max_age=60)
    async with database.transaction() as connection:
        mine = await hold(connection, task)
    picture.took(mine, Slot(task.worker_id, task.id))

    async def meanwhile(_worker, _workflow_ids):
        picture.gave_back(mine)
        return frozenset()

    picture._refused = meanwhile  # asked between the reading of the rows and their counting
    await picture.refresh([], [])
    assert (free(picture), picture.others_hold(task.worker_id)) == ([4], False)


async def test_how_the_tasks_of_those_that_wait_stand_now(database):
    one, other = await worker_and_tasks(database)
    picture = Picture(database, nothing_refused, max_age=60)
    async with database.transaction() as connection:
        await connection.execute("update tasks set priority = 7 where id = $1", one.id)
        await connection.execute("update tasks set paused_at = now() where id = $1", other.id)
    now = await picture.refresh([], [one.id, other.id])
    assert (now[one.id].priority, now[one.id].is_wanted, now[other.id].is_wanted) == (7, True, False)


async def test_a_workflow_that_was_not_asked_about_needs_a_reading_at_once(database):
    picture = Picture(database, nothing_refused, max_age=60)
    known, new = uuid4(), uuid4()
    assert picture.seconds_to_refresh([]) == 0
    await picture.refresh([known], [])
    assert picture.seconds_to_refresh([known]) > 1
    assert picture.seconds_to_refresh([known, new]) == 0
    picture.doubt()
    assert picture.seconds_to_refresh([known]) < 1


async def test_what_a_worker_cannot_run_is_refused_by_its_seat(database):
    task, _ = await worker_and_tasks(database)
    unable = uuid4()

    async def refused(_worker, workflow_ids):
        return frozenset(workflow_ids) & {unable}

    picture = Picture(database, refused, max_age=60)
    async with database.transaction() as connection:
        await connection.execute(
            "insert into ineligible_workers (worker_id, workflow_id, reason) values ($1, $2, 'x')",
            task.worker_id,
            task.workflow_id,
        )
    await picture.refresh([unable, uuid4()], [])
    assert [seat.refuses for seat in picture.seats(lambda _: False)] == [{unable, task.workflow_id}]
