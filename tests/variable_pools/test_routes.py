import uuid
from typing import Any

import httpx
import pytest

from comfylabel.db.pool import Database
from comfylabel.errors import InvalidField
from comfylabel.http.pagination import encode_cursor
from comfylabel.variable_pools import repository
from tests.support.app import Api

AWKWARD = """it's "quoted" </script><img onerror=alert(1)> 100% {a|b}"""


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_role("admin")


async def make(admin: httpx.AsyncClient, name: str = "dress", **body: Any) -> dict[str, Any]:
    answer = await admin.post(
        "/api/variable-pools", json={"name": name, "mode": "permutation", "items": ["coat", "gown", "suit"], **body}
    )
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_a_pool_is_kept_as_it_was_sent(admin: httpx.AsyncClient):
    pool = await make(admin, AWKWARD, items=[AWKWARD, " two spaces ", "été\n"])
    assert (pool["name"], pool["version"], pool["mode"], pool["item_count"]) == (AWKWARD, 1, "permutation", 3)
    seen = (await admin.get(f"/api/variable-pools/{pool['id']}")).json()["data"]
    assert seen["items"] == [AWKWARD, " two spaces ", "été\n"]
    assert seen["next_cursor"] is None


async def test_editing_makes_a_new_version_and_leaves_the_old_one(admin: httpx.AsyncClient):
    first = await make(admin)
    answer = await admin.post(f"/api/variable-pools/{first['id']}/versions", json={"items": ["cape"]})
    assert answer.status_code == 201
    second = answer.json()["data"]
    assert (second["version"], second["mode"], second["item_count"]) == (2, "permutation", 1)
    listed = (await admin.get("/api/variable-pools")).json()["data"]["items"]
    assert [row["id"] for row in listed] == [second["id"]]
    versions = (await admin.get("/api/variable-pools", params={"name": "dress"})).json()["data"]["items"]
    assert [row["version"] for row in versions] == [1, 2]
    assert (await admin.get(f"/api/variable-pools/{first['id']}")).json()["data"]["items"] == ["coat", "gown", "suit"]


