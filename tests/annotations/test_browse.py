from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from comfylabel.http.pagination import encode_cursor
from tests.annotations.conftest import Labelling, running_task
from tests.support.rows import add_task, finish_batches
from tests.support.unchanged import nothing_changes


async def browse(labelling: Labelling, role: str = "annotator", **params: Any) -> dict[str, Any]:
    client = await labelling.api.as_role(role)
    answer = await client.get(f"/api/tasks/{labelling.task.id}/batches", params=params)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def paths(urls: list[str]) -> list[str]:
    return [urlsplit(url).path for url in urls]


async def test_an_item_holds_what_the_screen_needs_in_candidate_order(api, database, labelling):
    """Four images in chunks of two, the last one failed."""
    async with database.connection() as connection:
        labelling.task = await running_task(
            connection, state="DONE", prompts=1, batch_size=2, failed=[3], texts=["a model wearing ..."]
        )

    (item,) = (await browse(labelling))["items"]

    keys = await _keys(labelling, 0)
    assert {**item, "thumbnails": paths(item["thumbnails"])} == {
        "batch_id": str(labelling.task.batches[0]),
        "prompt": "a model wearing ...",
        "seeds": [1000, 1000, 1002],
        "thumbnails": [f"/images/{key}" for key in keys["thumbnail_uri"]],
        "fullres": item["fullres"],
        "tiles": item["tiles"],
        "previews": item["previews"],
        "sizes": [[1024, 1024]] * 3,
        "batch_indexes": [0, 1, 0],
        "generation_ids": [str(each) for each in labelling.task.generations[0][:3]],
        "my_annotation": None,
    }
    assert paths(item["fullres"]) == [f"/images/{key}" for key in keys["image_uri"]]
    assert paths(item["tiles"]) == [f"/images/{key}" for key in keys["tile_uri"]]
    assert paths(item["previews"]) == [f"/images/{key}" for key in keys["preview_uri"]]


async def _keys(labelling: Labelling, batch: int) -> dict[str, list[str]]:
    async with labelling.database.connection() as connection:
        row = await connection.fetchrow(
            """select array_agg(image_uri order by position) as image_uri,
                      array_agg(thumbnail_uri order by position) as thumbnail_uri,
                      array_agg(tile_uri order by position) as tile_uri,
                      array_agg(preview_uri order by position) as preview_uri
               from generations where batch_id = $1 and state = 'done'""",
            labelling.task.batches[batch],
        )
    assert row
    return dict(row)


async def test_where_an_image_has_no_tile_its_preview_stands_in(labelling):
    """Images that were made before there were tiles."""
    await labelling.execute("update generations set tile_uri = null where candidate_index = 1")

    item = (await browse(labelling))["items"][0]

    assert [url.endswith(".640.webp") for url in paths(item["tiles"])] == [True, False, True, True]
    assert item["tiles"][1] == item["previews"][1]


async def test_what_i_answered_stands_beside_the_batch_and_nobody_elses(labelling):
    stored = await labelling.stored(chosen_index=2, rejected_index=1)

    mine = {item["batch_id"]: item["my_annotation"] for item in (await browse(labelling))["items"]}
    theirs = [item["my_annotation"] for item in (await browse(labelling, "operator"))["items"]]

    assert mine.pop(str(labelling.task.batches[0])) == {
        "id": stored["id"],
        "kind": "choice",
        "chosen_index": 2,
        "rejected_index": 1,
        "spam": False,
        "surplus": False,
    }
    assert list(mine.values()) == [None, None]
    assert theirs == [None, None, None]


