"""HTTP of `comfylabel check` and `comfylabel partitions`: is what is stored consistent, and put it right."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from comfylabel.accounts.dependencies import Admin
from comfylabel.db.partitions import count_strays, repair_partitions
from comfylabel.db.pool import Connection, Database
from comfylabel.generations import recount_repository
from comfylabel.http.envelope import Envelope, ok

router = APIRouter(prefix="/api/maintenance", tags=["maintenance"])

SHOWN = 1000


class WrongCounterAnswer(BaseModel):
    """Numbers are total, done, failed, running, candidates, taken places."""

    batch_id: UUID
    task_id: UUID
    stored: list[int]
    counted: list[int]


class WrongLabellerAnswer(BaseModel):
    """How many batches of a task a person has answered."""

    task_id: UUID
    user_id: UUID
    stored: int
    counted: int


class CountersAnswer(BaseModel):
    """`wrong` and `wrong_labellers` hold the first 1000 of each; the numbers beside them count both."""

    tasks: int
    batches: int
    wrong_count: int
    wrong: list[WrongCounterAnswer]
    wrong_labellers: list[WrongLabellerAnswer]
    repaired: int


class PartitionAnswer(BaseModel):
    """`rows` is PostgreSQL's estimate; -1 before it has made one."""

    name: str
    rows: int


class PartitionsAnswer(BaseModel):
    """`strays`: rows in the default partition, where a missing month puts them."""

    partitions: list[PartitionAnswer]
    strays: int


class MovedAnswer(BaseModel):
    moved: int


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


Db = Annotated[Database, Depends(_database)]


@router.get("/counters", response_model=Envelope[CountersAnswer])
async def check_counters(_admin: Admin, database: Db) -> Response:
    return ok(await _recount(database, repair=False))


@router.post("/counters/repair", response_model=Envelope[CountersAnswer])
async def repair_counters(_admin: Admin, database: Db) -> Response:
    return ok(await _recount(database, repair=True))


async def _recount(database: Database, *, repair: bool) -> dict[str, object]:
    """Task by task: no snapshot is held for longer than one task takes."""
    wrong: list[recount_repository.WrongCounter] = []
    wrong_labellers: list[recount_repository.WrongLabeller] = []
    repaired = 0
    async with database.connection() as connection:
        tasks = await recount_repository.tasks_with_batches(connection)
        for task_id, _ in tasks:
            batches = await recount_repository.wrong_counters(connection, task_id)
            labellers = await recount_repository.wrong_labellers(connection, task_id)
            wrong += batches
            wrong_labellers += labellers
            if repair:
                repaired += await _repair(connection, task_id, batches, labellers)
    return {
        "tasks": len(tasks),
        "batches": sum(batches for _, batches in tasks),
        "wrong_count": len(wrong) + len(wrong_labellers),
        "wrong": [asdict(counter) for counter in wrong[:SHOWN]],
        "wrong_labellers": [asdict(labeller) for labeller in wrong_labellers[:SHOWN]],
        "repaired": repaired,
    }


async def _repair(
    connection: Connection,
    task_id: UUID,
    batches: list[recount_repository.WrongCounter],
    labellers: list[recount_repository.WrongLabeller],
) -> int:
    """In two transactions: an answer takes its batch before its labeller, and neither waits for the other here."""
    repaired = 0
    if batches:
        async with connection.transaction():
            await recount_repository.touch(connection, task_id)
            repaired += await recount_repository.repair_counters(connection, [wrong.batch_id for wrong in batches])
    if labellers:
        async with connection.transaction():
            user_ids = [wrong.user_id for wrong in labellers]
            repaired += await recount_repository.repair_labellers(connection, task_id, user_ids)
    return repaired


@router.get("/partitions", response_model=Envelope[PartitionsAnswer])
async def list_partitions(_admin: Admin, database: Db) -> Response:
    async with database.connection() as connection:
        partitions = await recount_repository.partitions(connection)
        return ok({"partitions": partitions, "strays": await count_strays(connection)})


@router.post("/partitions/repair", response_model=Envelope[MovedAnswer])
async def repair_generation_partitions(_admin: Admin, database: Db) -> Response:
    async with database.transaction() as connection:
        return ok({"moved": await repair_partitions(connection)})