async def test_a_task_names_pools_by_id_or_by_name(admin: httpx.AsyncClient, api: Api):
    first = await make(admin)
    await admin.post(f"/api/variable-pools/{first['id']}/versions", json={"items": ["cape"], "mode": "no_replacement"})
    light = await make(admin, "light")
    database: Database = api.app.state.database
    async with database.connection() as connection:
        newest, lights = await repository.resolve(connection, ["dress", light["id"]])
        (old,) = await repository.resolve(connection, [first["id"]])
        assert (newest.version, newest.mode, newest.items) == (2, "no_replacement", ("cape",))
        assert (lights.name, old.version) == ("light", 1)
        for refs, path in (
            (["dress", "nobody"], 1),
            ([str(uuid.uuid4())], 0),
            (["dress", first["id"]], 1),
            (["\x00"], 0),
        ):
            with pytest.raises(InvalidField) as refused:
                await repository.resolve(connection, refs)
            assert refused.value.data["errors"][0]["path"] == f"variable_pool_ids[{path}]"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"items": []}, "items"),
        ({"items": ["a", " "]}, "items[1]"),
        ({"items": ["a", "b", " a "]}, "items[2]"),
        ({"items": ["a\x00"]}, "items[0]"),
        ({"items": ["x" * 10_001]}, "items[0]"),
        ({"items": "abc"}, "items"),
        ({"items": [1]}, "items[0]"),
        ({"mode": "random"}, "mode"),
        ({"name": "  "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"size": 3}, "size"),
    ],
)
async def test_a_bad_pool_is_refused_and_nothing_is_stored(admin: httpx.AsyncClient, body: dict[str, Any], path: str):
    sent = {"name": "dress", "mode": "permutation", "items": ["a"], **body}
    answer = await admin.post("/api/variable-pools", json=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["data"]["errors"][0]["path"] == path
    assert (await admin.get("/api/variable-pools")).json()["data"]["items"] == []


async def test_a_name_is_taken_once(admin: httpx.AsyncClient):
    await make(admin)
    answer = await admin.post("/api/variable-pools", json={"name": "dress", "mode": "permutation", "items": ["a"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert len((await admin.get("/api/variable-pools", params={"name": "dress"})).json()["data"]["items"]) == 1


async def test_a_version_needs_its_pool_and_good_items(admin: httpx.AsyncClient):
    answer = await admin.post(f"/api/variable-pools/{uuid.uuid4()}/versions", json={"items": ["a"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    pool = await make(admin)
    answer = await admin.post(f"/api/variable-pools/{pool['id']}/versions", json={"items": ["a", "a"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert len((await admin.get("/api/variable-pools", params={"name": "dress"})).json()["data"]["items"]) == 1


async def test_samples_respect_the_mode_and_use_nothing_up(admin: httpx.AsyncClient):
    names = [f"item {number}" for number in range(20)]
    walked = await make(admin, "walked", items=names)
    drawn = await make(admin, "drawn", items=names, mode="no_replacement")

    in_order = (await admin.get(f"/api/variable-pools/{walked['id']}/sample", params={"count": 5})).json()["data"]
    assert in_order | {"sampling_seed": 0} == {
        "items": names[:5], "remaining": 15, "pool_id": walked["id"], "version": 1, "sampling_seed": 0,
    }  # fmt: skip
    url = f"/api/variable-pools/{drawn['id']}/sample"
    everything = (await admin.get(url, params={"count": 20})).json()["data"]
    assert sorted(everything["items"]) == sorted(names)
    assert everything["remaining"] == 0
    again = {"count": 7, "sampling_seed": everything["sampling_seed"]}
    assert (await admin.get(url, params=again)).json()["data"]["items"] == everything["items"][:7]


@pytest.mark.parametrize("count", ["0", "4", "10001", "many", ""])
async def test_more_than_there_is_cannot_be_sampled(admin: httpx.AsyncClient, count: str):
    pool = await make(admin)
    answer = await admin.get(f"/api/variable-pools/{pool['id']}/sample", params={"count": count})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    if count == "4":
        assert "3" in answer.json()["error"]


async def test_a_pool_that_is_not_there_is_404(admin: httpx.AsyncClient):
    for path in ("", "/sample?count=1"):
        answer = await admin.get(f"/api/variable-pools/{uuid.uuid4()}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_long_pool_is_read_in_pages(admin: httpx.AsyncClient):
    names = [f"item {number}" for number in range(2500)]
    pool = await make(admin, items=names)
    seen: list[str] = []
    cursor = None
    while True:
        params: dict[str, str] = {"cursor": cursor} if cursor else {}
        page = (await admin.get(f"/api/variable-pools/{pool['id']}", params=params)).json()["data"]
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names
    answer = await admin.get(f"/api/variable-pools/{pool['id']}", params={"cursor": "forged"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_pools_are_listed_in_pages_by_name(admin: httpx.AsyncClient):
    for name in "ebdac":
        await make(admin, name)
    first = (await admin.get("/api/variable-pools", params={"limit": 2})).json()["data"]
    rest = (await admin.get("/api/variable-pools", params={"limit": 9, "cursor": first["next_cursor"]})).json()["data"]
    assert [row["name"] for row in first["items"] + rest["items"]] == list("abcde")
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "position",
    [
        *({"name": "a\x00", "version": 1}, {"name": ["a"], "version": 1}, {"name": "a", "version": "1"}),
        *({"name": "a", "version": 2**31}, {"name": "a", "version": 1e300}, {"name": "a", "version": -1}),
    ],
)
async def test_a_forged_cursor_is_refused(admin: httpx.AsyncClient, position: dict[str, object]):
    answer = await admin.get("/api/variable-pools", params={"cursor": encode_cursor(position)})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_a_name_that_no_pool_can_have_is_refused(admin: httpx.AsyncClient):
    answer = await admin.get("/api/variable-pools", params={"name": "a\x00"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_a_million_items_are_one_pool(admin: httpx.AsyncClient):
    names = [f"item {number}" for number in range(1_000_000)]
    pool = await make(admin, items=names, mode="no_replacement")
    assert pool["item_count"] == 1_000_000
    sample = await admin.get(f"/api/variable-pools/{pool['id']}/sample", params={"count": 1000})
    assert len(set(sample.json()["data"]["items"])) == 1000
    assert sample.json()["data"]["remaining"] == 999_000
    answer = await admin.post(f"/api/variable-pools/{pool['id']}/versions", json={"items": [*names, "one more"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert "1000000" in answer.json()["error"]