async def test_pages_follow_the_order_of_becoming_ready_both_ways(labelling):
    """Readiness does not follow position, and batches of one moment are ordered by id."""
    async with labelling.database.connection() as connection:
        task = labelling.task = await running_task(connection, prompts=7, finished=False)
        start = datetime(2026, 11, 22, tzinfo=UTC)
        for moment, positions in enumerate([[6], [1, 0], [4, 3], [2]]):
            batches = [task.batches[position] for position in positions]
            await finish_batches(connection, batches, ready_at=start + timedelta(microseconds=moment))
    ready = [task.batches[6], *sorted(task.batches[:2]), *sorted(task.batches[3:5]), task.batches[2]]

    first = await browse(labelling, limit=2)
    second = await browse(labelling, limit=2, cursor=first["next_cursor"])
    third = await browse(labelling, limit=2, cursor=second["next_cursor"])

    pages = [first, second, third]
    assert [item["batch_id"] for page in pages for item in page["items"]] == [str(batch) for batch in ready]
    assert (first["previous_cursor"], third["next_cursor"]) == (None, None)
    assert (await browse(labelling, limit=2, cursor=third["previous_cursor"]))["items"] == second["items"]
    assert await browse(labelling, limit=2, cursor=second["previous_cursor"]) == first


async def test_only_ready_batches_of_the_task_are_shown(api, database, labelling):
    async with database.connection() as connection:
        other = await running_task(connection, finished=False)
        await finish_batches(connection, other.batches[1:2])
    shown = await browse(labelling)
    labelling.task = other

    assert len(shown["items"]) == 3
    assert [item["batch_id"] for item in (await browse(labelling))["items"]] == [str(other.batches[1])]


@pytest.mark.parametrize("state", ["DRAFT", "FROZEN", "RUNNING"])
async def test_a_task_without_ready_batches_shows_an_empty_page(database, labelling, state):
    async with database.connection() as connection:
        labelling.task = await add_task(connection, state=state)
    assert await browse(labelling) == {"items": [], "next_cursor": None, "previous_cursor": None}


async def test_a_blind_task_hides_seeds_from_annotators_and_from_nobody_else(labelling):
    await labelling.execute("update tasks set blind = true")

    hidden = (await browse(labelling))["items"]
    shown = (await browse(labelling, "operator"))["items"]

    assert sorted(item["seeds"][0] for item in shown) == [1000, 2000, 3000]
    assert [item["batch_indexes"] for item in shown] == [[0, 1, 2, 3]] * 3
    assert hidden == [item | {"seeds": [], "batch_indexes": []} for item in shown]


