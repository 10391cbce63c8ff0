"""The real server on a real port, with tasks in it whose images are real files. It can be stopped and started
again on the same port, data and database, as a server that is being updated.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from comfylabel.ab_tests.bucketing import Variant, VariantSettings
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal, Role
from comfylabel.accounts.service import AccountService
from comfylabel.comfy.simulator.pictures import Picture, draw
from comfylabel.db.pool import Connection, Database
from comfylabel.main import create_app
from comfylabel.storage.store import ObjectStore
from tests.support.app import settings_for, token_of
from tests.support.rows import TaskRows, add_task, finish_batches
from tests.support.waiting import until

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>bold</b>"
# What each candidate is filled with: a test can see on the screen which one stands in a place.
COLOURS = (0xC0392B, 0x27AE60, 0x2980B9, 0xF1C40F, 0x8E44AD, 0x16A085, 0xD35400, 0x7F8C8D, 0x2C3E50)
SQUARE = (1024, 1024)
# The longest side of each smaller file of an image; what is stored in full has the image's own size.
SIDES = {"thumbnail_uri": 256, "tile_uri": 640, "preview_uri": 1024}


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    name: str


class Gate(Protocol):
    """What every request waits at before the server hears of it."""

    async def pass_through(self, address: str) -> None: ...


@dataclass
class Site:
    data_dir: Path
    database_url: str
    port: int
    settings: dict[str, Any] = field(default_factory=dict)
    _app: FastAPI | None = None
    _server: uvicorn.Server | None = None
    _serving: asyncio.Task[None] | None = None
    _admin: Principal | None = None
    # What the server was asked for, as the request line has it: a browser's log counts what its cache answered too.
    served: list[str] = field(default_factory=list)
    gate: Gate | None = None

    @property
    def app(self) -> FastAPI:
        assert self._app is not None, "the server runs"
        return self._app

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    async def start(self, listener: socket.socket | None = None) -> None:
        listener = listener or socket.create_server(("127.0.0.1", self.port))
        settings = settings_for(self.data_dir, port=self.port, **self.settings)
        self._app = create_app(settings, database_url=self.database_url)
        config = uvicorn.Config(self._noting, interface="asgi3", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started or serving.done())
        assert server.started, "the server does not start"
        self._server, self._serving = server, serving

    async def _noting(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = f"{scope['path']}?{scope['query_string'].decode()}".removesuffix("?")
            self.served.append(address)
            if self.gate is not None:
                await self.gate.pass_through(address)
        await self.app(scope, receive, send)

    def images_served(self) -> list[str]:
        return [address for address in self.served if address.startswith("/images/")]

    async def stop(self) -> None:
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait_for(self._serving, 30)
        self._server = self._serving = None

    # People

    async def link(self, role: Role) -> str:
        """A sign-in link of a person with that role: of the first admin, or of a new user."""
        if role is Role.ADMIN:
            return (await self._accounts.ensure_admin_link()).url
        return await self.link_of(await self.add_person(role))

    async def add_person(self, role: Role = Role.ANNOTATOR, name: str | None = None) -> Person:
        name = name or f"{role.value} {uuid4().hex[:4]}"
        user, _ = await self._accounts.create_user(await self._first_admin(), name, role)
        return Person(user.id, name)

    async def link_of(self, person: Person) -> str:
        return (await self._accounts.invite(await self._first_admin(), person.id)).url

    async def session_of(self, person: Person) -> str:
        """The secret that a browser keeps in its cookie after signing in."""
        return (await self._accounts.sign_in_with_link(token_of(await self.link_of(person)))).secret

    @property
    def _accounts(self) -> AccountService:
        accounts: AccountService = self.app.state.accounts
        return accounts

    async def _first_admin(self) -> Principal:
        if self._admin is None:
            link = await self._accounts.ensure_admin_link()
            session = await self._accounts.sign_in_with_link(token_of(link.url))
            self._admin = await self._accounts.principal(session=session.secret, token=None)
        assert self._admin is not None
        return self._admin

    # Tasks and their images

    async def add_task(
        self, state: str = "DONE", *, seeds: int = 4, shapes: Sequence[tuple[int, int]] = (SQUARE,), **more: object
    ) -> TaskRows:
        """The images of prompt i have the i-th of the shapes; after the last comes the first again."""
        async with self.database.transaction() as connection:
            task = await add_task(connection, state, seeds=seeds, **more)  # type: ignore[arg-type]  # as add_task's own
            await self._dress(connection, task.id, shapes)
        return task

    async def finish(self, task: TaskRows, batches: slice) -> None:
        """These batches are ready, and their images are files by then."""
        async with self.database.transaction() as connection:
            await finish_batches(connection, task.batches[batches])
            await self._dress(connection, task.id, (SQUARE,))

    async def _dress(self, connection: Connection, task_id: UUID, shapes: Sequence[tuple[int, int]]) -> None:
        """A file behind each address that the task's rows name."""
        await connection.execute(_IN_ORDER, task_id)
        await connection.execute(_SIZES, task_id, [width for width, _ in shapes], [height for _, height in shapes])
        for row in await connection.fetch(_IMAGES, task_id):
            files = files_of(row["width"], row["height"], row["candidate_index"])
            for column, content in files.items():
                file = self._root / row[column]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    @property
    def _root(self) -> Path:
        store: ObjectStore = self.app.state.store
        assert store._root is not None
        return store._root

    async def delete_images(self, task: TaskRows, number: int, candidate: int) -> None:
        """All files of one candidate are gone, as after a bucket's rule or a slip of the hand."""
        for key in await self.keys(task, number, candidate):
            (self._root / key).unlink()

    async def keys(self, task: TaskRows, number: int, candidate: int) -> list[str]:
        rows = await self.database.pool.fetch(_KEYS, task.batches[number], candidate)
        return [key for row in rows for key in row]

    async def add_ab_test(self, task: TaskRows, settings: dict[str, Any]) -> None:
        """A test with one variant, so that everybody gets it: the settings are those of the labelling screen."""
        ab_tests: AbTestService = self.app.state.ab_tests
        variant = Variant("A", 1.0, VariantSettings(**settings))
        test = await ab_tests.create(f"test {uuid4().hex[:8]}", [variant], datetime.now(UTC) + timedelta(days=1))
        await self.database.pool.execute("update tasks set ab_test_id = $2 where id = $1", task.id, test.id)

    # Answers

    async def answers(self, task: TaskRows) -> list[tuple[int, str, int | None, int | None]]:
        """(number of the batch, kind, chosen, rejected), oldest first; indexes are candidates, not places."""
        rows = await self.database.pool.fetch(_ANSWERS, task.id)
        return [
            (task.batches.index(row["batch_id"]), row["kind"], row["chosen_index"], row["rejected_index"])
            for row in rows
        ]

    async def rows(self, task: TaskRows) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.pool.fetch(_ANSWERS, task.id)]

    async def until_rows(self, task: TaskRows, count: int) -> list[dict[str, Any]]:
        async def all_there() -> bool:
            return len(await self.rows(task)) >= count

        await until(all_there)
        return await self.rows(task)

    async def until_answers(self, task: TaskRows, expected: Sequence[tuple[int, str, int | None, int | None]]) -> None:
        """Wait for as many answers as expected, then compare them."""

        async def all_there() -> bool:
            return len(await self.answers(task)) >= len(expected)

        await until(all_there)
        assert await self.answers(task) == list(expected)


