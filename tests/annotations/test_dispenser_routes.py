"""Leasing over HTTP: the shapes, who may ask, and what strangers send."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from comfylabel.annotations.deal import deal
from comfylabel.db.pool import PLAN_BY_INDEX
from tests.annotations.conftest import Labelling, running_task
from tests.support.app import running_api, settings_for
from tests.support.unchanged import nothing_changes


async def post(labelling: Labelling, path: str, body: Any = None, role: str = "annotator") -> httpx.Response:
    client = await labelling.api.as_role(role)
    return await client.post(f"/api/tasks/{labelling.task.id}/batches/{path}", json=body)


async def next_of(labelling: Labelling, role: str = "annotator", **asked: Any) -> dict[str, Any]:
    answer = await post(labelling, "next", asked, role)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_next_answers_with_all_that_a_page_needs(labelling):
    answer = await next_of(labelling, count=2)

    me, first = await labelling.user_id(), labelling.task.batches[0]
    item = answer["items"][0]
    assert (len(answer["items"]), answer["open"], answer["hold"], answer["state"]) == (2, 3, 3, "work")
    assert answer.keys() == {
        *("items", "dropped", "done_by_me", "open", "hold", "state", "retry_after", "lease_seconds", "variant")
    }
    assert item["slot_order"] == deal(UUID(item["batch_id"]), me, 4)
    assert item["leased_until"].endswith("Z")
    assert {len(item[name]) for name in ("thumbnails", "tiles", "previews", "fullres", "sizes", "seeds")} == {4}
    page = await (await labelling.api.as_role("annotator")).get(f"/api/tasks/{labelling.task.id}/batches")
    browsed = next(batch for batch in page.json()["data"]["items"] if batch["batch_id"] == item["batch_id"])
    assert {name: item[name] for name in browsed} == browsed
    assert str(first) in {batch["batch_id"] for batch in page.json()["data"]["items"]}


@pytest.mark.parametrize("body", [None, {}, {"have": []}, {"offline": True, "count": 200}])
async def test_next_needs_no_more_than_the_task(labelling, body):
    answer = await post(labelling, "next", body)
    assert (answer.status_code, len(answer.json()["data"]["items"])) == (200, 3)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"count": 0}, "count"),
        ({"count": -1}, "count"),
        ({"count": 21}, "count"),
        ({"count": 201, "offline": True}, "count"),
        ({"count": "many"}, "count"),
        ({"count": True}, "count"),
        ({"have": ["first"]}, "have[0]"),
        ({"have": [str(uuid4()) for _ in range(201)]}, "have"),
        ({"have": None}, "have"),
        ({"offline": "no"}, "offline"),
        ({"user_id": str(uuid4())}, "user_id"),
        ([], "body"),
    ],
)
async def test_a_next_that_cannot_be_is_refused_and_leases_nothing(labelling, body, path):
    async with nothing_changes(labelling.database):
        answer = await post(labelling, "next", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    assert answer.json()["data"]["errors"][0]["path"] == path


@pytest.mark.parametrize(
    "body", [{"batch_ids": ["x"]}, {"batch_ids": [str(uuid4())] * 201}, {"batches": []}, {"batch_ids": "all"}]
)
async def test_a_release_that_cannot_be_is_refused(labelling, body):
    await next_of(labelling)
    async with nothing_changes(labelling.database):
        answer = await post(labelling, "release", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text


async def test_200_ids_of_other_tasks_are_dropped(labelling):
    async with labelling.database.connection() as connection:
        other = await running_task(connection)
    strange = [str(batch) for batch in other.batches] + [str(uuid4()) for _ in range(197)]

    answer = await next_of(labelling, have=strange)

    assert (answer["dropped"], len(answer["items"])) == (strange, 3)
    assert await labelling.value("select count(*) from leases where task_id = $1", other.id) == 0


@pytest.mark.parametrize("body", [None, {}, {"batch_ids": None}])
async def test_release_gives_all_back_unless_told_which(labelling, body):
    await next_of(labelling)
    answer = await post(labelling, "release", body)
    assert (answer.status_code, answer.json()["data"]) == (200, {"released": 3})
    assert len((await next_of(labelling, "operator"))["items"]) == 2


async def test_release_gives_back_what_is_named(labelling):
    leased = [item["batch_id"] for item in (await next_of(labelling))["items"]]
    answer = await post(labelling, "release", {"batch_ids": [leased[1], str(uuid4())]})
    assert answer.json()["data"] == {"released": 1}


async def test_to_annotators_of_a_blind_task_no_seed_is_told(labelling):
    await labelling.execute("update tasks set blind = true")
    batch = f"/api/tasks/{labelling.task.id}/batches/{labelling.task.batches[0]}"

    leased = (await next_of(labelling, count=1))["items"][0]
    shown = (await (await labelling.api.as_role("annotator")).get(batch)).json()["data"]
    of_operator = (await (await labelling.api.as_role("operator")).get(batch)).json()["data"]

    assert [leased["seeds"], leased["batch_indexes"], shown["seeds"], shown["batch_indexes"]] == [[]] * 4
    assert of_operator["seeds"] == [1000] * 4


async def test_who_was_disabled_gets_nothing_and_their_leases_run_out(labelling):
    client = await labelling.api.as_role("annotator")
    await next_of(labelling)
    admin = await labelling.api.as_role("admin")
    disabled = await admin.patch(f"/api/users/{await labelling.user_id()}", json={"disabled": True})
    assert disabled.status_code == 200, disabled.text

    async with nothing_changes(labelling.database):
        for path in ("next", "release"):
            answer = await client.post(f"/api/tasks/{labelling.task.id}/batches/{path}", json={})
            assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    await labelling.execute("update labellers set seen_at = now() - interval '16 minutes'")

    assert len((await next_of(labelling, "operator"))["items"]) == 3


@pytest.mark.parametrize("state", ["DRAFT", "FROZEN"])
async def test_a_task_that_does_not_run_yet_hands_out_nothing(labelling, state):
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(connection, state=state, finished=False)

    answer = await post(labelling, "next", {})

    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert answer.json()["error"] == f"This task is {state}: nothing in it can be judged before it runs."


async def test_no_task_and_no_batch(labelling):
    client, nowhere = await labelling.api.as_role("annotator"), uuid4()
    here = labelling.task.id
    answers = [
        await client.post(f"/api/tasks/{nowhere}/batches/next", json={}),
        await client.post(f"/api/tasks/{nowhere}/batches/release", json={}),
        await client.get(f"/api/tasks/{nowhere}/batches/{labelling.task.batches[0]}"),
        await client.get(f"/api/tasks/{here}/batches/{nowhere}"),
        await client.get(f"/api/labelling/{nowhere}"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 5


async def test_a_batch_is_shown_with_addresses_made_now(labelling):
    client = await labelling.api.as_role("annotator")
    async with nothing_changes(labelling.database):
        answer = await client.get(f"/api/tasks/{labelling.task.id}/batches/{labelling.task.batches[1]}")
    data = answer.json()["data"]
    assert data["batch_id"] == str(labelling.task.batches[1])
    assert sorted(data["slot_order"]) == [0, 1, 2, 3]
    assert urlsplit(data["tiles"][0]).path.startswith("/images/tasks/")


async def test_an_answer_given_over_http_frees_the_queue(labelling):
    leased = [item["batch_id"] for item in (await next_of(labelling, count=2))["items"]]
    await labelling.stored(batch=0, batch_id=leased[0], kind="tie", client_id="c1")

    answer = await next_of(labelling, count=2, have=leased)

    assert (answer["dropped"], len(answer["items"]), answer["done_by_me"]) == (leased[:1], 1, 1)
    assert answer["items"][0]["position"] == 3


async def test_one_task_of_the_list(labelling):
    await labelling.stored(kind="tie")
    client = await labelling.api.as_role("annotator")

    (listed,) = (await client.get("/api/labelling")).json()["data"]["items"]
    one = (await client.get(f"/api/labelling/{labelling.task.id}")).json()["data"]

    assert one == listed
    assert one["done_by_me"] == 1


async def test_a_variant_is_assigned_at_the_first_next_and_moves_the_images(database_url, database, tmp_path):
    cdn = "https://b.example"
    async with running_api(settings_for(tmp_path / "data", cdn_alternatives=cdn), database_url) as api:
        async with database.connection() as connection:
            labelling = Labelling(api, database, await running_task(connection))
        variants = [{"key": "B", "weight": 1, "settings": {"prefetch_batches": 3, "cdn_url": cdn}}]
        test = {"name": "far", "variants": variants, "expires_at": "2099-01-01T00:00:00Z"}
        created = await (await api.as_role("admin")).post("/api/ab-tests", json=test)
        await labelling.execute("update tasks set ab_test_id = $1", created.json()["data"]["id"])
        batch = f"/api/tasks/{labelling.task.id}/batches/{labelling.task.batches[0]}"

        looked = (await (await api.as_role("annotator")).get(batch)).json()["data"]
        assert await labelling.value("select count(*) from ab_assignments") == 0
        answer = await next_of(labelling)

    assert answer["variant"] == {"key": "B", "prefetch_batches": 3, "image_size": None, "cdn_url": cdn}
    assert await labelling.value("select variant_key from ab_assignments") == "B"
    for url in [looked["tiles"][0], *(item["thumbnails"][0] for item in answer["items"])]:
        assert url.startswith(f"{cdn}/images/")


async def test_check_counts_what_is_leased(labelling):
    admin = await labelling.api.as_role("admin")
    await next_of(labelling)
    assert (await admin.get("/api/maintenance/counters")).json()["data"]["wrong_count"] == 0
    await labelling.execute("update batches set taken = 5 where id = $1", labelling.task.batches[0])
    await labelling.execute("update labellers set answered = 4")

    found = (await admin.get("/api/maintenance/counters")).json()["data"]
    repaired = (await admin.post("/api/maintenance/counters/repair")).json()["data"]

    assert (found["wrong"][0]["stored"][-1], found["wrong"][0]["counted"][-1]) == (5, 1)
    assert found["wrong_labellers"] == [
        {
            "task_id": str(labelling.task.id),
            "user_id": str(await labelling.user_id()),
            "stored": 4,
            "counted": 0,
        }
    ]
    assert (found["wrong_count"], repaired["repaired"]) == (2, 2)
    assert (await admin.get("/api/maintenance/counters")).json()["data"]["wrong_count"] == 0


async def test_the_server_leases_through_connections_that_plan_by_index(api):
    """Through others a plan may read all batches for each question: 100 times slower, seen on 220,000."""
    async with api.app.state.dispenser._database.connection() as connection:
        assert [await connection.fetchval(f"show {setting}") for setting in PLAN_BY_INDEX] == ["off"] * len(
            PLAN_BY_INDEX
        )
