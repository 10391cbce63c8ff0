"""What is taken back in the rows: every counter still equals its recount, and nobody else's rows are touched."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from comfylabel.db.pool import Connection
from comfylabel.generations import taking_back_repository
from comfylabel.generations.recount_repository import wrong_counters
from comfylabel.generations.taking_back_repository import on_workers
from tests.support import rows
from tests.support.waiting import until

SUBMIT = """
insert into submissions (id, worker_id, task_id, prompt_id, pilot_id, chunk, attempt, state, seed_value, batch_size,
  graph_digest, sent_at)
values ($1, $2, $3, $4, $5, $6, 1, $7, 1, 2, '', case when $7 <> 'reserved' then now() end)
"""
RUN = """
update generations set state = 'running', submission_id = $1, worker_id = $2
where batch_id = $3 and chunk = $4 and state = 'pending'
"""


async def submit(connection: Connection, task: rows.TaskRows, prompt: int, chunk: int, state: str, **more: Any) -> UUID:
    """With its images running, unless it is only reserved or a pilot's."""
    identity = uuid4()
    pilot = more.get("pilot_id")
    await connection.execute(SUBMIT, identity, task.worker_id, task.id, task.prompts[prompt], pilot, chunk, state)
    if state != "reserved" and pilot is None:
        await connection.execute(RUN, identity, task.worker_id, task.batches[prompt], chunk)
        await connection.execute("update batches set running = running + 2 where id = $1", task.batches[prompt])
    return identity


async def running_task(connection: Connection) -> rows.TaskRows:
    return await rows.add_task(connection, "RUNNING", prompts=2, seeds=4, batch_size=2)


async def states(connection: Connection, *submission_ids: UUID) -> list[str]:
    found = await connection.fetch("select id, state from submissions")
    by_id = {row["id"]: row["state"] for row in found}
    return [by_id[submission_id] for submission_id in submission_ids]


async def test_of_a_task_all_that_hold_a_slot_are_taken_back_and_what_is_made_is_kept(database):
    async with database.transaction() as connection:
        task, other = await running_task(connection), await running_task(connection)
        reserved = await submit(connection, task, 0, 0, "reserved")
        sent = await submit(connection, task, 0, 1, "sent")
        accepted = await submit(connection, task, 1, 0, "accepted")
        generated = await submit(connection, task, 1, 1, "generated")
        foreign = await submit(connection, other, 0, 0, "accepted")
    async with database.transaction() as connection:
        taken = await taking_back_repository.of_task(connection, task.id, "Because.")
        assert {one.id: one.was_sent for one in taken} == {reserved: False, sent: True, accepted: True}
        assert {worker: set(ids) for worker, ids in on_workers(taken).items()} == {task.worker_id: {sent, accepted}}
        assert await states(connection, reserved, sent, accepted) == ["cancelled"] * 3
        assert await states(connection, generated, foreign) == ["generated", "accepted"]
        assert await wrong_counters(connection, task.id) == []
        assert await wrong_counters(connection, other.id) == []
        pending = "select count(*) from generations where task_id = $1 and state = 'pending' and submission_id is null"
        assert await connection.fetchval(pending, task.id) == 6
        errors = await connection.fetch("select distinct error from submissions where state = 'cancelled'")
        assert [row["error"] for row in errors] == [{"class": "cancelled", "message": "Because."}]
    async with database.transaction() as connection:
        assert await taking_back_repository.of_task(connection, task.id, "Again.") == []


async def test_of_those_named_only_what_still_holds_a_slot(database):
    async with database.transaction() as connection:
        task = await running_task(connection)
        waiting = await submit(connection, task, 0, 0, "accepted")
        made = await submit(connection, task, 0, 1, "generated")
        unnamed = await submit(connection, task, 1, 0, "accepted")
    async with database.transaction() as connection:
        taken = await taking_back_repository.named(connection, [waiting, made, uuid4()], "Because.")
        assert [one.id for one in taken] == [waiting]
        assert await states(connection, made, unnamed) == ["generated", "accepted"]
        assert await wrong_counters(connection, task.id) == []


async def test_of_a_pilot_also_what_is_made(database):
    """Nobody fetches it any more."""
    async with database.transaction() as connection:
        task = await running_task(connection)
        pilot = uuid4()
        await connection.execute(
            "insert into pilots (id, task_id, edits, state) values ($1, $2, 0, 'cancelled')", pilot, task.id
        )
        sent = await submit(connection, task, 0, 0, "sent", pilot_id=pilot)
        made = await submit(connection, task, 0, 1, "generated", pilot_id=pilot)
        mass = await submit(connection, task, 1, 0, "accepted")
    async with database.transaction() as connection:
        taken = await taking_back_repository.of_pilot(connection, pilot, "Because.")
        assert [one.id for one in taken] == [sent]
        assert await states(connection, sent, made, mass) == ["cancelled", "lost", "accepted"]
        assert await taking_back_repository.of_task(connection, task.id, "Because.") != []
        assert await wrong_counters(connection, task.id) == []


async def test_what_ends_while_it_is_being_taken_back_is_not(database):
    """The worker's end of it is noted first: whoever takes back waits for the row, and reads it again."""
    async with database.transaction() as connection:
        task = await running_task(connection)
        submission = await submit(connection, task, 0, 0, "accepted")
    async with database.transaction() as ending:
        await ending.execute("update submissions set state = 'generated' where id = $1", submission)
        cancelling = asyncio.create_task(_take_back(database, task.id))
        await until(lambda: _somebody_waits(database))
    assert await cancelling == []
    async with database.connection() as connection:
        assert await states(connection, submission) == ["generated"]
        assert await wrong_counters(connection, task.id) == []


async def _take_back(database, task_id: UUID) -> list[UUID]:
    async with database.transaction() as connection:
        return [one.id for one in await taking_back_repository.of_task(connection, task_id, "Because.")]


async def _somebody_waits(database) -> bool:
    return await database.pool.fetchval(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    )
