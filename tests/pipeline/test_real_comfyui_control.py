"""Cancel, pause, out of memory and a server that is killed, on a genuine ComfyUI (make test-real-comfyui).

What became of a submission is read from that server: its queue, its history, the files that it wrote.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pyvips

from tests.conformance.real_comfyui.server import RealComfyUI, free_port, stop
from tests.support import real_comfyui
from tests.support.pipeline import Line, running_orchestrator
from tests.support.real_comfyui import PATIENT, assert_was_sent, graph_with, history, queue
from tests.support.served import nonce
from tests.support.simulator import model_free, slow
from tests.support.waiting import until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(600)]

SLOW = 300  # seconds: a CPU that is busy with other things


@pytest.fixture
def url() -> str:
    return os.environ["REAL_COMFYUI_URL"]


@asynccontextmanager
async def _running(api: Any, url: str, graph: dict[str, Any], **size: int) -> AsyncIterator[tuple[Line, str]]:
    """A task that runs on that server, which may hold two of its submissions."""
    line = await Line.of(api)
    await line.add_worker(url, max_concurrent_jobs=2)
    settings = api.settings.model_copy(update={"health_interval_seconds": 0.5})
    async with running_orchestrator(settings, api.app.state.database.url, PATIENT):
        task = await line.frozen_task(graph=graph, max_batch_size=1, **size)
        await line.run(task)
        yield line, task


async def _submissions(line: Line, task: str) -> dict[str, str]:
    """Their states by id, as the product has written them down."""
    rows = await line.database.pool.fetch("select id, state from submissions where task_id = $1", UUID(task))
    return {str(row["id"]): row["state"] for row in rows}


def _last_words(entry: dict[str, Any]) -> str:
    kind: str = entry["status"]["messages"][-1][0]
    return kind


async def test_cancel_takes_the_queued_one_back_and_stops_the_running_one_and_nobody_elses(api, url, record_property):
    """The running one would sleep for five minutes; what a stranger has queued behind it is made."""
    async with _running(api, url, graph_with(real_comfyui.sleep(300)), prompts=2, seeds=4) as (line, task):

        async def both() -> Any:
            running, waiting = await queue(url)
            return (running[0], waiting[0]) if running and waiting else None

        running, waiting = await until(both, SLOW)
        stranger = await real_comfyui.post(url, model_free(nonce()))
        assert set(await _submissions(line, task)) >= {running, waiting}
        cancelled = await line.call("POST", f"/api/tasks/{task}/cancel")

        async def strangers_end() -> Any:
            return (await history(url)).get(stranger)

        assert _last_words(await until(strangers_end, SLOW)) == "execution_success"
        told = await history(url)
        progress = await line.progress(task)
        states = await _submissions(line, task)
    assert cancelled["state"] == "FAILED"
    assert _last_words(told[running]) == "execution_interrupted"
    assert waiting not in told, "it was never run: a deleted one leaves no trace"
    assert await queue(url) == ([], [])
    assert states == {running: "cancelled", waiting: "cancelled"}
    assert [progress[key] for key in ("state", "done", "running", "pending", "failed")] == ["FAILED", 0, 0, 8, 0]
    record_property("cancel", f"running {running}: execution_interrupted; queued {waiting}: not in its history")


async def test_pause_lets_what_runs_end_and_sends_nothing_and_resume_makes_the_rest(api, url, record_property):
    async with _running(api, url, graph_with(real_comfyui.sleep(0.5)), prompts=2, seeds=4) as (line, task):

        async def some_are_done() -> bool:
            return bool((await line.progress(task))["done"] >= 2)

        async def nothing_is_under_way() -> bool:
            return bool((await line.progress(task))["running"] == 0)

        await until(some_are_done, SLOW)
        await line.call("POST", f"/api/tasks/{task}/pause")
        await until(nothing_is_under_way, SLOW)
        kept = (await line.progress(task))["done"]
        before = await _submissions(line, task)
        stranger = await real_comfyui.post(url, slow(2.0, nonce=nonce()))

        async def server_has_done_something_else() -> bool:
            return stranger in await history(url)

        await until(server_has_done_something_else, SLOW)
        paused = await line.progress(task)
        assert (paused["state"], paused["paused"], paused["done"]) == ("RUNNING", True, kept)
        assert await _submissions(line, task) == before
        await line.call("POST", f"/api/tasks/{task}/resume")
        ended = await line.until_ended(task, SLOW)
        told = await history(url)
        states = await _submissions(line, task)
    assert 2 <= kept < 8
    assert (ended["state"], ended["done"]) == ("DONE", 8)
    rows = await line.images(task)
    assert states == {str(row["submission_id"]): "ingested" for row in rows}
    assert len({row["checksum"] for row in rows}) == len(states) == 8
    for row in rows:
        assert_was_sent(row, told[str(row["submission_id"])]["prompt"][2])
    record_property("pause", f"{kept} of 8 were made before, {8 - kept} after it; 8 submissions in all")


async def test_out_of_memory_in_a_mass_run_is_a_counted_retry_of_the_same_size(api, url, record_property):
    probe = {"class_type": "ProbeRaiseAtFirst", "inputs": {"kind": "cuda_oom", "times": 2}}
    async with _running(api, url, graph_with(probe), prompts=1, seeds=2) as (line, task):
        ended = await line.until_ended(task, SLOW)
        told = await history(url)
        states = await _submissions(line, task)
    assert (ended["state"], ended["done"], ended["failed"]) == ("DONE", 2, 0)
    assert [prompt["retries_used"] for prompt in ended["per_prompt"]] == [2]
    assert sorted(states.values()) == ["failed", "failed", "ingested", "ingested"]
    for row in await line.images(task):
        assert_was_sent(row, told[str(row["submission_id"])]["prompt"][2])
    sent = [told[identity]["prompt"][2] for identity in states]
    assert {(one["5"]["inputs"]["width"], one["5"]["inputs"]["batch_size"]) for one in sent} == {(64, 1)}
    (failure,) = ended["failures"]
    assert (failure["kind"], failure["count"]) == ("out_of_memory", 2)
    assert "memory" in failure["words"]
    record_property("out of memory", f"{failure}")


async def test_out_of_memory_for_good_gives_the_prompt_up_after_three_retries_and_says_so(api, url):
    probe = {"class_type": "ProbeRaise", "inputs": {"kind": "accelerator_oom"}}
    async with _running(api, url, graph_with(probe), prompts=1, seeds=1) as (line, task):
        ended = await line.until_ended(task, SLOW)
        states = await _submissions(line, task)
    assert (ended["state"], ended["failed"]) == ("FAILED", 1)
    (prompt,) = ended["per_prompt"]
    assert prompt["retries_used"] == 3
    assert "out of memory" in prompt["reason"]
    assert list(states.values()) == ["failed"] * 4
    assert [(one["kind"], one["count"]) for one in ended["failures"]] == [("out_of_memory", 4)]


# ------------------------------------------------------------------------------------------- the server is killed


@dataclass
class _Server:
    """A second one, which this test may kill; its models are the first one's."""

    comfyui: RealComfyUI
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.process = self.comfyui.start(self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill_and_start(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self.comfyui.start(self.port)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    state = Path(os.environ["REAL_COMFYUI_STATE"])
    base = tmp_path / "server" / "base"
    base.mkdir(parents=True)
    (base / "models").symlink_to(state / "base" / "models")
    comfyui = RealComfyUI(state, base)
    comfyui.install()
    server = _Server(comfyui)
    try:
        yield server
    finally:
        stop(server.process)


def _graphs_in_files(output: Path, identities: Iterable[str]) -> dict[str, Any]:
    """By submission, the graph that the server wrote into the one file of each: a kill leaves the files."""
    graphs = {}
    for identity in identities:
        (file,) = (output / "comfylabel" / identity).iterdir()
        picture = pyvips.Image.new_from_file(str(file))
        text = next(
            name for name in picture.get_fields() if name.startswith("png-comment") and name.endswith("-prompt")
        )
        graphs[identity] = json.loads(picture.get(text))
    return graphs


async def test_a_server_that_is_killed_and_started_in_the_middle_of_a_run(api, server, record_property):
    """It forgets its queue and its history. Every image is made, kept once, and is what its row says."""
    async with _running(api, server.url, graph_with(real_comfyui.sleep(0.5)), prompts=2, seeds=4) as (line, task):

        async def in_the_middle() -> Any:
            running, waiting = await queue(server.url)
            is_busy = running and waiting and (await line.progress(task))["done"] >= 2
            return [*running, *waiting] if is_busy else None

        held = await until(in_the_middle, SLOW)
        await asyncio.to_thread(server.kill_and_start)
        assert await history(server.url) == {}
        ended = await line.until_ended(task, SLOW)
        told = await history(server.url)
        states = await _submissions(line, task)
    assert (ended["state"], ended["done"], ended["failed"]) == ("DONE", 8, 0)
    assert [prompt["retries_used"] for prompt in ended["per_prompt"]] == [0, 0], "the prompts did nothing wrong"
    rows = await line.images(task)
    kept = {str(row["submission_id"]) for row in rows}
    assert len(kept) == len({row["checksum"] for row in rows}) == 8
    assert {identity for identity, state in states.items() if state == "ingested"} == kept
    assert {state for identity, state in states.items() if identity not in kept} <= {"lost"}
    assert kept > set(told) & kept, "some were made by the server that was killed"
    graphs = _graphs_in_files(server.comfyui.output, kept)
    for row in rows:
        assert_was_sent(row, graphs[str(row["submission_id"])])
    lost = [identity for identity, state in states.items() if state == "lost"]
    record_property("restart", f"held when it was killed: {len(held)}; made again under new ids: {len(lost)}")
