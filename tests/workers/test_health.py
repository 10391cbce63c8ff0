"""/system_stats and /queue decide a worker's status."""

from dataclasses import replace

import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import running_simulator
from comfylabel.db.pool import Database
from comfylabel.workers import health, repository
from comfylabel.workers.schemas import Worker
from comfylabel.workers.service import WorkerService
from tests.support.hostile_worker import hostile_worker
from tests.support.rows import add_worker

SECRET = b"0123456789abcdef"


@pytest.fixture
async def session():
    async with worker_session() as session:
        yield session


@pytest.fixture
def service(database: Database) -> WorkerService:
    return WorkerService(database, secret=SECRET)


async def registered(database: Database, **columns) -> Worker:
    async with database.transaction() as connection:
        worker_id = await add_worker(connection, **columns)
        worker = await repository.get(connection, worker_id)
    assert worker is not None
    return worker


async def test_one_pass_makes_healthy_two_failures_make_unhealthy(database, service, session):
    async with running_simulator() as simulator:
        worker = await registered(database, base_url=simulator.url, status="UNHEALTHY", failed_checks=7, reason="x")
        story = [worker := await health.check(database, service, worker, session)]
        simulator.faults.proxy = "502"
        story += [worker := await health.check(database, service, worker, session) for _ in range(2)]
        simulator.faults.proxy = None
        story += [await health.check(database, service, worker, session)]

    assert [(one.status, one.failed_checks, one.reason is None) for one in story] == [
        ("HEALTHY", 0, True),
        ("HEALTHY", 1, True),
        ("UNHEALTHY", 2, False),
        ("HEALTHY", 0, True),
    ]


async def test_an_explicit_check_that_fails_is_believed_at_once(database, service, session):
    worker = await registered(database, base_url="http://127.0.0.1:9", status="HEALTHY")

    assert (await health.check(database, service, worker, session, explicit=True)).status == "UNHEALTHY"


@pytest.mark.parametrize("path", ["/system_stats", "/queue"])
async def test_both_must_answer(database, service, session, path):
    async with running_simulator() as simulator:
        simulator.faults.proxy, simulator.faults.proxy_paths = "502", (path,)
        worker = await registered(database, base_url=simulator.url)
        checked = await health.check(database, service, worker, session, explicit=True)

    assert checked.status == "UNHEALTHY"
    assert path in (checked.reason or "")


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"/system_stats": '{"system": {"comfyui_version": "0.3\\u0000"}}'}, "HEALTHY"),
        ({"/system_stats": '{"system": {"comfyui_version": "\\ud800"}}'}, "HEALTHY"),
        ({"/queue": f'{{"queue_running": [[{"9" * 400}, "x"]], "queue_pending": []}}'}, "UNHEALTHY"),
        ({"/queue": '{"queue_running": [["\\u0000", "x"]], "queue_pending": {"\\ud800": 1}}'}, "UNHEALTHY"),
    ],
    ids=["nul", "half of a character", "endless number", "other shapes"],
)
async def test_a_hostile_answer_is_a_result_as_any_other(database, service, session, answers, status):
    """One that cannot be written down would end the round of checks, and the orchestrator with it."""
    async with hostile_worker(answers) as url:
        await registered(database, base_url=url, failed_checks=1)
        (checked,) = await health.check_all(database, service, session)

    assert checked.status == status
    assert len(checked.comfyui_version or "") <= 200


async def test_the_queue_that_it_tells_is_kept(database, service, session):
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        worker = await registered(database, base_url=simulator.url)
        client = service.client(worker, session)
        graph = {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        for number in range(3):
            await client.submit(graph, f"00000000-0000-4000-8000-00000000000{number}")
        checked = await health.check(database, service, worker, session)

    assert checked.current_queue_len == 3


async def test_a_round_checks_the_enabled_ones_and_a_dead_one_holds_back_no_other(database, service, session):
    async with running_simulator() as simulator:
        await registered(database, name="well", base_url=simulator.url, status="UNHEALTHY")
        await registered(database, name="dead", base_url="http://127.0.0.1:9", failed_checks=1)
        await registered(database, name="off", base_url=simulator.url, status="UNHEALTHY", enabled=False)
        checked = await health.check_all(database, service, session)

    assert {worker.name: worker.status for worker in checked} == {"well": "HEALTHY", "dead": "UNHEALTHY"}


async def test_a_check_of_an_address_that_changed_meanwhile_is_forgotten(database, service, session):
    worker = await registered(database, status="HEALTHY")
    old = replace(worker, base_url="http://127.0.0.1:9")

    assert (await health.check(database, service, old, session, explicit=True)).base_url == old.base_url

    async with database.connection() as connection:
        assert await repository.get(connection, worker.id) == worker


async def test_a_key_of_another_installation_is_a_reason_in_words(database, session):
    theirs = WorkerService(database, secret=b"another secret key")
    ours = WorkerService(database, secret=SECRET)
    async with running_simulator() as simulator:
        worker = await registered(database, base_url=simulator.url, api_key=ours._vault.encrypt("k"))
        checked = await health.check(database, theirs, worker, session, explicit=True)

    assert (checked.status, "enter them again" in (checked.reason or "")) == ("UNHEALTHY", True)


async def test_a_submission_that_finds_it_dead_needs_no_second_opinion(database):
    worker = await registered(database, status="HEALTHY")

    async with database.transaction() as connection:
        await health.mark_dead(connection, worker.id, "Connection refused.")
        marked = await repository.get(connection, worker.id)

    assert marked is not None
    assert (marked.status, marked.reason) == ("UNHEALTHY", "Connection refused.")