async def test_looking_changes_nothing(labelling):
    async with nothing_changes(labelling.database):
        await browse(labelling)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": encode_cursor({"at": "2026-11-22", "id": str(uuid4()), "back": False})}, "cursor"),
        ({"cursor": "a" * 1001}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "all"}, "limit"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(labelling, params, path):
    client = await labelling.api.as_role("annotator")

    answer = await client.get(f"/api/tasks/{labelling.task.id}/batches", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["data"]["errors"][0]["path"] == path


async def test_a_page_of_no_task_is_not_there(labelling):
    client = await labelling.api.as_role("annotator")
    nowhere = uuid4()

    answer = await client.get(f"/api/tasks/{nowhere}/batches")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["error"] == f"There is no task {nowhere}."


async def tasks_to_label(labelling: Labelling, role: str = "annotator", **params: Any) -> dict[str, Any]:
    client = await labelling.api.as_role(role)
    answer = await client.get("/api/labelling", params=params)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_an_annotator_sees_the_tasks_that_hold_something_to_judge(database, labelling):
    async with database.connection() as connection:
        await add_task(connection, state="DRAFT")
        await add_task(connection, state="FROZEN")
        await running_task(connection, finished=False)
    await labelling.stored(kind="skip")
    await labelling.stored("operator", batch=1, kind="tie")

    (task,) = (await tasks_to_label(labelling))["items"]

    assert task | {"workflow": "", "created_at": ""} == {
        "task_id": str(labelling.task.id),
        "state": "RUNNING",
        "notes": None,
        "workflow": "",
        "ab_test": None,
        "blind": False,
        "batches": 3,
        "ready_batches": 3,
        "done_by_me": 1,
        "created_at": "",
    }


async def test_the_tasks_come_newest_first_a_page_at_a_time(database, labelling):
    async with database.connection() as connection:
        newer = [await running_task(connection, prompts=1) for _ in range(4)]
    pages = [await tasks_to_label(labelling, limit=2)]
    while pages[-1]["next_cursor"]:
        pages.append(await tasks_to_label(labelling, limit=2, cursor=pages[-1]["next_cursor"]))

    expected = [str(task.id) for task in [*reversed(newer), labelling.task]]
    assert [[item["task_id"] for item in page["items"]] for page in pages] == [
        expected[:2],
        expected[2:4],
        expected[4:],
    ]


async def test_the_workflow_of_a_blind_task_is_hidden_from_annotators(labelling):
    await labelling.execute("update tasks set blind = true")

    (hidden,) = (await tasks_to_label(labelling))["items"]
    (shown,) = (await tasks_to_label(labelling, "operator"))["items"]

    assert hidden["workflow"] is None
    assert shown["workflow"].startswith("workflow-")


async def test_a_task_under_test_names_its_test_so_that_the_page_can_ask_for_its_variant(labelling):
    admin = await labelling.api.as_role("admin")
    test = {"name": "prefetch", "variants": [{"key": "A", "weight": 1}], "expires_at": "2099-01-01T00:00:00Z"}
    created = await admin.post("/api/ab-tests", json=test)
    await labelling.execute("update tasks set ab_test_id = $1", created.json()["data"]["id"])

    (task,) = (await tasks_to_label(labelling))["items"]

    annotator = await labelling.api.as_role("annotator")
    assigned = await annotator.post("/api/ab-tests/assign", json={"test_name": task["ab_test"]})
    assert assigned.json()["data"] == {"variant": "A"}


async def generation(labelling: Labelling, role: str, generation_id: object) -> httpx.Response:
    return await (await labelling.api.as_role(role)).get(f"/api/generations/{generation_id}")


async def test_a_generation_tells_where_it_came_from(labelling):
    generation_id = labelling.task.generations[1][2]

    data = (await generation(labelling, "annotator", generation_id)).json()["data"]

    assert data["id"] == str(generation_id)
    assert data["batch_id"] == str(labelling.task.batches[1])
    assert data["prompt"] == "prompt 1"
    assert (data["seed"], data["batch_index"], data["batch_size"], data["candidate_index"]) == (2000, 2, 4, 2)
    assert data["worker_id"] == str(labelling.task.worker_id)
    assert data["worker"].startswith("worker-")
    assert data["metadata"]["model"] == "sdxl"
    assert urlsplit(data["fullres"]).path == f"/images/{await _image_key(labelling, generation_id)}"


async def _image_key(labelling: Labelling, generation_id: object) -> str:
    key: str = await labelling.value("select image_uri from generations where id = $1", generation_id)
    return key


async def test_a_blind_generation_names_neither_seed_nor_model_nor_worker_to_an_annotator(labelling):
    await labelling.execute("update tasks set blind = true")
    generation_id = labelling.task.generations[1][2]

    hidden = (await generation(labelling, "annotator", generation_id)).json()["data"]
    shown = (await generation(labelling, "operator", generation_id)).json()["data"]

    concealed = {name for name in shown if hidden[name] != shown[name]}
    assert concealed == {
        "seed",
        "batch_index",
        "batch_size",
        "worker_id",
        "worker",
        "submission_id",
        "metadata",
    }
    assert {hidden[name] for name in concealed} == {None}


async def test_an_image_still_to_be_made_has_no_address(database, labelling):
    async with database.connection() as connection:
        task = await running_task(connection, finished=False)

    data = (await generation(labelling, "annotator", task.generations[0][0])).json()["data"]

    assert data["state"] == "pending"
    assert [data[name] for name in ("fullres", "thumbnail", "preview", "sha256", "worker")] == [None] * 5


async def test_a_generation_that_is_not_there(labelling):
    nowhere = uuid4()
    answer = await generation(labelling, "annotator", nowhere)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["error"] == f"There is no generation {nowhere}."
    assert (await generation(labelling, "annotator", "first")).status_code == 422
