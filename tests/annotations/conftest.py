"""A task with ready batches, and people to judge them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest

from comfylabel.db.pool import Connection, Database, Record
from tests.support.app import Api
from tests.support.rows import TaskRows, add_task


@dataclass
class Labelling:
    """`post` answers as a role; `rows` are all answers of the database in the order of their turns."""

    api: Api
    database: Database
    task: TaskRows
    _user_ids: dict[str, UUID] = field(default_factory=dict)

    async def post(self, role: str = "annotator", **payload: Any) -> httpx.Response:
        client = await self.api.as_role(role)
        # Escaped, so that a test may send what is no valid text.
        body = json.dumps(self.payload(**payload))
        return await client.post("/api/annotations", content=body, headers={"content-type": "application/json"})

    def payload(self, batch: int = 0, **changes: Any) -> dict[str, Any]:
        return {"task_id": str(self.task.id), "batch_id": str(self.task.batches[batch])} | changes

    async def stored(self, role: str = "annotator", **payload: Any) -> dict[str, Any]:
        answer = await self.post(role, **payload)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def send(self, elements: Sequence[Any], role: str = "annotator") -> httpx.Response:
        """The list form; its elements may be anything."""
        client = await self.api.as_role(role)
        body = json.dumps(list(elements))
        return await client.post("/api/annotations", content=body, headers={"content-type": "application/json"})

    async def outcomes(self, elements: Sequence[Any], role: str = "annotator") -> list[dict[str, Any]]:
        answer = await self.send(elements, role)
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    async def undo(self, undo_of: str, client_id: str, role: str = "annotator", **more: Any) -> httpx.Response:
        client = await self.api.as_role(role)
        return await client.post("/api/annotations", json={"undo_of": undo_of, "client_id": client_id} | more)

    async def undone(self, undo_of: str, client_id: str, role: str = "annotator") -> dict[str, Any]:
        answer = await self.undo(undo_of, client_id, role)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def lease(self, role: str = "annotator", batch: int = 0) -> None:
        """As the dispenser writes it."""
        batch_id, user_id = self.task.batches[batch], await self.user_id(role)
        await self.execute(
            "insert into leases (batch_id, user_id, task_id) values ($1, $2, $3)", batch_id, user_id, self.task.id
        )
        await self.execute("update batches set taken = taken + 1 where id = $1", batch_id)

    async def release(self, role: str, batch: int = 0) -> None:
        batch_id, user_id = self.task.batches[batch], await self.user_id(role)
        await self.execute("delete from leases where batch_id = $1 and user_id = $2", batch_id, user_id)
        await self.execute("update batches set taken = taken - 1 where id = $1", batch_id)

    async def holders(self, batch: int = 0) -> set[UUID]:
        query = "select coalesce(array_agg(user_id), '{}') from leases where batch_id = $1"
        return set(await self.value(query, self.task.batches[batch]))

    async def taken(self, batch: int = 0) -> int:
        taken: int = await self.value("select taken from batches where id = $1", self.task.batches[batch])
        return taken

    async def answered(self, role: str = "annotator") -> int | None:
        """What the person's own row counts; None where there is none."""
        count: int | None = await self.value(
            "select answered from labellers where user_id = $1", await self.user_id(role)
        )
        return count

    async def another_task(self) -> TaskRows:
        async with self.database.connection() as connection:
            return await running_task(connection)

    async def rows(self) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.fetch("select * from annotations order by created_at, id")

    async def history(self) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.fetch("select * from annotation_history order by replaced_at, id")

    async def execute(self, query: str, *arguments: object) -> None:
        async with self.database.connection() as connection:
            await connection.execute(query, *arguments)

    async def value(self, query: str, *arguments: object) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def user_id(self, role: str = "annotator") -> UUID:
        if role not in self._user_ids:
            client = await self.api.as_role(role)
            self._user_ids[role] = UUID((await client.get("/api/me")).json()["data"]["id"])
        return self._user_ids[role]


async def running_task(connection: Connection, **changes: Any) -> TaskRows:
    columns: dict[str, Any] = {"state": "RUNNING", "finished": True, "prompts": 3} | changes
    return await add_task(connection, **columns)


@pytest.fixture
async def labelling(api: Api, database: Database) -> Labelling:
    """A running task with three ready batches of four images, overlap 1."""
    async with database.connection() as connection:
        task = await running_task(connection)
    for role in ("annotator", "operator", "admin"):
        await api.as_role(role)
    return Labelling(api, database, task)
