"""Who can run a workflow, said of every worker, from what is kept of it; asked only when it never was."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from comfylabel.comfy.errors import WorkerUnreachable
from comfylabel.db.pool import Database
from comfylabel.errors import NoHealthyWorker
from comfylabel.tasks.readiness import Ability, Readiness
from comfylabel.workers.inventories_repository import Known
from comfylabel.workers.schemas import Worker
from tests.support.rows import add_worker, add_workflow
from tests.tasks.conftest import OBJECT_INFO, alive

LESS = {name: info for name, info in OBJECT_INFO.items() if name != "KSampler"}


class Kept:
    """Inventories that are known of some workers; the others say theirs when they are asked."""

    def __init__(self, known: Mapping[UUID, Known], **infos: Mapping[str, Any]) -> None:
        self._known = known
        self._infos = infos
        self.asked: list[str] = []
        self.read: Counter[str] = Counter()

    async def known(self) -> Mapping[UUID, Known]:
        return self._known

    async def ask(self, worker: Worker) -> str:
        self.asked.append(worker.name)
        if worker.name == "mute":
            raise WorkerUnreachable("No answer within 5 s.")
        if worker.name == "frozen":
            await asyncio.Event().wait()
        return "told"

    async def object_info(self, digest: str) -> Mapping[str, Any] | None:
        self.read[digest] += 1
        return self._infos.get(digest)


@pytest.fixture
async def workflow(database: Database) -> UUID:
    async with database.transaction() as connection:
        return await add_workflow(connection)


async def registered(database: Database, *names: str, **columns: Any) -> list[UUID]:
    async with database.transaction() as connection:
        return [await add_worker(connection, name, **columns) for name in names]


def said(abilities: list[Ability]) -> dict[str, tuple[bool, tuple[str, ...], str | None]]:
    return {one.worker.name: (one.able, one.missing, one.why_not) for one in abilities}


async def test_what_is_kept_is_not_asked_for_and_is_worked_out_once(database, workflow):
    rich, poor = await registered(database, "rich", "poor")
    [off] = await registered(database, "off", enabled=False)
    inventories = Kept(
        {rich: Known("all", in_doubt=False), **dict.fromkeys((poor, off), Known("less", in_doubt=False))},
        all=OBJECT_INFO,
        less=LESS,
    )
    readiness = Readiness(database, inventories, alive)
    lacks = ("the node KSampler",)
    for _ in range(3):
        assert said(await readiness.of_workflow(workflow)) == {
            "rich": (True, (), None),
            "poor": (False, lacks, "lacks the node KSampler"),
            "off": (False, lacks, "is disabled"),
        }
    assert inventories.asked == []
    assert inventories.read["all"] == 1
    assert [worker.name for worker in await readiness.able_workers(workflow)] == ["rich"]
    assert (await readiness.able_now(workflow)).waiting_for is None


async def test_only_who_was_never_asked_or_is_in_doubt_is_asked(database, workflow):
    known, doubted, mute = await registered(database, "known", "doubted", "mute")
    await registered(database, "new")
    await registered(database, "sick", status="UNHEALTHY")
    inventories = Kept(
        {known: Known("less", in_doubt=False), **dict.fromkeys((doubted, mute), Known("less", in_doubt=True))},
        less=LESS,
        told=OBJECT_INFO,
    )
    abilities = said(await Readiness(database, inventories, alive).of_workflow(workflow))
    assert sorted(inventories.asked) == ["doubted", "mute", "new"]
    assert {name for name, (able, _, _) in abilities.items() if able} == {"doubted", "new"}
    assert abilities["mute"] == (False, ("the node KSampler",), "lacks the node KSampler")  # as it was known


async def test_a_frozen_worker_in_doubt_is_believed_after_seconds(database, workflow, monkeypatch):
    monkeypatch.setattr("comfylabel.tasks.readiness._DOUBTED_SECONDS", 0.05)
    frozen, well = await registered(database, "frozen", "well")
    known = {frozen: Known("all", in_doubt=True), well: Known("all", in_doubt=False)}
    able = await Readiness(database, Kept(known, all=OBJECT_INFO), alive).able_workers(workflow)
    assert [worker.name for worker in able] == ["frozen", "well"]


async def test_why_a_running_task_waits_is_said_without_asking_anybody(database, workflow):
    poor, _ = await registered(database, "poor", "unknown")
    inventories = Kept({poor: Known("less", in_doubt=True)}, less=LESS)
    readiness = Readiness(database, inventories, alive)
    assert (await readiness.able_now(workflow)).waiting_for is None  # the unknown one may be able
    await database.pool.execute("update workers set enabled = false where name = 'unknown'")
    assert (await readiness.able_now(workflow)).waiting_for == (
        "No healthy worker can run this workflow: poor lacks the node KSampler, unknown is disabled."
    )
    assert inventories.asked == []


async def test_a_refusal_is_a_reason_for_five_minutes_but_not_against_another_try(database, workflow):
    [worker] = await registered(database, "gpu-1")
    readiness = Readiness(database, Kept({worker: Known("all", in_doubt=False)}, all=OBJECT_INFO), alive)
    refuse = "insert into ineligible_workers (worker_id, workflow_id, reason) values ($1, $2, 'x.safetensors is gone.')"
    await database.pool.execute(refuse, worker, workflow)
    said_so = "No healthy worker can run this workflow: gpu-1 refused it: x.safetensors is gone."
    assert (await readiness.able_now(workflow)).waiting_for == said_so
    assert [one.name for one in await readiness.able_workers(workflow)] == ["gpu-1"]
    await database.pool.execute("update ineligible_workers set created_at = now() - interval '5 minutes'")
    assert (await readiness.able_now(workflow)).waiting_for is None


async def test_a_description_that_nobody_can_read_refuses_nothing(database, workflow):
    """The worker itself will say what it lacks, and that costs one round trip."""
    odd, gone = await registered(database, "odd", "gone")
    strange = {**OBJECT_INFO, "SaveImage": {"input": {"required": {"images": [["a"], {"options": 7}]}}, "output": 3}}
    inventories = Kept({odd: Known("strange", in_doubt=False), gone: Known("gone", in_doubt=False)}, strange=strange)
    abilities = said(await Readiness(database, inventories, alive).of_workflow(workflow))
    assert abilities["gone"][0]
    assert isinstance(abilities["odd"][1], tuple)


async def test_with_nobody_registered_there_is_nobody_to_name(database, workflow):
    with pytest.raises(NoHealthyWorker, match="none is registered"):
        await Readiness(database, Kept({}), alive).able_workers(workflow)


async def test_the_last_able_worker_that_has_just_died_runs_nothing(database, workflow):
    """Its last check passed, and what it has is known: but it does not answer now."""
    dead, poor = await registered(database, "dead", "poor")
    inventories = Kept(
        {dead: Known("all", in_doubt=False), poor: Known("less", in_doubt=False)}, all=OBJECT_INFO, less=LESS
    )
    asked = []

    async def silent(worker: Worker) -> str:
        asked.append(worker.name)
        return "Connection refused."

    with pytest.raises(NoHealthyWorker) as refused:
        await Readiness(database, inventories, silent).able_workers(workflow)
    assert refused.value.message == (
        "No healthy worker can run this workflow: dead is unhealthy: Connection refused, poor lacks the node KSampler."
    )
    assert asked == ["dead"]


async def test_one_able_worker_that_answers_is_enough_and_nobody_waits_for_the_others(database, workflow):
    stuck, well = await registered(database, "stuck", "well")
    inventories = Kept(dict.fromkeys((stuck, well), Known("all", in_doubt=False)), all=OBJECT_INFO)

    async def silent(worker: Worker) -> str | None:
        if worker.name == "stuck":
            await asyncio.Event().wait()
        return None

    able = await Readiness(database, inventories, silent).able_workers(workflow)
    assert [worker.name for worker in able] == ["stuck", "well"]
