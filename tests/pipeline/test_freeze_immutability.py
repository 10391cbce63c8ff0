"""After freeze prompts, seeds and snapshot cannot change; the export matches what is stored."""

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import asyncpg
import pytest

from comfylabel.comfy.simulator import running_simulator
from tests.support.pipeline import Line, running_orchestrator

ATTACKS = [
    "update prompts set text = 'another' where task_id = $1",
    "delete from prompts where task_id = $1",
    "update seeds set seed_value = 1 where prompt_id in (select id from prompts where task_id = $1)",
    "delete from seeds where prompt_id in (select id from prompts where task_id = $1)",
    "insert into prompts (id, task_id, position, text) values (gen_random_uuid(), $1, 99, 'one more')",
    """insert into seeds (id, prompt_id, position, seed_value)
       select gen_random_uuid(), id, 99, 5 from prompts where task_id = $1""",
    "update tasks set frozen_snapshot = '{}' where id = $1",
    "update tasks set digest = 'x' where id = $1",
    "update tasks set state = 'DRAFT', frozen_snapshot = null, frozen_at = null where id = $1",
]


async def test_freeze_makes_prompts_seeds_and_snapshot_immutable_by_api_and_by_sql(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2, seeds=3)
    before = await _document(line, task)
    prompt = (await line.call("GET", f"/api/tasks/{task}/prompts"))["items"][0]["id"]
    for method, path, body in (
        ("PATCH", f"/api/tasks/{task}/prompts/{prompt}", {"text": "another"}),
        ("DELETE", f"/api/tasks/{task}/prompts/{prompt}", None),
        ("POST", f"/api/tasks/{task}/prompts", {"text": "one more"}),
        ("POST", f"/api/tasks/{task}/freeze", None),
        ("POST", f"/api/tasks/{task}/pilot", None),
    ):
        answer = await line.admin.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state"), path
    for sql in ATTACKS:
        with pytest.raises(asyncpg.PostgresError, match=r"frozen|foreign key"):
            await line.database.pool.execute(sql, UUID(task))
    for table in ("seeds", "prompts"):
        with pytest.raises(asyncpg.PostgresError, match=r"frozen|foreign key"):
            await line.database.pool.execute(f"truncate {table} cascade")
    assert await _document(line, task) == before


async def test_the_snapshot_is_the_document_whose_hash_is_the_digest(api):
    line = await Line.of(api)
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=3, seeds=2)
    digest = (await line.call("GET", f"/api/tasks/{task}"))["digest"]
    document = await _document(line, task)
    assert digest.removeprefix("sha256:") == hashlib.sha256(document).hexdigest()
    assert [len(prompt["seeds"]) for prompt in json.loads(document)["prompts"]] == [2, 2, 2]


async def test_dpo_export_matches_stored_metadata_and_files(api):
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, api.app.state.database.url):
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=4, seeds=3, model="sdxl")
        await line.run(task)
        await line.until_ended(task)
    batches = (await line.call("GET", f"/api/tasks/{task}/batches"))["items"]
    for batch, chosen in zip(batches, (0, 1, 2, 0), strict=True):
        body = {"task_id": task, "batch_id": batch["batch_id"], "chosen_index": chosen, "spam": False}
        await line.call("POST", "/api/annotations", json=body)
    export = await line.admin.get(f"/api/tasks/{task}/export/dpo")
    lines = [json.loads(text) for text in export.text.splitlines()]
    assert len(lines) == 4

    rows = await line.images(task)
    by_uri = {api.app.state.store.uri(row["image_uri"]): row for row in rows}
    made = {
        (image.prompt, image.seed, image.batch_index): image.digests.clean for e in simulator.log for image in e.images
    }
    for exported in lines:
        assert list(exported) == [
            "prompt", "chosen", "rejected", "workflow_id", "model", "variable_pool_version", "created_at",
        ]  # fmt: skip
        images = [exported["chosen"], *exported["rejected"]]
        assert len(images) == 3
        for image in images:
            row = by_uri[image["uri"]]
            assert (row["text"], row["seed_value"]) == (exported["prompt"], image["seed"])
            content = Path(unquote(urlsplit(image["uri"]).path)).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            assert digest == row["checksum"] == made[row["text"], row["seed_value"], row["batch_index"]]
        assert (exported["model"], exported["variable_pool_version"]) == ("sdxl", "v1")


async def _document(line: Line, task: str) -> bytes:
    answer = await line.admin.get(f"/api/tasks/{task}/snapshot")
    assert answer.status_code == 200
    return answer.content
