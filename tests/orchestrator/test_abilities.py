"""The dispatcher is answered from memory; workers are asked aside, each for itself, when something may have changed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.db.pool import Database
from comfylabel.orchestrator.abilities import Abilities
from comfylabel.workers import repository
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.schemas import Worker
from comfylabel.workers.service import WorkerService
from tests.support.pipeline import NATIVE_GRAPH
from tests.support.rows import add_worker, add_workflow
from tests.support.waiting import until


@pytest.fixture
async def inventories(database: Database) -> AsyncIterator[Inventories]:
    async with worker_session() as session:
        yield Inventories(database, WorkerService(database, secret=b"0123456789abcdef"), session)


@pytest.fixture
async def workflow(database: Database) -> UUID:
    async with database.transaction() as connection:
        return await add_workflow(connection, raw_definition=NATIVE_GRAPH)


@asynccontextmanager
async def at_work(database: Database, inventories: Inventories) -> AsyncIterator[Abilities]:
    abilities = Abilities(database, inventories, look_seconds=0.05)
    work = asyncio.create_task(abilities.run())
    try:
        yield abilities
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def registered(database: Database, name: str, url: str) -> Worker:
    async with database.transaction() as connection:
        worker = await repository.get(connection, await add_worker(connection, name, base_url=url))
    assert worker is not None
    return worker


def asked(simulator: Simulator) -> int:
    return sum(path == "/object_info" for _, path in simulator.requests)


async def test_what_a_worker_lacks_is_refused_before_anything_is_sent_there(database, inventories, workflow):
    async with running_simulator() as poor, running_simulator() as rich, at_work(database, inventories) as abilities:
        poor.faults.missing_models.add("sdxl-simulated.safetensors")
        a, b = await registered(database, "a", poor.url), await registered(database, "b", rich.url)
        assert await abilities.refused(a, [workflow]) == frozenset()  # never asked: it may try
        await until(lambda: len(abilities._digests) == 2)

        async def told_apart() -> bool:
            return (await abilities.refused(a, [workflow]), await abilities.refused(b, [workflow])) == (
                frozenset([workflow]),
                frozenset(),
            )

        await until(told_apart)
        assert await abilities.refused(a, []) == frozenset()


async def test_who_was_held_back_is_told_when_a_worker_gets_the_model(database, inventories, workflow):
    async with running_simulator() as simulator, at_work(database, inventories) as abilities:
        simulator.faults.missing_models.add("sdxl-simulated.safetensors")
        worker = await registered(database, "gpu-1", simulator.url)
        known = asyncio.Event()
        abilities.on_known = known.set

        async def refused() -> bool:
            return bool(await abilities.refused(worker, [workflow])) and bool(
                abilities._lacking.known(abilities._digests.get(worker.id, ""), workflow)
            )

        await until(refused)
        simulator.faults.missing_models.clear()
        known.clear()
        abilities.doubt(worker.id)
        await known.wait()

        async def able() -> bool:
            return not await abilities.refused(worker, [workflow])

        await until(able)


async def test_a_worker_that_takes_for_ever_to_say_what_it_has_delays_no_other(database, inventories):
    async with (
        running_simulator() as slow,
        running_simulator() as quick,
        at_work(database, inventories) as abilities,
    ):
        slow.faults.slow_object_info_seconds = 3600
        a = await registered(database, "a-slow", slow.url)
        await until(lambda: asked(slow) == 1)
        b = await registered(database, "b-quick", quick.url)
        await until(lambda: b.id in abilities._digests)
        abilities.doubt(b.id)
        await until(lambda: asked(quick) == 2)
        assert (a.id in abilities._digests, asked(slow)) == (False, 1)


async def test_one_that_fails_to_say_is_left_alone_for_a_while(database, inventories):
    async with running_simulator() as simulator, at_work(database, inventories) as abilities:
        simulator.faults.proxy, simulator.faults.proxy_paths = "502", ("/object_info",)
        worker = await registered(database, "gpu-1", simulator.url)
        await until(lambda: worker.id in abilities._not_before)
        before = asked(simulator)
        for _ in range(3):
            await abilities.refresh()
        assert asked(simulator) == before


class Unread:
    """Inventories that are never there to be read."""

    def __init__(self, worker_id: UUID) -> None:
        self.worker_id = worker_id
        self.reads = 0
        self.go_on = asyncio.Event()

    async def object_info(self, digest: str) -> Mapping[str, Any] | None:
        self.reads += 1
        await self.go_on.wait()
        raise ConnectionRefusedError(f"no database, and nothing of {digest}")


async def test_an_absent_database_holds_nobody_up_and_is_not_asked_in_a_circle(database, workflow):
    worker = await registered(database, "gpu-1", "http://127.0.0.1:9")
    unread = Unread(worker.id)
    abilities = Abilities(database, unread)  # type: ignore[arg-type]
    abilities._digests = {worker.id: "x"}
    told = []
    abilities.on_known = lambda: told.append(1)
    for _ in range(5):
        assert await abilities.refused(worker, [workflow, uuid4()]) != frozenset()
    await until(lambda: unread.reads >= 1)
    unread.go_on.set()
    await until(lambda: not abilities._being_worked_out)
    assert told == []
