"""The seed that a row records is the one that made its image, native or in the loop."""

import hashlib
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import NATIVE_GRAPH, Line, loop_graph, running_orchestrator


async def _made(api, simulator, graph, **metadata):
    line = await Line.of(api)
    await line.add_worker(simulator.url, max_concurrent_jobs=2)
    task = await line.frozen_task(prompts=3, seeds=5, graph=graph, **metadata)
    await line.run(task)
    assert (await line.until_ended(task))["done"] == 15
    return await line.images(task)


def _as_logged(simulator):
    """(prompt, seed, batch_index, sha256) of every picture that the worker made."""
    return Counter(
        (image.prompt, image.seed, image.batch_index, image.digests.clean)
        for entry in simulator.log
        for image in entry.images
    )


def _as_recorded(rows):
    return Counter((row["text"], row["seed_value"], row["batch_index"], row["checksum"]) for row in rows)


async def test_native_batches_record_the_seed_sent_and_the_place_in_the_batch(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        rows = await _made(api, simulator, NATIVE_GRAPH, max_batch_size=4)
    assert [(entry.batch_size) for entry in sorted(simulator.log, key=lambda entry: entry.number)].count(4) == 3
    assert Counter(entry.batch_size for entry in simulator.log) == {4: 3, 1: 3}
    assert [row["batch_index"] for row in rows[:5]] == [0, 1, 2, 3, 0]
    assert len({row["seed_value"] for row in rows[:4]}) == 1
    assert _as_recorded(rows) == _as_logged(simulator)


async def test_without_the_node_every_seed_is_a_submission_of_its_own(api):
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        rows = await _made(api, simulator, loop_graph(), max_batch_size=4)
    assert Counter(entry.batch_size for entry in simulator.log) == {1: 15}
    assert {(row["batch_index"], row["batch_size"]) for row in rows} == {(0, 1)}
    assert len({row["seed_value"] for row in rows}) == 15
    assert _as_recorded(rows) == _as_logged(simulator)


async def test_a_fixed_seed_behaviour_would_make_equal_images_so_the_loop_is_used(api):
    fixed = NATIVE_GRAPH | {
        "10": {"class_type": "LatentBatchSeedBehavior", "inputs": {"samples": ["5", 0], "seed_behavior": "fixed"}}
    }
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        rows = await _made(api, simulator, fixed, max_batch_size=4)
    assert len({row["checksum"] for row in rows}) == 15
    assert _as_recorded(rows) == _as_logged(simulator)


@pytest.mark.parametrize("graph", [NATIVE_GRAPH, loop_graph()], ids=["native", "loop"])
async def test_only_bound_inputs_are_changed_in_what_is_sent(api, graph):
    """No prompt mutation, no hidden batch size, no added node."""
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await _made(api, simulator, graph, max_batch_size=2)
    may_differ = {
        ("6", "text"),
        ("3", "seed"),
        ("5", "batch_size"),
        ("5", "width"),
        ("5", "height"),
        ("9", "filename_prefix"),
    }
    for entry in simulator.log:
        assert set(entry.graph) == set(graph)
        assert entry.graph["5"]["inputs"]["batch_size"] <= 2
        changed = {
            (node, name)
            for node, spec in graph.items()
            for name, value in spec["inputs"].items()
            if entry.graph[node]["inputs"][name] != value
        }
        assert changed <= may_differ


async def test_the_export_says_what_is_stored(api):
    """Every URI of the export is a file whose bytes have the recorded checksum, with the recorded seed."""
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        rows = await _made(api, simulator, NATIVE_GRAPH, max_batch_size=4)
    made = {(image.seed, image.batch_index): image.digests.clean for entry in simulator.log for image in entry.images}

    for row in rows:
        stored = Path(unquote(urlsplit(api.app.state.store.uri(row["image_uri"])).path)).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == row["checksum"] == made[row["seed_value"], row["batch_index"]]
