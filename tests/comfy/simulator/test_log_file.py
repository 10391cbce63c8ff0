"""The log that outlives the worker."""

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

from comfylabel.comfy.simulator import running_simulator
from tests.support.simulator import text_to_image
from tests.support.waiting import until


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kinds(path: Path) -> list[str]:
    return [event["event"] for event in events(path)]


async def post(url: str, **graph: Any) -> str:
    body = {"prompt": text_to_image(**graph), "client_id": "me"}
    async with aiohttp.request("POST", f"{url}/prompt", json=body) as answer:
        return str((await answer.json())["prompt_id"])


async def test_a_submission_is_written_down_from_the_post_to_the_picture(tmp_path: Path):
    path = tmp_path / "log"
    async with running_simulator(log_file=path) as simulator:
        identity = await post(simulator.url, prompt="a cat", seed=7, batch_size=2)
        await until(lambda: simulator.log[0].outcome)
        image = simulator.log[0].images[1].file.reference
        for _ in range(2):
            async with aiohttp.request("GET", f"{simulator.url}/view", params=image) as answer:
                await answer.read()
        digests = simulator.log[0].images[1].digests

    up, posted, started, ended, drawn, forgot = events(path)
    assert up["url"] == simulator.url
    assert (posted["id"], posted["client_id"], posted["graph"]["3"]["inputs"]["seed"]) == (identity, "me", 7)
    assert started["id"] == ended["id"] == identity
    assert posted["at"] <= started["at"] <= ended["at"] <= drawn["at"] <= forgot["at"]
    assert (ended["outcome"], ended["prompt"], ended["seed"], ended["batch_size"]) == ("success", "a cat", 7, 2)
    assert [(one["seed"], one["batch_index"]) for one in ended["images"]] == [(7, 0), (7, 1)]
    assert (drawn["filename"], drawn["clean_sha256"]) == (image["filename"], digests.clean)
    assert forgot["event"] == "forgot"


async def test_a_crash_and_what_it_ended_can_be_told_from_the_log(tmp_path: Path):
    path = tmp_path / "log"
    async with running_simulator(log_file=path, job_seconds=3600) as simulator:
        await post(simulator.url)
        await until(lambda: simulator.log[0].started)
        await simulator.crash()

    assert kinds(path) == ["up", "post", "start", "forgot", "forgot"]


async def test_the_log_survives_kill_9_and_is_added_to(tmp_path: Path):
    path = tmp_path / "log"
    command = ["-m", "comfylabel.cli", "simulate-worker", "--port", "0", "--job-seconds", "3600", "--log", str(path)]
    for round_number in (1, 2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await until(lambda: kinds(path).count("up") == round_number)  # noqa: B023 - awaited within the round
            await post(events(path)[-1]["url"])
            await until(lambda: kinds(path).count("start") == round_number)  # noqa: B023 - as above
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()

    assert kinds(path) == ["up", "post", "start"] * 2


async def test_graphs_are_not_kept_as_they_came():
    """200,000 submissions of a large workflow must fit into the memory of a test machine."""

    def nodes() -> int:
        return sum(isinstance(kept, dict) and "class_type" in kept for kept in gc.get_objects())

    before = nodes()
    async with running_simulator() as simulator:
        for seed in range(20):
            await post(simulator.url, seed=seed)
        await until(lambda: len(simulator.log) == 20 and simulator.log[-1].outcome)
        async with aiohttp.request("POST", f"{simulator.url}/history", json={"clear": True}) as answer:
            assert answer.status == 200
        gc.collect()
        assert nodes() - before < 20

        assert [entry.graph["3"]["inputs"]["seed"] for entry in simulator.log] == list(range(20))
