"""The real server on a real port, with tasks in it whose images are real files."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI

from comfylabel.accounts.schemas import Role
from comfylabel.accounts.service import AccountService
from comfylabel.comfy.simulator.pictures import Picture, draw
from comfylabel.db.pool import Connection, Database
from comfylabel.main import create_app
from comfylabel.storage.store import ObjectStore
from tests.support.app import settings_for, token_of
from tests.support.rows import TaskRows, add_task, finish_batches
from tests.support.waiting import until

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>bold</b>"


@dataclass(frozen=True, slots=True)
class Site:
    app: FastAPI
    origin: str

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    async def link(self, role: Role) -> str:
        """A sign-in link of a person with that role: of the first admin, or of a new user."""
        accounts: AccountService = self.app.state.accounts
        first = await accounts.ensure_admin_link()
        if role is Role.ADMIN:
            return first.url
        session = await accounts.sign_in_with_link(token_of(first.url))
        admin = await accounts.principal(session=session.secret, token=None)
        assert admin is not None
        _, link = await accounts.create_user(admin, f"{role.value} {uuid4().hex[:4]}", role)
        return link.url

    async def add_task(self, state: str = "DONE", *, seeds: int = 4, **more: object) -> TaskRows:
        async with self.database.transaction() as connection:
            task = await add_task(connection, state, seeds=seeds, **more)  # type: ignore[arg-type]  # as add_task's own
            await self._dress(connection, task.id)
        return task

    async def finish(self, task: TaskRows, batches: slice) -> None:
        """These batches are ready, and their images are files by then."""
        async with self.database.transaction() as connection:
            await finish_batches(connection, task.batches[batches])
            await self._dress(connection, task.id)

    async def _dress(self, connection: Connection, task_id: UUID) -> None:
        """A file behind each address that the task's rows name."""
        store: ObjectStore = self.app.state.store
        await connection.execute(_IN_ORDER, task_id)
        for row in await connection.fetch(_IMAGES, task_id):
            picture = draw(Picture(512, 512, row["text"], row["seed_value"], row["batch_index"]))
            for key, size in ((row["thumbnail_uri"], 256), (row["preview_uri"], 512)):
                await store.put(key, picture.thumbnail_image(size).webpsave_buffer(Q=80), "image/webp")

    async def answers(self, task: TaskRows) -> list[tuple[int, str, int | None, int | None]]:
        """(number of the batch, kind, chosen, rejected), oldest first."""
        rows = await self.database.pool.fetch(_ANSWERS, task.id)
        return [(task.batches.index(row["batch_id"]), *list(row)[1:]) for row in rows]

    async def until_answers(self, task: TaskRows, expected: Sequence[tuple[int, str, int | None, int | None]]) -> None:
        """Wait for as many answers as expected, then compare them."""

        async def all_there() -> bool:
            return len(await self.answers(task)) >= len(expected)

        await until(all_there)
        assert await self.answers(task) == list(expected)


# Batches become ready one after the other, so that the test knows which one is shown first.
_IN_ORDER = """
update batches set ready_at = date_trunc('second', ready_at) + position * interval '1 millisecond' where task_id = $1
"""
_IMAGES = """
select p.text, g.seed_value, g.batch_index, g.thumbnail_uri, g.preview_uri
from generations g join prompts p on p.id = g.prompt_id where g.task_id = $1 and g.state = 'done'
"""
_ANSWERS = """
select batch_id, kind, chosen_index, rejected_index from annotations where task_id = $1 order by updated_at, id
"""


@asynccontextmanager
async def running_site(data_dir: Path, database_url: str) -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = create_app(settings_for(data_dir, port=port), database_url=database_url)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started or serving.done())
            yield Site(app, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, 30)
