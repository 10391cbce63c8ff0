"""People at one task, each served by a dispenser: the rules of leasing without HTTP in between.

desk = Desk(database, task)
ann = await desk.person("ann")
batches = await desk.ask(ann, count=3)     # ids
await desk.answer(ann, batches[0])
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal, Role
from comfylabel.annotations.answer import Kind
from comfylabel.annotations.dispenser import Asked, Dispenser
from comfylabel.annotations.schemas import NewAnnotation, Stored, Undo
from comfylabel.annotations.service import AnnotationService
from comfylabel.db.pool import Database, Record
from comfylabel.generations import recount_repository
from tests.support.rows import TaskRows, add_user


def address(key: str, *, origin: str | None = None) -> str:
    return f"{origin or 'http://images'}/{key}"


@dataclass
class TickingClock:
    """Goes on by so many seconds each time it is read, however busy the machine is."""

    tick: float
    now: float = 1000.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@dataclass
class Desk:
    """One process: a pool, and what it remembers. `beside` is another one at the same task.

    No statement seems to take long, so what is remembered is what a quick machine remembers.
    """

    database: Database
    task_id: UUID
    dispenser: Dispenser = field(init=False)
    answers: AnnotationService = field(init=False)

    def __post_init__(self) -> None:
        ab_tests = AbTestService(self.database)
        self.dispenser = Dispenser(self.database, ab_tests, address)
        self.dispenser._marks.clock = self.dispenser._counts.clock = TickingClock(tick=1e-6)
        self.answers = AnnotationService(self.database, ab_tests, address, self.dispenser.came_back)

    @classmethod
    def at(cls, database: Database, task: TaskRows) -> "Desk":
        return cls(database, task.id)

    def beside(self, database: Database | None = None) -> "Desk":
        return Desk(database or self.database, self.task_id)

    async def person(self, name: str) -> Principal:
        async with self.database.connection() as connection:
            return Principal(await add_user(connection, name), name, Role.ANNOTATOR, None)

    async def next(self, who: Principal, count: int = 20, **asked: Any) -> dict[str, Any]:
        return await self.dispenser.next_batches(who, self.task_id, Asked(count, **asked))

    async def ask(self, who: Principal, count: int = 20, **asked: Any) -> list[UUID]:
        return ids(await self.next(who, count, **asked))

    async def release(self, who: Principal, batch_ids: Sequence[UUID] | None = None) -> int:
        return await self.dispenser.release(who, self.task_id, batch_ids)

    async def answer(
        self, who: Principal, batch_id: UUID, kind: Kind = Kind.TIE, client_id: str | None = None
    ) -> Stored:
        given = NewAnnotation(task_id=self.task_id, batch_id=batch_id, kind=kind, client_id=client_id or str(uuid4()))
        return await self.answers.submit(who, given)

    async def undo(self, who: Principal, client_id: str) -> Stored:
        return await self.answers.submit(who, Undo(undo_of=client_id, client_id=str(uuid4())))

    async def away_for(self, who: Principal, time: timedelta) -> None:
        """As if that person had not been heard of for so long."""
        await self.execute(
            "update labellers set seen_at = clock_timestamp() - $3::interval where task_id = $1 and user_id = $2",
            self.task_id,
            who.user_id,
            time,
        )

    async def execute(self, query: str, *arguments: object) -> None:
        async with self.database.connection() as connection:
            await connection.execute(query, *arguments)

    async def value(self, query: str, *arguments: object) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def rows(self, query: str, *arguments: object) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.fetch(query, *arguments)

    async def holders(self) -> dict[UUID, set[UUID]]:
        """Who holds what, by batch."""
        holders: dict[UUID, set[UUID]] = {}
        for row in await self.rows("select batch_id, user_id from leases where task_id = $1", self.task_id):
            holders.setdefault(row["batch_id"], set()).add(row["user_id"])
        return holders

    async def check(self) -> None:
        """`taken` and `answered` are what a recount says."""
        async with self.database.connection() as connection:
            wrong = await recount_repository.wrong_counters(connection, self.task_id)
            assert [places for places in wrong if places.stored[-1] != places.counted[-1]] == []
            assert await recount_repository.wrong_labellers(connection, self.task_id) == []


def ids(answer: dict[str, Any]) -> list[UUID]:
    return [item["batch_id"] for item in answer["items"]]
