"""What a worker has is kept once for all that say the same, asked again when in doubt, and forgotten with the last."""

import json
from dataclasses import replace

import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.simulator import running_simulator
from comfylabel.db.pool import Database
from comfylabel.workers import health, repository
from comfylabel.workers import inventories_repository as sql
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.schemas import Worker
from comfylabel.workers.service import WorkerService
from tests.support.hostile_worker import hostile_worker
from tests.support.rows import add_worker, add_workflow


@pytest.fixture
async def session():
    async with worker_session() as session:
        yield session


@pytest.fixture
def service(database: Database) -> WorkerService:
    return WorkerService(database, secret=b"0123456789abcdef")


@pytest.fixture
def inventories(database, service, session) -> Inventories:
    return Inventories(database, service, session)


async def registered(database: Database, **columns) -> Worker:
    async with database.transaction() as connection:
        worker = await repository.get(connection, await add_worker(connection, **columns))
    assert worker is not None
    return worker


async def due(inventories: Inventories) -> list[str]:
    return [worker.name for worker in await inventories.due()]


async def kept(database: Database) -> int:
    count: int = await database.pool.fetchval("select count(*) from inventories")
    return count


async def test_two_that_say_the_same_share_one_inventory(database, inventories):
    async with running_simulator() as simulator:
        one, two = [await registered(database, name=name, base_url=simulator.url) for name in ("one", "two")]
        digest = await inventories.ask(one)
        assert await inventories.ask(two) == digest
        assert await kept(database) == 1
        simulator.faults.missing_nodes.add("KSampler")
        other = await inventories.ask(two)
    assert (other == digest, await kept(database)) == (False, 2)
    assert {key: known.digest for key, known in (await inventories.known()).items()} == {one.id: digest, two.id: other}
    fresh = Inventories(database, inventories._clients, inventories._session)  # another process: from the rows
    told, less = await fresh.object_info(digest), await fresh.object_info(other)
    assert told is not None
    assert less is not None
    assert set(told) - set(less) == {"KSampler"}


async def test_who_has_it_and_is_in_no_doubt_is_not_asked_again(database, service, session, inventories):
    async with running_simulator() as simulator:
        worker = await registered(database, base_url=simulator.url)
        await registered(database, name="sick", status="UNHEALTHY")
        await registered(database, name="off", enabled=False)
        assert await due(inventories) == ["gpu-1"]
        await health.check(database, service, worker, session)
        await inventories.ask(worker)
        await health.check(database, service, worker, session)  # the same fingerprint
        assert await due(inventories) == []
        await database.pool.execute("update workers set inventory_at = now() - interval '10 minutes'")
        assert await due(inventories) == ["gpu-1"]
        await inventories.ask(worker)
        await inventories.doubt([worker.id])
        assert await due(inventories) == ["gpu-1"]
        assert (await inventories.known())[worker.id].in_doubt
        await inventories.ask(worker)
        await database.pool.execute("update workers set fingerprint = 'of the release before'")
        await health.check(database, service, worker, session)
        assert await due(inventories) == ["gpu-1"]


async def test_a_change_of_what_it_has_takes_its_refusals_back(database, inventories):
    async with running_simulator() as simulator:
        simulator.faults.missing_nodes.add("KSampler")
        worker = await registered(database, base_url=simulator.url)
        await inventories.ask(worker)
        async with database.transaction() as connection:
            workflow = await add_workflow(connection)
            await connection.execute("insert into ineligible_workers values ($1, $2, 'no')", worker.id, workflow)
        await inventories.ask(worker)
        assert await database.pool.fetchval("select count(*) from ineligible_workers") == 1
        simulator.faults.missing_nodes.clear()
        await inventories.ask(worker)
    assert await database.pool.fetchval("select count(*) from ineligible_workers") == 0


async def test_a_worker_that_has_moved_is_another_one(database, service, session, inventories):
    async with running_simulator() as simulator:
        worker = await registered(database, base_url=simulator.url)
        await inventories.ask(replace(worker, base_url=simulator.url))
        async with database.transaction() as connection:
            moved = await repository.forget_checks(connection, worker.id)
        assert await inventories.known() == {}
        await database.pool.execute("update workers set base_url = 'http://127.0.0.1:9'")
        await inventories.ask(moved)  # it was under way to the old address
    assert await inventories.known() == {}


async def test_what_no_worker_has_any_more_is_forgotten_after_a_day(database):
    async with database.transaction() as connection:
        worker = await add_worker(connection)
        for digest in ("had", "old", "young", "wanted again"):
            await sql.insert(connection, digest, b"", 0)
        await connection.execute("update workers set inventory_digest = 'had' where id = $1", worker)
        await connection.execute(
            "update inventories set created_at = now() - interval '25 hours' where digest <> 'young'"
        )
        assert await sql.keep(connection, "wanted again")
        assert not await sql.keep(connection, "never seen")
        await sql.forget_unused(connection)
        left = await connection.fetch("select digest from inventories order by digest")
    assert [row["digest"] for row in left] == ["had", "wanted again", "young"]


@pytest.mark.parametrize("text", ['{"Node": {"input": {"a": NaN}, "b": "\\ud800", "c": "\\u0000"}}', "{}"])
async def test_what_a_stranger_writes_is_kept_as_it_is(database, inventories, text):
    async with hostile_worker({"/object_info": text}) as url:
        worker = await registered(database, base_url=url)
        digest = await inventories.ask(worker)
    fresh = Inventories(database, inventories._clients, inventories._session)
    assert str(await fresh.object_info(digest)) == str(json.loads(text))


async def test_one_that_does_not_answer_keeps_what_was_known(database, inventories):
    async with running_simulator() as simulator:
        worker = await registered(database, base_url=simulator.url)
        digest = await inventories.ask(worker)
        simulator.faults.proxy, simulator.faults.proxy_paths = "502", ("/object_info",)
        with pytest.raises(WorkerError, match="502"):
            await inventories.ask(worker)
    assert (await inventories.known())[worker.id].digest == digest
    assert await inventories.object_info("nobody's") is None
