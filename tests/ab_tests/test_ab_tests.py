import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from comfylabel.db.pool import Database
from tests.support.app import Api
from tests.support.rows import add_user
from tests.support.unchanged import nothing_changes

HALVES = [{"key": "A", "weight": 0.5}, {"key": "B", "weight": 0.5}]
NO_SETTINGS = {"prefetch_batches": None, "image_size": None, "cdn_url": None}


def payload(**changes: Any) -> dict[str, Any]:
    later = datetime.now(UTC) + timedelta(days=30)
    return {"name": "prefetch", "variants": HALVES, "expires_at": later.isoformat()} | changes


def with_settings(**settings: Any) -> dict[str, Any]:
    return {"variants": [HALVES[0], HALVES[1] | {"settings": settings}]}


async def create(api: Api, **changes: Any) -> dict[str, Any]:
    answer = await (await api.as_role("admin")).post("/api/ab-tests", json=payload(**changes))
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def assign(client: httpx.AsyncClient, name: str = "prefetch", **body: Any) -> str:
    answer = await client.post("/api/ab-tests/assign", json={"test_name": name} | body)
    assert answer.status_code == 200, answer.text
    variant: str = answer.json()["data"]["variant"]
    return variant


async def user_id(client: httpx.AsyncClient) -> str:
    found: str = (await client.get("/api/me")).json()["data"]["id"]
    return found


async def assignments(database: Database) -> list[tuple[str, str]]:
    async with database.connection() as connection:
        rows = await connection.fetch("select user_id::text, variant_key from ab_assignments")
    return [tuple(row) for row in rows]


async def test_a_created_test_is_listed(api):
    created = await create(api, expires_at="2031-05-01T12:00:00+02:00")
    assert created["variants"] == [half | {"settings": NO_SETTINGS} for half in HALVES]
    assert created["expires_at"] == "2031-05-01T10:00:00Z"
    assert created["expired"] is False

    listed = await (await api.as_role("admin")).get("/api/ab-tests")
    assert listed.json() == {"success": True, "data": [created], "error": None}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"variants": []}, "variants "),
        (
            {"variants": [{"key": "A", "weight": 0.5}, {"key": "B", "weight": 0.4}]},
            "variants must have weights that sum to 1, not to 0.9.",
        ),
        (
            {"variants": [{"key": "A", "weight": 0.5}, {"key": "B", "weight": 0.500002}]},
            "variants must have weights that sum to 1, not to 1.000002.",
        ),
        (
            {"variants": [{"key": "A", "weight": 0.5}, {"key": "A", "weight": 0.5}]},
            'variants[1].key repeats the key "A".',
        ),
        ({"variants": [{"key": "A", "weight": -1}, {"key": "B", "weight": 2}]}, "variants[0].weight "),
        ({"variants": [{"key": "A", "weight": True}]}, "variants[0].weight "),
        ({"variants": [{"key": "A", "weight": "1"}]}, "variants[0].weight "),
        ({"variants": [{"key": "", "weight": 1}]}, "variants[0].key "),
        ({"variants": [{"key": "A", "weight": 1, "colour": "red"}]}, "variants[0].colour "),
        ({"variants": [{"key": f"V{i}", "weight": 1 / 27} for i in range(27)]}, "variants "),
        (with_settings(prefetch_batches=0), "variants[1].settings.prefetch_batches "),
        (with_settings(prefetch_batches=21), "variants[1].settings.prefetch_batches "),
        (with_settings(prefetch_batches=True), "variants[1].settings.prefetch_batches "),
        (with_settings(image_size=512), "variants[1].settings.image_size must be 256, 640 or 1024."),
        (with_settings(image_size="640"), "variants[1].settings.image_size must be 256, 640 or 1024."),
        (with_settings(theme="dark"), "variants[1].settings.theme is not a known field."),
        (
            with_settings(cdn_url="https://evil.example"),
            "variants[1].settings.cdn_url must be left out: this server has no image origin but its own.",
        ),
        (with_settings(cdn_url="https://a\x00b"), "variants[1].settings.cdn_url "),
        ({"variants": [{"key": "A", "weight": 1, "settings": None}]}, "variants[0].settings "),
        ({"name": ""}, "name "),
        ({"name": "a\x00b"}, "name "),
        ({"name": "n" * 201}, "name "),
        ({"expires_at": "soon"}, "expires_at "),
        ({"expires_at": "2031-05-01T12:00:00"}, "expires_at "),
        ({"expires_at": "0001-01-01T00:00:00+12:00"}, "expires_at must lie in the years 1 to 9999 UTC."),
        ({"user_id": "x"}, "user_id "),
    ],
)
async def test_a_test_that_cannot_be_is_refused(api, database, changes, sentence):
    admin = await api.as_role("admin")
    async with nothing_changes(database):
        answer = await admin.post("/api/ab-tests", json=payload(**changes))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["error"].startswith(sentence)


