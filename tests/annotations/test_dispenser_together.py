"""Several people at the same time, over two processes: nobody is served what somebody else holds, nothing is lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from comfylabel.ab_tests.bucketing import Variant
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal
from comfylabel.annotations import leases_repository
from comfylabel.annotations.answer import Kind
from comfylabel.annotations.service import LABELLED_STATES
from comfylabel.db.pool import Database
from tests.support.crowd import MORE_BATCHES, WITHOUT_GUARDS
from tests.support.labelling_desk import Desk, ids
from tests.support.rows import TaskRows, add_task, finish_batches
from tests.support.waiting import until

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEOPLE = 8
BATCHES = 240
LONGER_THAN_A_LEASE = timedelta(minutes=16)
# A lock that is waited for in vain is a fault, not a slow machine.
AT_ONCE = 20


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    database = await Database.connect(database_url)
    yield database
    await database.close()


@dataclass
class Crew:
    """Eight people, every other one at the other process."""

    desks: list[Desk]
    people: list[Principal]
    served: dict[UUID, set[UUID]] = field(default_factory=dict)

    @property
    def at_work(self) -> list[tuple[Desk, Principal]]:
        return [(self.desks[number % 2], who) for number, who in enumerate(self.people)]

    async def drain(self, desk: Desk, who: Principal, dice: random.Random) -> None:
        """Ask, answer some of what came, ask again, until the task is finished for this person."""
        have: list[UUID] = []
        while True:
            answer = await desk.next(who, count=dice.randint(1, 6), have=have)
            if answer["state"] == "finished":
                return
            have = [batch for batch in have if batch not in answer["dropped"]] + ids(answer)
            for batch in answer["dropped"]:  # beyond a share that became smaller: for others
                self.served[batch].discard(who.user_id)
            for batch in ids(answer):
                self.served.setdefault(batch, set()).add(who.user_id)
            for batch in have[: dice.randint(1, 4)]:
                await desk.answer(who, batch)
                have.remove(batch)


@pytest.fixture
async def crew(database: Database, elsewhere: Database, overlap: int) -> Crew:
    async with database.transaction() as connection:
        task = await add_task(
            connection, state="DONE", prompts=1, seeds=2, batch_size=2, finished=False, overlap=overlap
        )
        await finish_batches(connection, task.batches, ready_at=START)
        await connection.execute(WITHOUT_GUARDS)
        await connection.execute(MORE_BATCHES, task.id, BATCHES - 1)
    here = Desk.at(database, task)
    return Crew([here, here.beside(elsewhere)], [await here.person(f"person-{n}") for n in range(PEOPLE)])


@pytest.mark.parametrize("overlap", [1, 2, 3])
async def test_each_batch_goes_to_as_many_people_as_asked_for_and_is_answered_by_each_once(crew: Crew, overlap: int):
    desk = crew.desks[0]
    draining = asyncio.gather(*(crew.drain(*worker, random.Random(n)) for n, worker in enumerate(crew.at_work)))
    while not draining.done():
        assert await desk.value("select max(taken) from batches") <= overlap  # at any moment
    await draining

    assert len(crew.served) == BATCHES
    assert {len(people) for people in crew.served.values()} == {overlap}
    answers = await desk.rows(
        "select batch_id, count(*) as people, bool_or(surplus) as surplus from annotations group by 1"
    )
    assert {(row["people"], row["surplus"]) for row in answers} == {(overlap, False)}
    assert await desk.value("select count(*) from leases") == 0
    assert await desk.value("select count(distinct user_id) from annotations") == PEOPLE
    await desk.check()


@pytest.mark.parametrize("overlap", [1, 2])
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_people_do_at_the_same_time_every_count_is_right(crew: Crew, overlap: int, seed: int):
    """Answers, skips, spam, undos, releases, people who leave and come back: no deadlock, no place lost."""
    await asyncio.gather(
        *(live(desk, who, random.Random(100 * seed + number)) for number, (desk, who) in enumerate(crew.at_work))
    )
    desk = crew.desks[0]
    await desk.check()
    await asyncio.gather(*(crew.drain(*worker, random.Random(n)) for n, worker in enumerate(crew.at_work)))

    await desk.check()
    counted = """select count(a.id) filter (where not a.surplus and a.kind <> 'skip')
                 from batches b left join annotations a on a.batch_id = b.id
                 where b.task_id = $1 and b.spam_at is null group by b.id"""
    answered = [row["count"] for row in await desk.rows(counted, desk.task_id)]
    assert max(answered) <= overlap
    assert min(answered) == overlap  # eight people, and none of them skipped everything


async def live(desk: Desk, who: Principal, dice: random.Random) -> None:
    have: list[UUID] = []
    sent: list[str] = []
    for _ in range(40):
        does = dice.choices(["ask", "answer", "skip", "spam", "undo", "release", "leave"], [8, 8, 1, 1, 3, 2, 1])[0]
        if does == "ask":
            answer = await desk.next(who, count=dice.randint(1, 20), have=have)
            have = [batch for batch in have if batch not in answer["dropped"]] + ids(answer)
        elif does == "undo" and sent:
            await desk.undo(who, sent.pop(dice.randrange(len(sent))))
        elif does == "release":
            await desk.release(who, dice.choice([None, have[:3]]))
        elif does == "leave":
            await desk.away_for(who, dice.choice([timedelta(seconds=61), LONGER_THAN_A_LEASE]))
        elif have:
            kind = {"skip": Kind.SKIP, "spam": Kind.SPAM}.get(does, Kind.TIE)
            sent.append(str(uuid4()))
            await desk.answer(who, have.pop(dice.randrange(len(have))), kind, client_id=sent[-1])


# --- one moment each, held open by a lock


@pytest.fixture
async def pair(database: Database, elsewhere: Database) -> tuple[Desk, Desk, TaskRows]:
    async with database.transaction() as connection:
        task = await add_task(connection, state="DONE", prompts=6, seeds=2, batch_size=2, finished=False)
        for number, batch in enumerate(task.batches):
            await finish_batches(connection, [batch], ready_at=START + timedelta(seconds=number))
    here = Desk.at(database, task)
    return here, here.beside(elsewhere), task


async def test_who_comes_back_while_another_asks_keeps_everything(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    ann, ben = await here.person("ann"), await here.person("ben")
    await here.ask(ann)
    await here.away_for(ann, LONGER_THAN_A_LEASE)
    async with here.database.transaction() as connection:  # ann's `next` has begun and is not committed yet
        await leases_repository.enter(connection, task.id, ann.user_id, LABELLED_STATES)
        answer = await asyncio.wait_for(there.next(ben), AT_ONCE)
    assert (ids(answer), answer["state"]) == ([], "wait")
    assert await here.ask(ann, count=3) == task.batches[:3]
    await here.check()


async def test_an_idle_person_who_comes_back_while_another_is_hungry_keeps_everything(
    pair: tuple[Desk, Desk, TaskRows],
):
    here, there, task = pair
    ann, ben = await here.person("ann"), await here.person("ben")
    await here.ask(ann)
    await there.next(ben)
    await here.away_for(ann, timedelta(seconds=61))
    async with here.database.transaction() as connection:
        await leases_repository.enter(connection, task.id, ann.user_id, LABELLED_STATES)
        assert ids(await asyncio.wait_for(there.next(ben), AT_ONCE)) == []
    assert len(await here.holders()) == 6
    await here.away_for(ann, timedelta(seconds=61))
    assert len(await there.ask(ben)) == 3


async def test_who_comes_back_after_another_asked_first_knows_what_is_gone(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    ann, ben = await here.person("ann"), await here.person("ben")
    await here.ask(ann)
    await here.away_for(ann, LONGER_THAN_A_LEASE)

    for _ in range(10):
        hers, his = await asyncio.gather(here.next(ann, have=task.batches), there.next(ben))
        kept = set(task.batches) - set(hers["dropped"])
        assert not kept & set(ids(his))
        assert await here.value("select count(*) from leases") == len(kept | set(ids(his)))
        await there.release(ben)
        await here.ask(ann)
        await here.away_for(ann, LONGER_THAN_A_LEASE)


async def test_an_answer_in_flight_holds_up_nobody_and_keeps_its_batch(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    ann, ben = await here.person("ann"), await here.person("ben")
    await here.ask(ann)
    await here.away_for(ann, LONGER_THAN_A_LEASE)
    async with here.database.transaction() as connection:  # as an answer does before it is written
        await connection.execute("select from batches where id = $1 for no key update", task.batches[0])
        assert await asyncio.wait_for(there.ask(ben), AT_ONCE) == task.batches[1:]
    assert task.batches[0] in await here.holders()
    await here.check()


async def test_what_cannot_be_given_back_now_is_given_back_the_next_time(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    ann, ben = await here.person("ann"), await here.person("ben")
    await here.ask(ann)
    await there.next(ben)
    async with here.database.transaction() as connection:
        await connection.execute("select from batches where id = $1 for no key update", task.batches[5])
        answer = await asyncio.wait_for(there.next(ann, have=task.batches), AT_ONCE)
    assert answer["dropped"] == task.batches[3:]
    assert task.batches[5] in await here.holders()
    await there.next(ann)
    assert task.batches[5] not in await here.holders()
    await here.check()


async def test_what_only_seems_free_is_worth_waiting_for(pair: tuple[Desk, Desk, TaskRows]):
    """The last place is being taken, or the one who takes it fails."""
    here, there, task = pair
    await here.execute("update batches set taken = 1 where task_id = $1 and id <> $2", task.id, task.batches[0])
    ann = await here.person("ann")
    async with here.database.transaction() as connection:
        await connection.execute("select from batches where id = $1 for no key update", task.batches[0])
        assert (await asyncio.wait_for(there.next(ann), AT_ONCE))["state"] == "wait"
    assert await there.ask(ann) == task.batches[:1]


async def test_a_release_waits_for_the_answer_and_frees_what_is_left(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    ann = await here.person("ann")
    await here.ask(ann)
    async with here.database.transaction() as connection:  # the answer from ann's other tab
        await connection.execute("select from batches where id = $1 for no key update", task.batches[2])
        releasing = asyncio.create_task(there.release(ann))
        await until(lambda: here.value("select exists (select from pg_locks where not granted)"))
        await connection.execute("delete from leases where batch_id = $1", task.batches[2])
        await connection.execute("update batches set taken = taken - 1 where id = $1", task.batches[2])
    assert await asyncio.wait_for(releasing, AT_ONCE) == 5
    assert await here.holders() == {}
    await here.check()


async def test_the_overlap_is_raised_while_people_ask(pair: tuple[Desk, Desk, TaskRows]):
    here, there, task = pair
    people = [await here.person(f"person-{number}") for number in range(4)]
    raised = here.execute("update tasks set overlap = 2 where id = $1", task.id)
    await asyncio.gather(*(desk.next(who) for who, desk in zip(people, [here, there] * 2, strict=True)), raised)
    await asyncio.gather(*(desk.next(who) for who, desk in zip(people, [there, here] * 2, strict=True)))

    assert max(len(holders) for holders in (await here.holders()).values()) <= 2
    await here.check()


async def test_a_first_answer_meets_the_first_question_of_its_person_in_a_tested_task(
    pair: tuple[Desk, Desk, TaskRows],
):
    """Both assign the variant and touch the person's row."""
    here, there, task = pair
    ab_tests = AbTestService(here.database)
    tested = await ab_tests.create("depth", [Variant("A", 1.0)], datetime.now(UTC) + timedelta(days=1))
    await here.execute("update tasks set ab_test_id = $2 where id = $1", task.id, tested.id)
    ann = await here.person("ann")
    async with here.database.transaction() as connection:  # `next` in one tab, before it comes to the variant
        await leases_repository.enter(connection, task.id, ann.user_id, LABELLED_STATES)
        answering = asyncio.create_task(there.answer(ann, task.batches[0]))
        await until(lambda: here.value("select exists (select from pg_locks where not granted)"))
        await ab_tests.assigned(connection, tested.id, ann.user_id)
    assert (await asyncio.wait_for(answering, AT_ONCE)).status == "stored"
    assert await here.value("select variant_key from annotations") == "A"
    await here.check()
