"""The pipeline on a genuine ComfyUI (make test-real-comfyui): the rows against that server's own history."""

import os
from collections import Counter
from typing import Any

import pytest

from tests.support.pipeline import NATIVE_GRAPH, Line, running_orchestrator
from tests.support.real_comfyui import CHECKPOINT, PATIENT, assert_was_sent, graph_with, history, latent

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(600)]


@pytest.fixture
def real_comfyui() -> str:
    return os.environ["REAL_COMFYUI_URL"]


async def _run(api: Any, url: str, graph: dict[str, Any], record_property: Any, **sizes: Any) -> list[dict[str, Any]]:
    """The image rows, each compared with the graph that the server says it ran."""
    line = await Line.of(api)
    await line.add_worker(url)
    async with running_orchestrator(api.settings, api.app.state.database.url, PATIENT):
        task = await line.frozen_task(graph=graph, prompts=2, seeds=4, **sizes)
        await line.run(task)
        ended = await line.until_ended(task, 300)
    assert (ended["state"], ended["done"]) == ("DONE", 8)
    rows = await line.images(task)
    told = await history(url)
    for row in rows:
        assert_was_sent(row, told[str(row["submission_id"])]["prompt"][2])
    assert len({row["checksum"] for row in rows}) == 8
    pairs = Counter((row["seed_value"], row["batch_index"]) for row in rows)
    record_property("images", f"{len(rows)} images; (seed recorded = seed sent, batch_index): {sorted(pairs)}")
    return rows


async def test_native_batches_of_four_on_the_real_server(api, real_comfyui, record_property):
    graph = NATIVE_GRAPH | CHECKPOINT | latent(64)
    rows = await _run(api, real_comfyui, graph, record_property, max_batch_size=4)
    assert [row["batch_index"] for row in rows] == [0, 1, 2, 3] * 2
    assert len({row["seed_value"] for row in rows}) == 2


async def test_the_loop_on_the_real_server(api, real_comfyui, record_property):
    rows = await _run(api, real_comfyui, graph_with(), record_property, max_batch_size=4)
    assert {row["batch_index"] for row in rows} == {0}
    assert len({row["seed_value"] for row in rows}) == 8


async def test_a_pilot_that_meets_out_of_memory_twice_on_the_real_server(api, real_comfyui, record_property):
    """The probe node raises torch's own error above 64 x 64 pixels: 192, 128, then 64 fits."""
    probe = {"class_type": "ProbeRaise", "inputs": {"kind": "cuda_oom", "above": 64 * 64}}
    line = await Line.of(api)
    await line.add_worker(real_comfyui)
    workflow = await line.add_workflow(graph_with(probe, side=192), max_batch_size=1)
    task = (await line.add_task(workflow, [await line.add_pool()], prompts=3, seeds=4))["id"]
    async with running_orchestrator(api.settings, api.app.state.database.url, PATIENT):
        pilot = await line.call("POST", f"/api/tasks/{task}/pilot", timeout=300)
    assert [(rung["width"], rung["outcome"]) for rung in pilot["ladder"]] == [
        (192, "out_of_memory"),
        (128, "out_of_memory"),
        (64, "ok"),
    ]
    assert (pilot["retries_used"], len(pilot["samples"])) == (2, 10)
    assert {(sample["width"], sample["height"]) for sample in pilot["samples"]} == {(64, 64)}
    forecast = pilot["forecast"]
    assert forecast["seconds_per_image"] > 0
    assert forecast["eta_seconds"]["low"] <= forecast["eta_seconds"]["high"]
    assert (forecast["vram"], forecast["notes"]) == (
        None,
        ["The worker computes on its CPU: there is no video memory to tell of."],
    )
    record_property("ladder", f"{pilot['ladder']}; {forecast}")
