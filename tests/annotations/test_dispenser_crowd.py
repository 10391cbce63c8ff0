"""Asking for the next batch costs the same beside 200,000 batches of other tasks, and after any number of labels.

Counted in rows and blocks that PostgreSQL read, never in time.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from comfylabel.accounts.schemas import Principal
from comfylabel.annotations import batches_repository, leases_repository
from comfylabel.annotations.hints import BEFORE_ALL, MARK_SECONDS
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from tests.support.crowd import MORE_BATCHES, WITHOUT_GUARDS, batches_of
from tests.support.labelling_desk import Desk, TickingClock
from tests.support.plans import plan
from tests.support.postgres import ensure_crowd, fresh_database
from tests.support.reads import Reads, counted
from tests.support.rows import TaskRows, add_task, finish_batches

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
OTHERS = batches_of(tasks=200, each=1000)

# The first so many of a task, by one person.
ANSWERED = """
with answered as (
  insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind)
  select gen_random_uuid(), id, task_id, prompt_id, $2, 'tie' from batches
  where task_id = $1 and position < $3::int returning batch_id
)
update batches set taken = 1 where id in (select batch_id from answered)
"""

# 20 batches of one person: each is looked up some ten times (leased, checked, shown), each time three or four index
# blocks deep. A walk over the task or over other tasks reads thousands.
A_FEW_ROWS = 500
A_FEW_BLOCKS = 1500


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def many(session_dir: Path, server_url: str) -> AsyncIterator[Database]:
    """200,000 batches of other tasks, analysed, through one connection of the kind that labelling uses."""
    ensure_crowd(session_dir, server_url, "many_batches", f"{OTHERS} analyze;")
    with fresh_database(server_url, "many_batches") as url:
        async with one_connection(url) as database:
            yield database


@asynccontextmanager
async def one_connection(url: str) -> AsyncIterator[Database]:
    database = await Database.connect(url, max_size=1, by_index=True)
    try:
        yield database
    finally:
        await database.close()


async def desk_of(database: Database, batches: int, overlap: int = 1) -> Desk:
    """So many ready batches, each a second after the other; the clock of what is remembered stands still."""
    async with database.transaction() as connection:
        task = await add_task(
            connection, state="DONE", prompts=1, seeds=2, batch_size=2, finished=False, overlap=overlap
        )
        await finish_batches(connection, task.batches, ready_at=START)
        await connection.execute(WITHOUT_GUARDS)
        await connection.execute(MORE_BATCHES, task.id, batches - 1)
    return standing_still(Desk.at(database, task))


def standing_still(desk: Desk) -> Desk:
    """Marks grow no older. A count took a moment, so it is good for fifty."""
    desk.dispenser._marks.clock = Clock()
    desk.dispenser._counts.clock = TickingClock(tick=0.001)
    return desk


async def queue_of(desk: Desk) -> list[str]:
    return [
        row["id"]
        for row in await desk.rows("select id from batches where task_id = $1 order by position", desk.task_id)
    ]


def assert_few(reads: Reads) -> None:
    assert reads.scanned == 0, reads
    assert reads.fetched < A_FEW_ROWS, reads
    assert reads.index_blocks < A_FEW_BLOCKS, reads


# --- the plan


@pytest.mark.postgres_16_too
@pytest.mark.parametrize("query", [leases_repository.TAKE, leases_repository.PEEK], ids=["take", "peek"])
async def test_the_next_free_batch_is_the_first_of_one_range(many: Database, query: str):
    async with many.connection() as connection:
        arguments = (uuid7(), uuid7(), 20, [1, 0], [BEFORE_ALL[0]] * 2, [BEFORE_ALL[1]] * 2)
        shown = await plan(connection, query, *arguments, by_index=True)

    for scan in (
        r"Index (Only )?Scan using batches_free on batches",
        r"Index Cond: \(\(task_id = \$1\) AND \(ROW\(taken, ready_at, id\) > ROW\(start.*\) AND \(taken <= start",
        r"using annotations_batch_id_user_id_key on annotations",
        r"using leases_pkey on leases",
    ):
        assert re.search(scan, shown), shown
    assert "Seq Scan" not in shown, shown
    assert "Sort" not in shown, shown


@pytest.mark.postgres_16_too
@pytest.mark.parametrize("analysed", [False, True], ids=["no-statistics", "statistics-of-an-empty-table"])
async def test_a_plan_from_before_the_import_stays_good(database_url: str, analysed: bool):
    """A prepared statement keeps its generic plan, which was made when the tables held next to nothing."""
    async with one_connection(database_url) as database:
        desk = await desk_of(database, 2, overlap=2)
        ann, ben = await desk.person("ann"), await desk.person("ben")
        if analysed:
            await desk.execute("analyze")
        for _ in range(8):  # from the sixth on the plan is generic
            await every_statement(desk, ann, ben)
        async with database.transaction() as connection:
            await connection.execute(OTHERS)
            await connection.execute(WITHOUT_GUARDS)
            await connection.execute(MORE_BATCHES, desk.task_id, 5000)
            await connection.execute(ANSWERED, desk.task_id, ann.user_id, 3000)
            await connection.execute("update batches set taken = 2 where task_id = $1 and taken = 1", desk.task_id)

        await desk.next(ann)  # counts the open ones, which is good for a while
        for table in ("batches", "leases", "annotations"):
            async with counted(database, table) as reads:
                await every_statement(desk, ann, ben)
            assert reads.scanned == 0, (table, reads)
            assert reads.fetched < 8 * A_FEW_ROWS, (table, reads)


async def every_statement(desk: Desk, ann: Principal, ben: Principal) -> None:
    """Leases taken, taken over, reclaimed, given back, released; and a look that takes nothing."""
    leased = await desk.ask(ann)
    await desk.away_for(ann, timedelta(seconds=61))
    await desk.ask(ben, have=leased[:1])
    await desk.away_for(ann, timedelta(minutes=16))
    await desk.ask(ben)
    await desk.dispenser.peek(ann, desk.task_id, 4)
    await desk.release(ben)
    await desk.release(ann)


# --- beside other tasks


async def test_asking_reads_what_it_hands_out_and_no_more(many: Database):
    desk = await desk_of(many, 3000)
    people = [await desk.person(f"person-{number}") for number in range(4)]
    for who in people:
        await desk.ask(who)

    for who in people:
        held = (await desk.holders()).keys()
        await desk.answer(who, next(iter(await desk.ask(who, count=1))))
        async with counted(many, "batches") as reads:
            assert len(await desk.ask(who, have=list(held))) == 1
        assert_few(reads)


async def test_asking_takes_few_statements(many: Database):
    """A statement is a round trip; the transaction's own two come on top."""
    desk = await desk_of(many, 100)
    ann = await desk.person("ann")
    leased = await desk.ask(ann)
    await desk.answer(ann, leased[0])

    said: list[str] = []
    async with many.connection() as connection:
        # Of the connection itself: what is asked of it in a loan ends with the loan.
        connection._con.add_query_logger(lambda query: said.append(query.query))  # type: ignore[attr-defined]
    assert len(await desk.ask(ann, have=leased[1:])) == 1

    assert [query for query in said if query.strip() not in {"BEGIN;", "COMMIT;"}] == [
        leases_repository.ENTER,
        leases_repository.LOOK,
        leases_repository.TAKE,
        batches_repository.SHOWN,
    ]


