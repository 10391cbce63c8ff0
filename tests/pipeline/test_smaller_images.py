"""Whoever looks at an image never waits for more pixels than a screen shows: each has three smaller versions."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from comfylabel.comfy.simulator import running_simulator
from comfylabel.storage.store import ObjectStore
from tests.support.app import Api
from tests.support.images import pixels
from tests.support.pipeline import NATIVE_GRAPH, Line, running_orchestrator

LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 1152, "height": 768, "batch_size": 1}}
ROWS = """
select image_uri, thumbnail_uri, tile_uri, preview_uri from generations where task_id = $1 and pilot = $2
"""


@pytest.fixture
async def line(api: Api) -> AsyncIterator[Line]:
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        line = await Line.of(api)
        await line.add_worker(simulator.url)
        yield line


async def sizes(api: Api, line: Line, task: str, *, pilot: bool) -> list[list[Any]]:
    """Width and height of what lies behind each address of each image."""
    store: ObjectStore = api.app.state.store
    rows = await line.database.pool.fetch(ROWS, UUID(task), pilot)
    return [[pixels(await store.get(key))[:2] for key in row] for row in rows]


EXPECTED = [(1152, 768), (256, 171), (640, 427), (1024, 683)]


async def test_an_image_of_a_run_and_of_a_pilot_has_thumbnail_tile_and_preview(api: Api, line: Line):
    workflow = await line.add_workflow(NATIVE_GRAPH | {"5": LATENT})
    task = (await line.add_task(workflow, [await line.add_pool()], prompts=1, seeds=2))["id"]
    await line.call("POST", f"/api/tasks/{task}/pilot")
    await line.call("POST", f"/api/tasks/{task}/freeze")
    await line.run(task)
    await line.until_ended(task)

    assert await sizes(api, line, task, pilot=False) == [EXPECTED] * 2
    assert await sizes(api, line, task, pilot=True) == [EXPECTED] * 10
