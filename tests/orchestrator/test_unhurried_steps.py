"""What a worker or a person may already know of waits for the disk; the rest may be forgotten with its database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfylabel.db.pool import Connection, Database
from comfylabel.orchestrator import steps_repository
from comfylabel.orchestrator.steps_repository import Ended, Image
from tests.orchestrator.test_repository_fencing import mark_sent, reserve, running_task


@asynccontextmanager
async def step(database: Database, name: str, waits: dict[str, bool]) -> AsyncIterator[Connection]:
    """A transaction as on a server that keeps what it has said; notes whether its commit waits for the disk."""
    async with database.transaction() as connection:
        await connection.execute("set local synchronous_commit = on")
        yield connection
        waits[name] = await connection.fetchval("select current_setting('synchronous_commit')::boolean")


async def test_what_must_not_be_forgotten_waits_for_the_disk_and_nothing_else(database: Database):
    waits: dict[str, bool] = {}
    async with database.transaction() as connection:
        task = await running_task(connection)
    async with step(database, "reserve", waits) as connection:
        submission = await reserve(connection, task)
    async with step(database, "sent", waits) as connection:
        assert await mark_sent(connection, task, submission)
    async with step(database, "accepted", waits) as connection:
        assert await steps_repository.mark_accepted(connection, [submission.id]) == [True]
    async with step(database, "generated", waits) as connection:
        ended = Ended(submission.id, task.worker_id, seconds=1.0)
        assert await steps_repository.mark_generated(connection, [ended]) == [True]
    async with step(database, "image done", waits) as connection:
        generation = await connection.fetchval("select id from generations where state = 'running' limit 1")
        image = Image(generation, submission.id, ("a.png", "b.webp", "b.webp", "b.webp", "0" * 64, 1, 64, 64), {})
        assert await steps_repository.images_done(connection, [image]) == ([True], [])
    assert waits == {"reserve": False, "sent": True, "accepted": False, "generated": False, "image done": True}
