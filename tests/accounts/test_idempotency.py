import asyncio
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comfylabel.accounts.idempotency import _Request
from comfylabel.db.pool import Database
from tests.support.app import Api
from tests.support.simulator import EXAMPLE_FILE
from tests.support.unchanged import nothing_changes

ANN = {"name": "ann", "role": "annotator"}


def keyed(key: str = "k-1") -> dict[str, str]:
    return {"idempotency-key": key}


async def test_the_same_request_again_gets_the_same_answer_and_does_nothing(api: Api, database: Database):
    admin = await api.as_role("admin")
    first = await admin.post("/api/users", json=ANN, headers=keyed())
    async with nothing_changes(database):
        again = await admin.post("/api/users", json=ANN, headers=keyed())

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_another_request_under_the_same_key_is_refused(api: Api, database: Database):
    admin = await api.as_role("admin")
    await admin.post("/api/users", json=ANN, headers=keyed())
    async with nothing_changes(database):
        other_body = await admin.post("/api/users", json=ANN | {"name": "bob"}, headers=keyed())
        other_path = await admin.post("/api/tokens", json=ANN, headers=keyed())

    for answer in (other_body, other_path):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=20), st.sampled_from([b"--x", b"boundary", b"a"]))
async def test_an_upload_is_the_same_however_it_is_cut_and_bounded(body: bytes, cuts: list[int], boundary: bytes):
    async def digest(given_boundary: bytes, sizes: list[int]) -> bytes:
        whole = given_boundary + body + given_boundary + b"--"
        pieces, start = [], 0
        for size in sizes:
            pieces.append(whole[start : start + size])
            start += size
        pieces.append(whole[start:])

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        content_type = b"multipart/form-data; boundary=" + given_boundary
        scope = {"path": "/", "query_string": b"", "headers": [(b"content-type", content_type)]}
        return await _Request(scope, receive).digest()

    assume(boundary not in body)
    assume(b"other" not in body)
    assert await digest(boundary, cuts) == await digest(b"other", [])


async def test_an_upload_sent_again_is_known_again(api: Api):
    """Each attempt draws a new boundary."""
    admin = await api.as_role("admin")
    graph = EXAMPLE_FILE.read_bytes()
    metadata = b'{"name": "example", "version": "1", "max_batch_size": 4}'
    parts: dict[str, Any] = {"workflow": ("w.json", graph, "application/json"), "metadata": (None, metadata)}
    first = await admin.post("/api/workflows", files=parts, headers=keyed())
    again = await admin.post("/api/workflows", files=parts, headers=keyed())

    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (first.status_code, again.status_code) == (201, 201), first.text
    assert again.content == first.content


async def test_ten_at_the_same_moment_make_one(api: Api):
    admin = await api.as_role("admin")

    answers = await asyncio.gather(*(admin.post("/api/users", json=ANN, headers=keyed()) for _ in range(10)))

    assert {(answer.status_code, answer.json().get("code")) for answer in answers} <= {(201, None), (409, "in_flight")}
    assert len({answer.json()["data"]["id"] for answer in answers if answer.status_code == 201}) == 1


async def test_what_was_refused_may_be_tried_again(api: Api):
    admin = await api.as_role("admin")
    refused = await admin.post("/api/users", json={"name": "ann"}, headers=keyed())
    repaired = await admin.post("/api/users", json=ANN, headers=keyed())

    assert (refused.status_code, repaired.status_code) == (422, 201)


async def test_keys_of_two_people_never_meet(api: Api):
    admin = await api.as_role("admin")
    operator = await api.as_role("operator")

    first = await admin.post("/api/tokens", json={"name": "ci"}, headers=keyed())
    second = await operator.post("/api/tokens", json={"name": "ci"}, headers=keyed())

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["data"]["token"] != second.json()["data"]["token"]


async def test_a_key_is_no_permission(api: Api):
    """Who is signed out reads no old answer."""
    admin = await api.as_role("admin")
    await admin.post("/api/users", json=ANN, headers=keyed())

    assert (await api.anonymous.post("/api/users", json=ANN, headers=keyed())).status_code == 401


async def test_secrets_in_remembered_answers_are_sealed(api: Api, database: Database):
    admin = await api.as_role("admin")
    token = (await admin.post("/api/tokens", json={"name": "ci"}, headers=keyed())).json()["data"]["token"]

    async with database.connection() as connection:
        kept = await connection.fetchval("select body from idempotency_keys")

    assert kept
    assert token.encode() not in kept


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("status = null, created_at = now() - interval '14 minutes'", 409),
        ("status = null, created_at = now() - interval '16 minutes'", 201),
        ("created_at = now() - interval '25 hours'", 201),
    ],
)
async def test_a_key_is_free_again_when_its_server_died_or_a_day_has_passed(api: Api, database, state, expected):
    admin = await api.as_role("admin")
    await admin.post("/api/tokens", json={"name": "ci"}, headers=keyed())
    async with database.connection() as connection:
        await connection.execute(f"update idempotency_keys set {state}")

    answer = await admin.post("/api/tokens", json={"name": "ci"}, headers=keyed())

    assert answer.status_code == expected
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", "with space", "x" * 201])
async def test_a_key_is_some_visible_characters(api: Api, key: str):
    admin = await api.as_role("admin")

    answer = await admin.post("/api/users", json=ANN, headers=keyed(key))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_other_methods_take_no_notice(api: Api, database: Database):
    admin = await api.as_role("admin")
    async with nothing_changes(database):
        assert (await admin.get("/api/me", headers=keyed())).status_code == 200
