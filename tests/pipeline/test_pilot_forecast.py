"""What a pilot tells of the mass run was measured on its worker; of others only what they made before is known."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from comfylabel.comfy.schemas import HistoryEntry
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.tasks.forecast import MassRun, Measured, forecast
from tests.support.pipeline import NATIVE_GRAPH, Line, loop_graph, running_orchestrator
from tests.support.simulator import slow
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def _draft(line: Line, graph: dict[str, Any], **metadata: Any) -> str:
    """3 prompts by 4 seeds."""
    workflow = await line.add_workflow(graph, **metadata)
    return str((await line.add_task(workflow, [await line.add_pool()], prompts=3, seeds=4))["id"])


async def _pilot(line: Line, task: str) -> dict[str, Any]:
    pilot: dict[str, Any] = await line.call("POST", f"/api/tasks/{task}/pilot")
    assert pilot == await line.call("GET", f"/api/tasks/{task}/pilot") | {"samples": pilot["samples"]}
    return pilot


async def _entries(simulator: Simulator) -> list[HistoryEntry]:
    """What the worker itself says of all that it ran, in order."""
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/history") as answer:
        return [HistoryEntry.from_json(entry) for entry in (await answer.json()).values()]


async def _measured(simulator: Simulator, cold: set[int]) -> list[Measured]:
    entries = await _entries(simulator)
    sizes = [submission.batch_size for submission in simulator.log]
    return [
        Measured(size, entry.seconds, is_cold=number in cold)
        for number, (entry, size) in enumerate(zip(entries, sizes, strict=True))
        if entry.outcome == "success" and entry.seconds is not None and size is not None
    ]


def _assert_follows(told: dict[str, Any], run: MassRun, measured: list[Measured], worker: UUID) -> None:
    """All but the memory is what the rule makes of the worker's own record."""
    expected = dict(forecast(run, measured, [], piloted=worker, others=[]))
    assert {**told, "vram": None, "notes": []} == {**expected, "notes": []}