@functools.cache
def files_of(width: int, height: int, candidate: int) -> dict[str, bytes]:
    """The four files of an image, by the column that names them; all candidates of one index share their bytes."""
    picture = draw(Picture(width, height, colour=COLOURS[candidate % len(COLOURS)]))
    smaller = {
        column: bytes(picture.thumbnail_image(side, height=side, size="down").webpsave_buffer(Q=80, effort=0))
        for column, side in SIDES.items()
    }
    return {"image_uri": bytes(picture.pngsave_buffer(compression=1)), **smaller}


# Batches become ready one after the other, so that the test knows which one is shown first.
_IN_ORDER = """
update batches set ready_at = date_trunc('second', ready_at) + position * interval '1 millisecond' where task_id = $1
"""
_SIZES = """
update generations g set width = ($2::int[])[1 + b.position % cardinality($2::int[])],
  height = ($3::int[])[1 + b.position % cardinality($3::int[])],
  tile_uri = replace(g.thumbnail_uri, '.256.', '.640.')
from batches b where b.id = g.batch_id and g.task_id = $1 and g.state = 'done'
"""
_IMAGES = """
select width, height, candidate_index, image_uri, thumbnail_uri, preview_uri, tile_uri from generations
where task_id = $1 and state = 'done'
"""
_KEYS = """
select image_uri, thumbnail_uri, preview_uri, tile_uri from generations where batch_id = $1 and candidate_index = $2
"""
_ANSWERS = "select * from annotations where task_id = $1 order by updated_at, id"


@contextlib.asynccontextmanager
async def running_site(data_dir: Path, database_url: str, **settings: Any) -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(data_dir, database_url, listener.getsockname()[1], settings)
        await site.start(listener)
        try:
            yield site
        finally:
            await site.stop()
