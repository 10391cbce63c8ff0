"""Every way to fail has its kind, its words and its count, and leaves the work that others can do untouched."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.generations import failures_repository
from comfylabel.generations.failures import TaskFailure
from comfylabel.orchestrator import fault_points
from comfylabel.orchestrator.process import Orchestrator
from tests.pipeline.test_exactly_once import check_truth
from tests.support.pipeline import NATIVE_GRAPH, QUICK, Line, running_orchestrator
from tests.support.waiting import until

pytestmark = pytest.mark.slow

MODEL = "sdxl-simulated.safetensors"
# Submissions that ended without their images, recounted from their rows.
_RECOUNT = """
select error->>'class' as kind, count(*) as failures from submissions
where task_id = $1 and state in ('failed', 'lost') and pilot_id is null group by 1
"""


async def failures(line: Line, task: str) -> dict[str, TaskFailure]:
    """By kind; each counted as often as there are submissions that ended so."""
    async with line.database.connection() as connection, connection.transaction(isolation="repeatable_read"):
        told = await failures_repository.of_task(connection, UUID(task))
        rows = await connection.fetch(_RECOUNT, UUID(task))
    assert {one.kind: one.count for one in told} == {row["kind"]: row["failures"] for row in rows}
    return {one.kind: one for one in told}


async def failed_as(line: Line, task: str, kind: str) -> TaskFailure:
    async def seen() -> TaskFailure | None:
        return (await failures(line, task)).get(kind)

    found: TaskFailure = await until(seen)
    return found


async def test_out_of_memory_goes_elsewhere_with_the_same_size(api):
    async with (
        running_simulator() as small,
        running_simulator() as large,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        small.faults.out_of_memory_above = 100
        line = await Line.of(api)
        await line.add_worker(small.url, "a-small", priority=9)
        await line.add_worker(large.url, "b-large")
        task = await line.frozen_task(prompts=2, seeds=4)
        await line.run(task)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["failed"]) == ("DONE", 0)
        told = (await failures(line, task))["out_of_memory"]
        assert told.words == "The GPU ran out of memory."
        assert "torch.OutOfMemoryError" in told.last_message
        assert {len(entry.images) for entry in large.log} == {4}
        await check_truth(line, task, large)


STAYS: dict[str, tuple[dict[str, Any], str, str]] = {
    "validation": ({"refused_400": 1}, "validation", "too many for this licence"),
    "execution": ({"execution_errors": 1}, "execution_error", "RuntimeError"),
    "broken image": ({"not_images": 3}, "broken_image", "not a PNG, JPEG or WebP"),
    "truncated image": ({"truncated_images": 3}, "broken_image", "damaged"),
    "no answer": ({"queued_but_cut": 1}, "", ""),
}


@pytest.mark.parametrize(("faults", "kind", "words"), STAYS.values(), ids=STAYS)
async def test_a_failure_is_counted_once_with_what_was_said(api, faults, kind, words):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.change(faults)
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=1)
        await line.run(task)
        ended = await line.until_ended(task)
        told = await failures(line, task)
        assert {name: one.count for name, one in told.items()} == ({kind: 1} if kind else {})
        assert all(words in one.last_message for one in told.values())
        lost = int(kind == "validation")  # no other worker would take it either
        assert (ended["done"], ended["failed"]) == (1 - lost, lost)


async def _missing_model(worker: Simulator) -> None:
    worker.faults.missing_models.add(MODEL)


async def _missing_node(worker: Simulator) -> None:
    worker.faults.missing_nodes.add("KSampler")


async def _refuses_post(worker: Simulator) -> None:
    worker.faults.change({"proxy": "403", "proxy_paths": ["/prompt"]})


async def _refuses_images(worker: Simulator) -> None:
    worker.faults.change({"proxy": "401", "proxy_paths": ["/view"]})


ELSEWHERE: dict[str, tuple[Callable[[Simulator], Awaitable[None]], str, str]] = {
    "missing model": (_missing_model, "missing_model", f"{MODEL} is not on this worker"),
    "missing node": (_missing_node, "missing_node", "KSampler"),
    "POST refused": (_refuses_post, "proxy_auth", "the proxy refuses only POST"),
    "images refused": (_refuses_images, "proxy_auth", "401"),
}


async def _is_known(parts: Orchestrator, worker: UUID) -> bool:
    """What it has; and nobody is about to ask it again, which would find out what is broken before it is sent any."""
    abilities = parts.abilities
    return worker in abilities._digests and not (await abilities._inventories.due() or abilities._being_asked)


@pytest.mark.parametrize(("break_it", "kind", "words"), ELSEWHERE.values(), ids=ELSEWHERE)
async def test_what_is_one_workers_fault_is_made_by_another(api, break_it, kind, words):
    """It was well when it was asked what it has, so that it is tried first."""
    async with (
        running_simulator() as broken,
        running_simulator() as well,
        running_orchestrator(api.settings, api.app.state.database.url) as parts,
    ):
        line = await Line.of(api)
        first = await line.add_worker(broken.url, "a-broken", priority=9)
        await line.add_worker(well.url, "b-well")
        task = await line.frozen_task(prompts=3, seeds=2)
        await until(lambda: _is_known(parts, first))
        await break_it(broken)
        await line.run(task)
        told = await failed_as(line, task, kind)
        assert words in told.last_message
        ended = await line.until_ended(task)
        assert (ended["state"], ended["failed"], ended["done"]) == ("DONE", 0, 6)
        assert sum(prompt["retries_used"] for prompt in ended["per_prompt"]) == 0
        await check_truth(line, task, well)
        assert set(await failures(line, task)) == {kind}


@pytest.mark.parametrize("break_it", [_missing_model, _missing_node, _refuses_post])
async def test_when_it_is_every_workers_fault_the_task_waits_says_so_and_goes_on_by_itself(api, break_it):
    with structlog.testing.capture_logs() as told:
        async with (
            running_simulator() as simulator,
            running_orchestrator(api.settings, api.app.state.database.url) as parts,
        ):
            line = await Line.of(api)
            worker = await line.add_worker(simulator.url)
            task = await line.frozen_task(prompts=2, seeds=2)
            await until(lambda: _is_known(parts, worker))
            await break_it(simulator)
            await line.run(task)

            def alert() -> dict[str, Any] | None:
                alerts = (entry for entry in told if entry["event"] == "tasks_wait_for_an_able_worker")
                return next((dict(entry) for entry in alerts), None)

            said = await until(alert)
            assert said["tasks"] == [task]
            assert said["reason"].startswith("No healthy worker can run this workflow: gpu-1 ")

            async def waiting() -> Any:
                progress = await line.progress(task)
                return progress if progress["pending"] == 4 else None

            progress = await until(waiting)
            assert (progress["state"], progress["failed"]) == ("RUNNING", 0)
            assert progress["waiting_for"].startswith("No healthy worker can run this workflow: gpu-1 ")
            simulator.faults.missing_models.clear()
            simulator.faults.missing_nodes.clear()
            simulator.faults.proxy = None

            async def ended() -> Any:
                if break_it is _refuses_post:  # which no question tells of: it is tried again after five minutes
                    await line.database.pool.execute("delete from ineligible_workers")
                return (await line.progress(task))["state"] == "DONE"

            await until(ended)
            await check_truth(line, task, simulator)


@pytest.mark.parametrize(
    ("method", "path", "body"), [("POST", "/test", None), ("PATCH", "", {"headers": {"X-Key": "the right one"}})]
)
async def test_who_has_mended_a_worker_need_not_wait_until_its_refusal_is_forgotten(api, method, path, body):
    """A proxy that lets us look, and not send: no health check tells that it is well again."""
    async with (
        running_simulator() as simulator,
        running_orchestrator(api.settings, api.app.state.database.url) as parts,
    ):
        line = await Line.of(api)
        worker = await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await until(lambda: _is_known(parts, worker))
        await _refuses_post(simulator)
        await line.run(task)
        await failed_as(line, task, "proxy_auth")
        await asyncio.sleep(2 * api.settings.queue_poll_seconds)  # until the dispatcher has read of it
        simulator.faults.proxy = None
        await line.call(method, f"/api/workers/{worker}{path}", json=body)
        assert (await line.until_ended(task, 20))["state"] == "DONE"


async def test_what_a_worker_is_known_to_lack_is_never_sent_to_it(api):
    async with (
        running_simulator() as poor,
        running_simulator() as rich,
        running_orchestrator(api.settings, api.app.state.database.url) as parts,
    ):
        poor.faults.missing_models.add(MODEL)
        line = await Line.of(api)
        workers = [
            await line.add_worker(poor.url, "a-poor", priority=9, max_concurrent_jobs=4),
            await line.add_worker(rich.url, "b-rich"),
        ]
        for one in workers:
            await until(partial(_is_known, parts, one))
        task = await line.frozen_task(prompts=3, seeds=2)
        await line.run(task)
        assert (await line.until_ended(task))["state"] == "DONE"
        assert ("POST", "/prompt") not in poor.requests
        assert await failures(line, task) == {}


async def test_images_that_are_not_stored_yet_hold_back_new_work(api):
    """One may be owed beside the one that is made meanwhile: no third job is begun before the first is stored."""
    go_on = asyncio.Event()

    async def hold(point: fault_points.FaultPoint) -> None:
        if point == "before_put":
            await go_on.wait()

    settings = api.settings.model_copy(update={"ingest_backlog": 1})
    fault_points.install(hold)
    try:
        async with (
            running_simulator() as simulator,
            running_orchestrator(settings, api.app.state.database.url) as parts,
        ):
            line = await Line.of(api)
            await line.add_worker(simulator.url)
            task = await line.frozen_task(prompts=4, seeds=1)
            await line.run(task)
            await until(lambda: parts.generator.ingester.is_behind)
            looks = simulator.requests.count(("GET", "/queue"))
            await until(lambda: simulator.requests.count(("GET", "/queue")) >= looks + 3)  # of those who tidy up
            assert len(simulator.log) == 2
            go_on.set()
            assert (await line.until_ended(task))["done"] == 4
            await check_truth(line, task, simulator)
    finally:
        fault_points.clear()


async def test_a_worker_that_cannot_be_reached_costs_the_prompt_nothing(api):
    async with (
        running_simulator() as away,
        running_simulator() as well,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        line = await Line.of(api)
        await line.add_worker(away.url, "a-away", priority=9)
        await line.add_worker(well.url, "b-well")
        task = await line.frozen_task(prompts=3, seeds=2)
        away.faults.hold_jobs = True
        await line.run(task)
        await until(lambda: away.log)
        await away.stop()
        ended = await line.until_ended(task)
        assert (ended["state"], ended["failed"]) == ("DONE", 0)
        told = await failures(line, task)
        assert set(told) <= {"worker_lost", "network"}
        assert told["worker_lost"].words == "The worker fell silent with the work."
        await check_truth(line, task, well)


async def test_a_restart_is_told_from_silence(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        simulator.faults.hold_jobs = True
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=1, seeds=2)
        await line.run(task)
        await until(lambda: simulator.log)
        simulator.faults.hold_jobs = False
        await simulator.restart()
        assert (await line.until_ended(task))["state"] == "DONE"
        told = await failures(line, task)
        assert list(told) == ["worker_restarted"]
        await check_truth(line, task, simulator)


HASTY = replace(QUICK, patience=replace(QUICK.patience, deadline=1.0))


async def test_a_long_queue_of_others_is_waited_for_beyond_the_deadline(api):
    """Ours waits while strangers' jobs end one by one, each in less than the deadline, all together in more."""
    async with (
        running_simulator() as simulator,
        aiohttp.ClientSession() as session,
        running_orchestrator(api.settings, api.app.state.database.url, HASTY),
    ):
        simulator.faults.hold_jobs = True
        stranger = ComfyClient(session, simulator.url)
        strangers = [str(uuid.uuid4()) for _ in range(5)]
        line = await Line.of(api)
        await line.add_worker(simulator.url, max_concurrent_jobs=6)
        task = await line.frozen_task(prompts=1, seeds=2)
        for identity in strangers:
            await stranger.submit(NATIVE_GRAPH, identity)
        await line.run(task)
        await until(lambda: len(simulator.log) == 6)
        [ours] = {entry.id for entry in simulator.log} - set(strangers)
        for identity in strangers:
            seen = Counter(path for _, path in simulator.requests)["/queue"]
            await until(lambda: Counter(path for _, path in simulator.requests)["/queue"] >= seen + 1)  # noqa: B023 - awaited within the round
            await stranger.interrupt(identity)
            await until(lambda: next(e for e in simulator.log if e.id == identity).outcome)  # noqa: B023 - awaited within the round
        simulator.faults.hold_jobs = False
        assert (await line.until_ended(task))["state"] == "DONE"
        assert await failures(line, task) == {}
        assert next(entry for entry in simulator.log if entry.id == ours).outcome == "success"


async def test_a_queue_that_stands_still_is_left_and_no_prompt_is_blamed(api):
    async with (
        running_simulator() as stuck,
        running_simulator() as well,
        aiohttp.ClientSession() as session,
        running_orchestrator(api.settings, api.app.state.database.url, HASTY),
    ):
        stuck.faults.hold_jobs = True
        line = await Line.of(api)
        await line.add_worker(stuck.url, "a-stuck", priority=9, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=1, seeds=2)
        await ComfyClient(session, stuck.url).submit(NATIVE_GRAPH, str(uuid.uuid4()))
        await line.run(task)
        await until(lambda: len(stuck.log) == 2)
        await line.add_worker(well.url, "b-well", priority=10)
        ended = await line.until_ended(task)
        assert (ended["state"], ended["per_prompt"][0]["retries_used"]) == ("DONE", 0)
        told = await failures(line, task)
        assert "queue did not move" in told["deadline"].last_message
        assert stuck.queue.remaining == 1  # ours was taken back, the stranger's was not touched
        await check_truth(line, task, well)
