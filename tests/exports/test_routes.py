"""The export as a client meets it: shapes, refusals, going on, breaking off."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
import uvicorn
from fastapi import FastAPI

from comfylabel.db.pool import Connection, Database
from comfylabel.exports.service import MAX_STREAMS
from tests.support.app import Api
from tests.support.rows import TaskRows, add_task, add_user, add_worker, annotate
from tests.support.waiting import until

GUIDE_KEYS = ["prompt", "chosen", "rejected", "workflow_id", "model", "variable_pool_version", "created_at"]


async def labelled(connection: Connection, **options: Any) -> TaskRows:
    """Three batches, each with image 1 chosen by ann."""
    task = await add_task(connection, options.pop("state", "DONE"), **{"prompts": 3, "finished": True} | options)
    ann = await add_user(connection, f"ann-{task.id}")
    for batch_id in task.batches:
        await annotate(connection, batch_id, ann, chosen=1)
    return task


def url(task: TaskRows | UUID) -> str:
    return f"/api/tasks/{task.id if isinstance(task, TaskRows) else task}/export/dpo"


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_a_line_is_exactly_the_guides(api: Api, database: Database):
    async with database.connection() as connection:
        task = await labelled(connection)
    client = await api.as_role("operator")
    answer = await client.get(url(task))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == f'attachment; filename="task-{task.id}-dpo.jsonl"'
    lines = lines_of(answer.text)
    assert [line["prompt"] for line in lines] == ["prompt 0", "prompt 1", "prompt 2"]
    first = lines[0]
    assert list(first) == GUIDE_KEYS
    assert list(first["chosen"]) == ["uri", "seed"]
    assert first["chosen"]["seed"] == 1000
    assert first["chosen"]["uri"].startswith(api.app.state.store.base_uri + f"/tasks/{task.id}/")
    assert first["chosen"]["uri"].startswith("file:///")
    assert len(first["rejected"]) == 3
    assert (first["workflow_id"], first["model"], first["variable_pool_version"]) == (
        str(task.workflow_id),
        "sdxl",
        "v5",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["created_at"])


async def test_the_full_profile_tells_where_everything_comes_from(api: Api, database: Database):
    async with database.connection() as connection:
        worker = await add_worker(connection)
        task = await labelled(connection, worker_id=worker, variables={"dress": "summer dress"}, prompts=2)
    answer = await (await api.as_role("operator")).get(url(task), params={"profile": "full"})
    line, other = lines_of(answer.text)
    chosen = line["chosen"]
    assert chosen | {"uri": "", "sha256": "", "generation_id": ""} == {
        "uri": "",
        "seed": 1000,
        "batch_index": 1,
        "batch_size": 4,
        "sha256": "",
        "bytes": 1750000,
        "width": 1024,
        "height": 1024,
        "generation_id": "",
        "worker_id": str(worker),
    }
    assert chosen["generation_id"] == str(task.generations[0][1])
    assert chosen["uri"].endswith(f"/{chosen['sha256']}.png")
    assert line["variables_json"] == '{"dress": "summer dress"}'
    assert (line["task_id"], line["batch_id"], line["votes"]) == (str(task.id), str(task.batches[0]), 1)
    assert line["snapshot_digest"].startswith("sha256:")
    assert (line["seed_mode"], line["schema_version"]) == ("native", 1)
    assert line["annotator"] == other["annotator"]
    assert "ann" not in line["annotator"]


async def test_the_same_annotator_has_another_name_in_another_task(api: Api, database: Database):
    async with database.connection() as connection:
        ann = await add_user(connection, "ann")
        tasks = [await add_task(connection, "DONE", prompts=1) for _ in range(2)]
        for task in tasks:
            await annotate(connection, task.batches[0], ann, chosen=0)
    client = await api.as_role("operator")
    names = [lines_of((await client.get(url(task), params={"profile": "full"})).text)[0]["annotator"] for task in tasks]
    assert names[0] != names[1]


@pytest.mark.parametrize("state", ["RUNNING", "DONE", "FAILED"])
async def test_labels_can_be_exported_while_it_runs_and_after(api: Api, database: Database, state: str):
    async with database.connection() as connection:
        task = await labelled(connection, state=state)
    answer = await (await api.as_role("operator")).get(url(task))
    assert len(lines_of(answer.text)) == 3


@pytest.mark.parametrize("state", ["DRAFT", "FROZEN"])
@pytest.mark.parametrize("tail", ["", "/summary"])
async def test_before_a_run_there_is_nothing_to_export(api: Api, database: Database, state: str, tail: str):
    async with database.connection() as connection:
        task = await add_task(connection, state)
    answer = await (await api.as_role("operator")).get(url(task) + tail)
    assert answer.status_code == 409
    assert answer.json() == {
        "success": False,
        "data": None,
        "error": f"The task is {state}: there is nothing to export before it runs.",
        "code": "wrong_state",
    }


async def test_an_export_goes_on_after_a_line(api: Api, database: Database):
    async with database.connection() as connection:
        task = await labelled(connection)
    client = await api.as_role("operator")
    whole = (await client.get(url(task), params={"profile": "full"})).text.splitlines()
    last = json.loads(whole[0])["batch_id"]
    rest = await client.get(url(task), params={"profile": "full", "cursor": last})
    assert rest.text.splitlines() == whole[1:]
    end = await client.get(url(task), params={"cursor": json.loads(whole[-1])["batch_id"]})
    assert (end.status_code, end.text) == (200, "")


@pytest.mark.parametrize(
    ("parameters", "path"),
    [({"cursor": "abc"}, "cursor"), ({"cursor": str(uuid4())}, "cursor"), ({"profile": "half"}, "profile")],
)
async def test_bad_parameters_are_named(api: Api, database: Database, parameters: dict[str, str], path: str):
    async with database.connection() as connection:
        task = await labelled(connection)
    answer = await (await api.as_role("operator")).get(url(task), params=parameters)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["data"]["errors"][0]["path"] == path


async def test_unknown_tasks_and_annotators_get_nothing(api: Api, database: Database):
    operator, annotator = await api.as_role("operator"), await api.as_role("annotator")
    for tail in ("", "/summary"):
        assert (await operator.get(url(uuid4()) + tail)).status_code == 404
        assert (await annotator.get(url(uuid4()) + tail)).status_code == 403
        assert (await api.anonymous.get(url(uuid4()) + tail)).status_code == 401


async def test_the_summary_counts_what_is_left_out_and_why(api: Api, database: Database):
    async with database.connection() as connection:
        task = await add_task(connection, "DONE", prompts=7)
        ann, bob = await add_user(connection, "ann"), await add_user(connection, "bob")
        choice, draw, spam, tie, skip, surplus, _untouched = task.batches
        await annotate(connection, choice, ann, chosen=0, rejected=2)
        await annotate(connection, draw, ann, chosen=0)
        await annotate(connection, draw, bob, chosen=1)
        await annotate(connection, spam, ann, kind="spam")
        await annotate(connection, tie, ann, kind="tie")
        await annotate(connection, skip, ann, kind="skip")
        await annotate(connection, surplus, ann, chosen=1, surplus=True)
    client = await api.as_role("operator")
    summary = (await client.get(url(task) + "/summary")).json()["data"]
    lines = lines_of((await client.get(url(task))).text)
    assert summary == {
        "task_id": str(task.id),
        "lines": 1,
        "left_out": {
            "not_ready": 0,
            "spam": 1,
            "unanswered": 2,
            "skipped": 1,
            "tie": 1,
            "draw": 1,
            "single_image": 0,
        },
        "answers": {"choice": 3, "tie": 1, "spam": 1, "skip": 1, "surplus": 1},
        "preview": lines,
    }
    assert [image["seed"] for image in lines[0]["rejected"]] == [1000]


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The app on a real socket, whose cut answers a client can see."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


async def many_lines(connection: Connection) -> TaskRows:
    """20 MB of lines: more than any buffer on the way holds."""
    task = await add_task(connection, "DONE", prompts=4000, texts=["long " * 1000] * 4000)
    ann = await add_user(connection, "ann")
    await connection.execute(
        """
        insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, chosen_generation_id)
        select gen_random_uuid(), b.id, b.task_id, b.prompt_id, $2, 'choice', 0, g.id
        from batches b join generations g on g.batch_id = b.id and g.candidate_index = 0 where b.task_id = $1
        """,
        task.id,
        ann,
    )
    return task


EXPORTING = "select pid from pg_stat_activity where query ilike 'copy (%' and state = 'active'"


async def operators_token(api: Api) -> dict[str, str]:
    client = await api.with_token("operator")
    return {"authorization": client.headers["authorization"]}


async def test_an_export_that_fails_on_the_way_breaks_off_and_does_not_end_cleanly(api: Api, database: Database):
    async with database.connection() as connection:
        task = await many_lines(connection)
    headers = await operators_token(api)
    async with (
        served(api.app) as origin,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(origin + url(task)) as response,
    ):
        assert response.status == 200
        await response.content.readexactly(1000)
        async with database.connection() as connection:
            assert await connection.fetch(f"select pg_terminate_backend(pid) from ({EXPORTING}) exporting")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_a_reader_who_leaves_frees_the_connection(api: Api, database: Database):
    async with database.connection() as connection:
        task = await many_lines(connection)
    headers = await operators_token(api)
    async with served(api.app) as origin, aiohttp.ClientSession(headers=headers) as session:
        for _ in range(2 * MAX_STREAMS):
            async with session.get(origin + url(task)) as response:
                assert response.status == 200, await response.text()
                await response.content.readexactly(1000)
                response.close()
            await until(lambda: not api.app.state.exports._writers)
        async with session.get(origin + url(task), params={"cursor": str(task.batches[-2])}) as response:
            assert len(await response.text()) > 5000
    async with database.connection() as connection:
        assert await connection.fetch(EXPORTING) == []


async def test_too_many_downloads_at_once_are_asked_to_wait(api: Api, database: Database):
    async with database.connection() as connection:
        task = await many_lines(connection)
    service = api.app.state.exports
    open_ones = [await service.dpo_lines(task.id, profile="default", cursor=None) for _ in range(MAX_STREAMS)]
    answer = await (await api.as_role("operator")).get(url(task))
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        429,
        "too_many_requests",
        "30",
    )
    for lines in open_ones:
        lines.leave()
    await until(lambda: not service._writers)
    assert (await (await api.as_role("operator")).get(url(task))).status_code == 200


async def test_without_a_database_the_answer_is_an_error_and_no_empty_file(api: Api, database: Database):
    async with database.connection() as connection:
        task = await labelled(connection)
    await api.app.state.database.pool.close()
    with pytest.raises(asyncpg.InterfaceError):
        await api.app.state.exports.dpo_lines(task.id, profile="default", cursor=None)
