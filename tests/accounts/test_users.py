"""Users and API tokens, as an admin and as their owner meet them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from comfylabel.db.pool import Database
from tests.support.app import Api, token_of
from tests.support.unchanged import nothing_changes


async def test_an_invited_user_signs_in_by_their_link(api: Api):
    admin = await api.as_role("admin")
    made = (await admin.post("/api/users", json={"name": "Ann", "role": "annotator"})).json()["data"]

    ann = api.client()
    answer = await ann.post("/api/auth/link", json={"token": token_of(made["sign_in_link"]["url"])})

    assert answer.json()["data"] == {"id": made["id"], "name": "Ann", "role": "annotator"}
    assert made["disabled_at"] is None


async def test_users_are_listed_by_name(api: Api):
    admin = await api.as_role("admin")
    for name in ("bob", "Ann"):
        await admin.post("/api/users", json={"name": name, "role": "operator"})

    users = (await admin.get("/api/users")).json()["data"]

    assert [(user["name"], user["role"]) for user in users] == [
        ("admin", "admin"),
        ("Ann", "operator"),
        ("bob", "operator"),
    ]
    assert set(users[0]) == {"id", "name", "role", "disabled_at", "created_at"}


async def test_a_name_is_given_once_in_whatever_case(api: Api, database: Database):
    admin = await api.as_role("admin")
    await admin.post("/api/users", json={"name": "Ann", "role": "annotator"})
    bob = (await admin.post("/api/users", json={"name": "bob", "role": "annotator"})).json()["data"]
    async with nothing_changes(database):
        again = await admin.post("/api/users", json={"name": "aNN", "role": "annotator"})
        renamed = await admin.patch(f"/api/users/{bob['id']}", json={"name": "ANN"})

    assert [(answer.status_code, answer.json()["code"]) for answer in (again, renamed)] == [(409, "name_taken")] * 2
    assert (await admin.patch(f"/api/users/{bob['id']}", json={"name": "BOB"})).json()["data"]["name"] == "BOB"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "", "role": "annotator"}, "name"),
        ({"name": "   ", "role": "annotator"}, "name"),
        ({"name": "a\u0000b", "role": "annotator"}, "name"),
        ({"name": "a" * 201, "role": "annotator"}, "name"),
        ({"name": "ann", "role": "root"}, "role"),
        ({"name": "ann"}, "role"),
        ({"name": "ann", "role": "annotator", "id": 1}, "id"),
    ],
)
async def test_bad_users_are_refused(api: Api, database: Database, body: dict[str, str], path: str):
    admin = await api.as_role("admin")
    async with nothing_changes(database):
        answer = await admin.post("/api/users", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert [error["path"] for error in answer.json()["data"]["errors"]] == [path]


async def test_a_disabled_user_is_out_at_once_and_may_come_back(api: Api):
    admin = await api.as_role("admin")
    ann = await api.sign_in("operator", "ann")
    ann_id = (await ann.get("/api/me")).json()["data"]["id"]
    token = (await ann.post("/api/tokens", json={"name": "ci"})).json()["data"]["token"]
    program = api.client(authorization=f"Bearer {token}")
    link = (await admin.post(f"/api/users/{ann_id}/link")).json()["data"]["url"]

    disabled = await admin.patch(f"/api/users/{ann_id}", json={"disabled": True})

    assert disabled.json()["data"]["disabled_at"] is not None
    assert (await ann.get("/api/me")).status_code == 401
    assert (await program.get("/api/me")).status_code == 401
    assert (await api.client().post("/api/auth/link", json={"token": token_of(link)})).status_code == 401
    assert (await admin.post(f"/api/users/{ann_id}/link")).json()["code"] == "user_disabled"

    await admin.patch(f"/api/users/{ann_id}", json={"disabled": False})

    assert (await ann.get("/api/me")).status_code == 401  # the old session is gone for good
    assert (await program.get("/api/me")).status_code == 200


async def test_a_new_role_counts_from_the_next_request(api: Api):
    admin = await api.as_role("admin")
    ann = await api.sign_in("annotator", "ann")
    ann_id = (await ann.get("/api/me")).json()["data"]["id"]
    assert (await ann.get("/api/users")).status_code == 403

    await admin.patch(f"/api/users/{ann_id}", json={"role": "admin"})

    assert (await ann.get("/api/users")).status_code == 200


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "operator"}, {"role": "annotator", "disabled": True}])
async def test_the_last_admin_stays(api: Api, database: Database, change):
    admin = await api.as_role("admin")
    admin_id = (await admin.get("/api/me")).json()["data"]["id"]
    async with nothing_changes(database):
        answer = await admin.patch(f"/api/users/{admin_id}", json=change)

    assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")


async def test_two_admins_cannot_remove_each_other_in_the_same_moment(api: Api, database: Database):
    first = await api.as_role("admin")
    second = await api.sign_in("admin", "second")
    ids = [(await client.get("/api/me")).json()["data"]["id"] for client in (first, second)]

    answers = await asyncio.gather(
        first.patch(f"/api/users/{ids[1]}", json={"role": "annotator"}),
        second.patch(f"/api/users/{ids[0]}", json={"role": "annotator"}),
    )

    async with database.connection() as connection:
        admins = await connection.fetchval("select count(*) from users where role = 'admin' and disabled_at is null")
    assert admins == 1
    assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])


async def test_a_fresh_link_makes_the_old_one_useless(api: Api):
    admin = await api.as_role("admin")
    made = (await admin.post("/api/users", json={"name": "ann", "role": "annotator"})).json()["data"]
    fresh = (await admin.post(f"/api/users/{made['id']}/link")).json()["data"]

    for url, status in ((made["sign_in_link"]["url"], 401), (fresh["url"], 200)):
        assert (await api.client().post("/api/auth/link", json={"token": token_of(url)})).status_code == status


async def test_unknown_users_and_tokens_are_404(api: Api):
    admin = await api.as_role("admin")

    for call in (
        admin.patch(f"/api/users/{uuid4()}", json={"role": "admin"}),
        admin.post(f"/api/users/{uuid4()}/link"),
        admin.delete(f"/api/tokens/{uuid4()}"),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_token_is_shown_once_listed_without_itself_and_revoked(api: Api):
    ann = await api.sign_in("operator", "ann")
    made = (await ann.post("/api/tokens", json={"name": "ci"})).json()["data"]
    program = api.client(authorization=f"Bearer {made['token']}")

    assert made["token"].startswith("clt_")
    assert (await program.get("/api/me")).json()["data"]["name"] == "ann"
    listed = await ann.get("/api/tokens")
    assert made["token"] not in listed.text
    assert [(row["name"], row["last_used_at"] is not None) for row in listed.json()["data"]] == [("ci", True)]
    assert (await ann.delete(f"/api/tokens/{made['id']}")).status_code == 200
    assert (await program.get("/api/me")).status_code == 401
    assert (await ann.get("/api/tokens")).json()["data"] == []


async def test_a_token_ends_when_it_was_told_to(api: Api, database: Database):
    ann = await api.sign_in("operator", "ann")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = (await ann.post("/api/tokens", json={"name": "ci", "expires_at": soon})).json()["data"]
    program = api.client(authorization=f"Bearer {made['token']}")
    assert (await program.get("/api/me")).status_code == 200

    async with database.connection() as connection:
        await connection.execute("update api_tokens set expires_at = now()")

    assert (await program.get("/api/me")).status_code == 401


@pytest.mark.parametrize(
    "expires_at", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "soon"]
)
async def test_a_token_must_end_in_the_future_if_at_all(api: Api, expires_at: str):
    admin = await api.as_role("admin")

    answer = await admin.post("/api/tokens", json={"name": "ci", "expires_at": expires_at})

    assert [error["path"] for error in answer.json()["data"]["errors"]] == ["expires_at"]


async def test_somebody_elses_token_cannot_be_revoked(api: Api):
    made = (await (await api.as_role("admin")).post("/api/tokens", json={"name": "ci"})).json()["data"]
    ann = await api.as_role("annotator")

    assert (await ann.delete(f"/api/tokens/{made['id']}")).status_code == 404


async def test_a_token_makes_no_token_and_changes_no_password(api: Api):
    program = await api.with_token("admin")

    for call in (
        program.post("/api/tokens", json={"name": "heir"}),
        program.put("/api/me/password", json={"password": "correct horse battery"}),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (403, "token_not_enough")


async def test_a_bad_token_is_not_rescued_by_a_good_cookie(api: Api):
    admin = await api.as_role("admin")

    assert (await admin.get("/api/me", headers={"authorization": "Bearer clt_wrong"})).status_code == 401


async def test_who_did_what_is_written_down(api: Api, database: Database):
    admin = await api.as_role("admin")
    made = (await admin.post("/api/users", json={"name": "ann", "role": "annotator"})).json()["data"]
    await admin.patch(f"/api/users/{made['id']}", json={"disabled": True})

    async with database.connection() as connection:
        events = await connection.fetch(
            "select name, action, subject from audit_events join users on users.id = user_id order by audit_events.id"
        )

    assert [tuple(event) for event in events] == [
        ("admin", "signed_in", "admin"),
        ("admin", "user_created", "ann"),
        ("admin", "user_changed", "ann"),
    ]