async def test_weights_may_miss_one_by_what_typing_costs(api):
    thirds = [{"key": key, "weight": 0.3333333, "settings": NO_SETTINGS} for key in "ABC"]
    assert (await create(api, variants=thirds))["variants"] == thirds
    assert (await create(api, name="all", variants=[{"key": "A", "weight": 1}]))["name"] == "all"


async def test_a_taken_name_is_refused(api, database):
    await create(api)
    admin = await api.as_role("admin")
    async with nothing_changes(database):
        answer = await admin.post("/api/ab-tests", json=payload(variants=[{"key": "Z", "weight": 1}]))

    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert answer.json()["error"] == 'There is an A/B test named "prefetch" already.'


async def test_an_assignment_sticks(api, database):
    await create(api)
    ann = await api.as_role("annotator")

    first = await assign(ann)

    assert [await assign(ann, user_id=await user_id(ann)) for _ in range(3)] == [first] * 3
    assert await assignments(database) == [(await user_id(ann), first)]


async def test_the_row_is_the_truth_and_not_the_hash(api, database):
    created = await create(api)
    ann = await api.as_role("annotator")
    proposed = await assign(ann)
    other = "B" if proposed == "A" else "A"
    async with database.connection() as connection:
        await connection.execute("update ab_assignments set variant_key = $1", other)

    assert await assign(ann) == other
    assert [variant["key"] for variant in created["variants"]] == ["A", "B"]


async def test_whoever_asks_at_once_from_many_tabs_gets_one_variant(api, database):
    await create(api)
    ann = await api.as_role("annotator")

    variants = await asyncio.gather(*(assign(ann) for _ in range(12)))

    assert len(set(variants)) == 1
    assert await assignments(database) == [(await user_id(ann), variants[0])]


async def test_two_first_assignments_that_disagree_end_as_one(api, database):
    """The loser of the race reads what the winner stored, though its own proposal was another."""
    created = await create(api)
    ann = await api.as_role("annotator")
    ann_id = await user_id(ann)
    async with database.connection() as winner:
        transaction = winner.transaction()
        await transaction.start()
        await winner.execute(
            "insert into ab_assignments (id, test_id, user_id, variant_key) values ($1, $2, $3, 'W')",
            uuid4(),
            created["id"],
            ann_id,
        )
        loser = asyncio.create_task(assign(ann))
        await _until_somebody_waits(database)
        await transaction.commit()

    assert await loser == "W"
    assert await assignments(database) == [(ann_id, "W")]


async def _until_somebody_waits(database: Database) -> None:
    async with database.connection() as connection:
        while not await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)


async def test_after_expiry_who_was_assigned_stays_and_new_people_get_the_first_variant_unstored(api, database):
    await create(api, variants=[{"key": "A", "weight": 0}, {"key": "B", "weight": 1}])
    ann = await api.as_role("annotator")
    assert await assign(ann) == "B"
    async with database.connection() as connection:
        await connection.execute("update ab_tests set expires_at = now() - interval '1 second'")
    stored = await assignments(database)

    assert await assign(ann) == "B"
    assert await assign(await api.as_role("operator")) == "A"
    assert await assignments(database) == stored
    (listed,) = (await (await api.as_role("admin")).get("/api/ab-tests")).json()["data"]
    assert listed["expired"] is True


async def test_an_admin_assigns_anyone_and_others_only_themselves(api, database):
    await create(api)
    async with database.connection() as connection:
        somebody = str(await add_user(connection, "somebody"))
    for role in ("annotator", "operator"):
        client = await api.as_role(role)
        async with nothing_changes(database):
            answer = await client.post("/api/ab-tests/assign", json={"test_name": "prefetch", "user_id": somebody})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    variant = await assign(await api.as_role("admin"), user_id=somebody)

    assert await assignments(database) == [(somebody, variant)]


async def test_assigning_to_what_is_not_there_is_refused(api, database):
    await create(api)
    admin = await api.as_role("admin")
    nobody = str(uuid4())
    async with nothing_changes(database):
        no_test = await admin.post("/api/ab-tests/assign", json={"test_name": "other"})
        no_user = await admin.post("/api/ab-tests/assign", json={"test_name": "prefetch", "user_id": nobody})

    assert (no_test.status_code, no_test.json()["code"]) == (404, "not_found")
    assert no_test.json()["error"] == 'There is no A/B test named "other".'
    assert (no_user.status_code, no_user.json()["code"]) == (404, "not_found")
    assert no_user.json()["error"] == f"There is no user {nobody}."


@pytest.mark.parametrize("role", ["annotator", "operator"])
async def test_only_admins_see_and_make_tests(api, database, role):
    client = await api.as_role(role)
    async with nothing_changes(database):
        answers = [await client.get("/api/ab-tests"), await client.post("/api/ab-tests", json=payload())]
    assert [answer.status_code for answer in answers] == [403, 403]