async def test_the_times_are_the_workers_own_and_not_what_was_waited_in_its_queue(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        worker = await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await _draft(line, loop_graph(), max_batch_size=1)
        simulator.faults.hold_jobs = True
        async with aiohttp.ClientSession() as stranger:
            await stranger.post(f"{simulator.url}/prompt", json={"prompt": slow(0)})
        piloting = asyncio.create_task(_pilot(line, task))
        await until(lambda: sum(path.startswith("/history/") for _, path in simulator.requests) >= 3)
        simulator.faults.hold_jobs = False
        told = (await piloting)["forecast"]
        measured = await _measured(simulator, cold={1})
    assert len(measured) == 10
    _assert_follows(told, MassRun(3, [1] * 4, 1), measured, worker)


async def test_each_batch_size_has_its_own_time_and_loading_models_is_in_neither(api):
    """Four run out of memory, so models are loaded again for two: two are made once more, which takes what it takes."""
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        worker = await line.add_worker(simulator.url)
        task = await _draft(line, NATIVE_GRAPH, max_batch_size=4)
        simulator.faults.out_of_memory_above = 128 * 128 * 2
        pilot = await _pilot(line, task)
        measured = await _measured(simulator, cold={0, 2})
    sizes = [submission.batch_size for submission in simulator.log]
    assert sizes == [1, 4, 2, 2] + [1] * 9
    assert len({(submission.seed, submission.batch_size) for submission in simulator.log}) == len(sizes)
    told = pilot["forecast"]
    _assert_follows(told, MassRun(3, [2, 2], 2), measured, worker)
    assert (told["batch_size"], set(told["by_batch_size"])) == (2, {"1", "2"})


async def test_the_memory_is_the_least_that_was_free_while_samples_were_made(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        task = await _draft(line, loop_graph(), max_batch_size=1)
        simulator.faults.hold_jobs = True
        piloting = asyncio.create_task(_pilot(line, task))
        # The health check asks too, and the first sample is not watched: its worker is not chosen yet.
        await until(lambda: simulator.executor.current)
        simulator.faults.hold_jobs = False
        await until(lambda: len(simulator.log) >= 2)
        simulator.faults.hold_jobs = True
        asked = Counter(simulator.requests)["GET", "/system_stats"]
        await until(lambda: Counter(simulator.requests)["GET", "/system_stats"] >= asked + 3)
        simulator.faults.hold_jobs = False
        told = (await piloting)["forecast"]
    assert told["vram"] == {"total": 24 * 2**30, "lowest_free": 6 * 2**30, "headroom": 0.25}
    assert told["notes"] == []


async def test_another_workers_pace_is_told_only_for_images_of_this_workflow_and_size(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        piloted = await line.add_worker(simulator.url, priority=9)
        known = await line.add_worker(simulator.url, name="known")
        other_size = await line.add_worker(simulator.url, name="other size")
        off = await line.add_worker(simulator.url, name="off")
        await line.call("PATCH", f"/api/workers/{off}", json={"enabled": False})
        task = await _draft(line, loop_graph(), max_batch_size=1)
        workflow = (await line.call("GET", f"/api/tasks/{task}"))["workflow_id"]
        for worker, side in ((known, 128), (other_size, 256), (off, 128)):
            await line.database.pool.execute(
                "insert into paces (worker_id, workflow_id, width, height, seconds_per_image, images)"
                " values ($1, $2, $3, $3, 0.5, 10)",
                worker, UUID(workflow), side,
            )  # fmt: skip
        pilot = await _pilot(line, task)
    told = pilot["forecast"]
    assert pilot["worker_id"] == str(piloted)
    assert told["workers"] == {
        str(piloted): told["seconds_per_image"],
        str(known): 0.5,
        str(other_size): None,
    }
    assert any(note.startswith("One more worker can run this") for note in told["notes"])


async def test_who_lacks_a_node_is_not_said_to_be_able(api):
    """It was never sent anything, so it never refused: what it has says so."""
    line = await Line.of(api)
    async with (
        running_simulator() as simulator,
        running_simulator(missing_nodes=["KSampler"]) as lacking,
        running_orchestrator(api.settings, api.app.state.database.url),
    ):
        await line.add_worker(simulator.url, priority=9)
        unable = await line.add_worker(lacking.url, name="lacking")
        task = await _draft(line, loop_graph(), max_batch_size=1)

        async def it_is_known() -> bool:
            rows = await line.call("GET", f"/api/tasks/{task}/workers")
            return any(row["missing"] for row in rows)

        await until(it_is_known)
        told = (await _pilot(line, task))["forecast"]
    assert told["workers"][str(unable)] is None
    assert not any("can run this" in note for note in told["notes"])


async def test_paces_are_found_by_the_size_that_was_asked_for(api):
    """130 pixels become 128, as an upscaler makes more of what was asked for: it is the same recipe."""
    line = await Line.of(api)
    graph = loop_graph()
    graph["5"]["inputs"] |= {"width": 130, "height": 130}
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url, priority=9)
        known = await line.add_worker(simulator.url, name="known")
        task = await _draft(line, graph, max_batch_size=1)
        workflow = (await line.call("GET", f"/api/tasks/{task}"))["workflow_id"]
        await line.database.pool.execute(
            "insert into paces (worker_id, workflow_id, width, height, seconds_per_image, images)"
            " values ($1, $2, 130, 130, 0.5, 10)",
            known, UUID(workflow),
        )  # fmt: skip
        pilot = await _pilot(line, task)
    assert (pilot["samples"][0]["width"], pilot["forecast"]["workers"][str(known)]) == (128, 0.5)


async def test_a_sample_that_fails_ends_the_pilot_in_words(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        task = await _draft(line, loop_graph(), max_batch_size=1)
        simulator.faults.hold_jobs = True
        piloting = asyncio.create_task(line.admin.post(f"/api/tasks/{task}/pilot"))
        await until(lambda: simulator.executor.current and simulator.log[0].batch_size)
        simulator.faults.execution_errors = 1
        simulator.faults.hold_jobs = False
        answer = await piloting
    assert (answer.status_code, answer.json()["code"]) == (422, "pilot_failed")
    assert "simulated failure of the sampler" in answer.json()["error"]
    assert answer.json()["data"]["ladder"] == [{"width": 128, "height": 128, "batch_size": 1, "outcome": "ok"}]
