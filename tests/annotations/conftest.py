"""A task with ready batches, and people to judge them."""

import json
from dataclasses import dataclass
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

    async def rows(self) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.fetch("select * from annotations order by created_at, id")

    async def execute(self, query: str, *arguments: object) -> None:
        async with self.database.connection() as connection:
            await connection.execute(query, *arguments)

    async def value(self, query: str, *arguments: object) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def user_id(self, role: str = "annotator") -> UUID:
        client = await self.api.as_role(role)
        return UUID((await client.get("/api/me")).json()["data"]["id"])


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