# --- dead entries behind a moving front


@pytest.fixture
async def labelled_front(many: Database) -> AsyncIterator[Desk]:
    """20,000 labels were given while somebody held an old snapshot: no entry of the index could be swept up."""
    desk = await desk_of(many, 24_000)
    async with one_connection(many.url) as elsewhere, elsewhere.connection() as reader:
        await reader.execute("begin isolation level repeatable read")
        await reader.fetchval("select count(*) from tasks")
        await desk.execute("update batches set taken = 1 where task_id = $1 and position < 20000", desk.task_id)
        yield desk
        await reader.execute("rollback")


async def test_a_mark_leads_past_what_was_labelled(labelled_front: Desk):
    desk = labelled_front
    ann = await desk.person("ann")
    async with counted(desk.database, "batches") as first:
        leased = await desk.ask(ann, count=1)

    for _ in range(5):
        await desk.answer(ann, leased[0])
        async with counted(desk.database, "batches") as reads:
            leased = await desk.ask(ann, count=1)
        assert len(leased) == 1
        assert reads.index_blocks < first.index_blocks / 10, (first, reads)
        assert reads.blocks < first.blocks / 10, (first, reads)


async def test_with_overlap_a_mark_leads_past_what_the_person_has_labelled(many: Database):
    """A level holds everything that one person has answered and nobody else has begun."""
    desk = await desk_of(many, 6000, overlap=2)
    ann = await desk.person("ann")
    await desk.execute(ANSWERED, desk.task_id, ann.user_id, 5000)
    clock = desk.dispenser._marks.clock = TickingClock(tick=0.05)
    async with counted(desk.database, "batches") as first:
        await desk.ask(ann, count=1)
    assert first.fetched > 5000

    clock.tick = 0.0
    async with counted(desk.database, "batches") as reads:
        assert len(await desk.ask(ann, count=2)) == 2
    assert_few(reads)


# --- what comes back behind a mark


@dataclass
class TwoProcesses:
    """Ben has a mark in each; what happens `there` is not heard of `here`."""

    here: Desk
    there: Desk
    task: TaskRows

    @property
    def clock(self) -> Clock:
        clock = self.here.dispenser._marks.clock
        assert isinstance(clock, Clock)
        return clock


@pytest.fixture
async def processes(many: Database) -> TwoProcesses:
    async with many.transaction() as connection:
        task = await add_task(connection, state="DONE", prompts=60, seeds=2, batch_size=2, finished=False)
        for number, batch in enumerate(task.batches):
            await finish_batches(connection, [batch], ready_at=START + timedelta(seconds=number))
    here = standing_still(Desk.at(many, task))
    return TwoProcesses(here, standing_still(here.beside()), task)


async def test_abandoned_leases_behind_the_mark_come_first_where_they_are_reclaimed(processes: TwoProcesses):
    desk, batches = processes.here, processes.task.batches
    ann, ben = await desk.person("ann"), await desk.person("ben")
    assert await desk.ask(ann, count=5) == batches[:5]
    assert await desk.ask(ben, count=5) == batches[5:10]
    await desk.away_for(ann, timedelta(minutes=16))

    assert await desk.ask(ben, count=10, have=batches[5:10]) == batches[:5]


async def test_what_one_person_reclaims_is_found_at_once_by_another(processes: TwoProcesses):
    desk, batches = processes.here, processes.task.batches
    ann, ben, cem = [await desk.person(name) for name in ("ann", "ben", "cem")]
    await desk.ask(ann, count=5)
    assert await desk.ask(cem, count=5) == batches[5:10]
    await desk.away_for(ann, timedelta(minutes=16))
    assert await desk.ask(ben, count=1) == batches[:1]

    assert await desk.ask(cem, count=6, have=batches[5:10]) == batches[1:2]


async def test_what_another_process_freed_is_found_within_seconds(processes: TwoProcesses):
    here, there, batches = processes.here, processes.there, processes.task.batches
    ann, ben = await here.person("ann"), await here.person("ben")
    await there.ask(ann, count=5)
    await here.ask(ben, count=5)
    await there.release(ann)

    assert await here.ask(ben, count=6, have=batches[5:10]) == batches[10:11]  # the mark: nothing before it is free
    processes.clock.now += MARK_SECONDS + 1
    assert await here.ask(ben, count=7, have=batches[5:11]) == batches[:1]


async def test_what_another_process_freed_is_found_at_once_by_who_finds_too_little(processes: TwoProcesses):
    here, there, batches = processes.here, processes.there, processes.task.batches
    ann, ben = await here.person("ann"), await here.person("ben")
    await there.ask(ann, count=5)
    await here.execute(
        "update batches set taken = 1, spam_at = now() where task_id = $1 and position > 20", here.task_id
    )
    assert await here.ask(ben, count=10) == batches[5:15]
    await there.release(ann)
    await there.away_for(ann, timedelta(minutes=16))  # so that ben's share is the task

    assert await here.ask(ben, count=20, have=batches[5:15]) == [*batches[15:21], *batches[:4]]


@pytest.mark.parametrize("found_by", ["time", "hunger"])
async def test_a_batch_that_became_ready_before_the_mark_and_was_committed_later(many: Database, found_by: str):
    async with many.transaction() as connection:
        task = await add_task(connection, state="RUNNING", prompts=31, seeds=2, batch_size=2)
        await finish_batches(connection, task.batches[1:], ready_at=START)
    desk = standing_still(Desk.at(many, task))
    ann = await desk.person("ann")
    leased = await desk.ask(ann, count=5)
    async with many.transaction() as connection:
        await finish_batches(connection, task.batches[:1], ready_at=START - timedelta(seconds=1))

    if found_by == "time":
        assert task.batches[0] not in await desk.ask(ann, count=6)
        desk.dispenser._marks.clock.now += MARK_SECONDS + 1  # type: ignore[attr-defined]
        assert (await desk.ask(ann, count=7, have=leased))[-1] == task.batches[0]
    else:
        for batch in task.batches[1:]:
            await desk.answer(ann, batch)
        assert await desk.ask(ann) == [task.batches[0]]
