"""Links, passwords, sessions, and what opens no door."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from comfylabel.accounts.service import SESSION_COOKIE
from comfylabel.db.pool import Database
from tests.support.app import Api, running_api, settings_for, token_of

PASSWORD = "correct horse battery"


async def test_the_first_start_link_signs_an_admin_in(api: Api):
    admin = await api.as_role("admin")

    answer = await admin.get("/api/me")

    assert answer.json()["data"] | {"id": ""} == {"id": "", "name": "admin", "role": "admin"}


async def test_the_link_keeps_its_token_behind_the_hash(api: Api):
    link = await api.accounts.ensure_admin_link(origin="http://10.0.0.3:9000")

    assert link.url == f"http://10.0.0.3:9000/sign-in#token={token_of(link.url)}"
    assert timedelta(minutes=9) < link.expires_at - datetime.now(UTC) <= timedelta(minutes=10)


async def test_every_start_prints_a_link_for_the_same_admin(api: Api):
    admins = set()
    for _ in range(3):
        client = api.client()
        token = token_of((await api.accounts.ensure_admin_link()).url)
        admins.add((await client.post("/api/auth/link", json={"token": token})).json()["data"]["id"])

    assert len(admins) == 1


async def test_a_link_works_once_even_when_two_browsers_open_it_together(api: Api):
    token = token_of((await api.accounts.ensure_admin_link()).url)
    browsers = [api.client() for _ in range(4)]

    answers = await asyncio.gather(*(browser.post("/api/auth/link", json={"token": token}) for browser in browsers))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_opening_a_link_by_get_uses_nothing_up(api: Api):
    token = token_of((await api.accounts.ensure_admin_link()).url)

    assert (await api.anonymous.get("/api/auth/link", params={"token": token})).status_code == 405
    assert (await api.client().post("/api/auth/link", json={"token": token})).status_code == 200


async def test_an_expired_link_is_refused(api: Api, database: Database):
    token = token_of((await api.accounts.ensure_admin_link()).url)
    async with database.connection() as connection:
        await connection.execute("update sign_in_links set expires_at = now() - interval '1 second'")

    answer = await api.anonymous.post("/api/auth/link", json={"token": token})

    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


async def test_the_cookie_is_for_this_server_only_and_for_no_script(api: Api):
    token = token_of((await api.accounts.ensure_admin_link()).url)
    cookie = (await api.client().post("/api/auth/link", json={"token": token})).headers["set-cookie"].lower()

    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie  # plain http on this machine


async def test_over_https_the_cookie_never_travels_in_clear(database_url: str, tmp_path):
    async with running_api(settings_for(tmp_path, public_url="https://label.example"), database_url) as api:
        token = token_of((await api.accounts.ensure_admin_link()).url)
        answer = await api.anonymous.post("/api/auth/link", json={"token": token})

    assert "; secure" in answer.headers["set-cookie"].lower()


async def test_the_database_holds_no_secret_that_signs_in(api: Api, database: Database):
    link = await api.accounts.ensure_admin_link()
    admin = await api.as_role("admin")
    session = admin.cookies[SESSION_COOKIE]
    token = (await admin.post("/api/tokens", json={"name": "ci"})).json()["data"]["token"]

    async with database.connection() as connection:
        dump = ""
        for table in ("users", "sessions", "api_tokens", "sign_in_links", "audit_events"):
            dump += str(await connection.fetch(f"select t::text, encode(t::text::bytea, 'escape') from {table} t"))

    assert not [secret for secret in (session, token, token_of(link.url)) if secret in dump]


async def test_signing_out_ends_the_session_and_not_the_others(api: Api):
    phone = await api.sign_in("annotator", "ann")
    admin = await api.as_role("admin")
    cookie = phone.cookies[SESSION_COOKIE]

    assert (await phone.post("/api/auth/sign-out")).status_code == 200
    phone.cookies.set(SESSION_COOKIE, cookie, domain="127.0.0.1")

    assert (await phone.get("/api/me")).status_code == 401
    assert (await admin.get("/api/me")).status_code == 200


async def test_an_expired_session_is_nobody(api: Api, database: Database):
    admin = await api.as_role("admin")
    async with database.connection() as connection:
        await connection.execute("update sessions set expires_at = now()")

    answer = await admin.get("/api/me")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


async def test_signing_in_sweeps_what_has_expired(api: Api, database: Database):
    await api.as_role("admin")
    async with database.connection() as connection:
        await connection.execute("update sessions set expires_at = now() - interval '1 day'")
    await api.sign_in("admin", "admin")

    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from sessions where expires_at < now()") == 0


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 5}, {"token": "x" * 201}, {"token": "x", "more": 1}, []])
async def test_a_malformed_sign_in_is_422(api: Api, body):
    answer = await api.anonymous.post("/api/auth/link", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_a_password_signs_in_and_is_asked_for_before_it_changes(api: Api):
    ann = await api.sign_in("annotator", "Ann")
    assert (await ann.put("/api/me/password", json={"password": PASSWORD})).status_code == 200

    without = await ann.put("/api/me/password", json={"password": "another password"})
    wrong = await ann.put("/api/me/password", json={"password": "another password", "current_password": "x"})
    signed_in = await api.client().post("/api/auth/password", json={"name": "ANN", "password": PASSWORD})
    right = await ann.put("/api/me/password", json={"password": "another password", "current_password": PASSWORD})

    assert [answer.json()["data"]["errors"][0]["path"] for answer in (without, wrong)] == ["current_password"] * 2
    assert signed_in.json()["data"]["name"] == "Ann"
    assert right.status_code == 200
    old = await api.client().post("/api/auth/password", json={"name": "Ann", "password": PASSWORD})
    assert old.status_code == 401


async def test_a_new_password_ends_every_other_session(api: Api):
    """Whoever stole one, or an invitation that lies in some inbox, is out; the person who changes it stays in."""
    ann = await api.sign_in("annotator", "ann")
    admin = await api.as_role("admin")
    await ann.put("/api/me/password", json={"password": PASSWORD})
    thief = api.client()
    assert (await thief.post("/api/auth/password", json={"name": "ann", "password": PASSWORD})).status_code == 200
    user_id = (await ann.get("/api/me")).json()["data"]["id"]
    link = (await admin.post(f"/api/users/{user_id}/link")).json()["data"]["url"]

    await ann.put("/api/me/password", json={"password": "another password", "current_password": PASSWORD})

    by_link = await api.client().post("/api/auth/link", json={"token": token_of(link)})
    assert [(await client.get("/api/me")).status_code for client in (ann, admin, thief)] == [200, 200, 401]
    assert by_link.status_code == 401


async def test_a_short_password_is_refused(api: Api):
    ann = await api.sign_in("annotator", "ann")

    answer = await ann.put("/api/me/password", json={"password": "short"})

    assert answer.json()["data"]["errors"] == [
        {"path": "password", "error": "string should have at least 10 characters"}
    ]


async def test_wrong_names_and_wrong_passwords_are_told_alike(api: Api):
    ann = await api.sign_in("annotator", "ann")
    await ann.put("/api/me/password", json={"password": PASSWORD})
    await api.sign_in("annotator", "bob")  # has no password

    answers = [
        await api.client().post("/api/auth/password", json={"name": name, "password": password})
        for name, password in (
            ("ann", "wrong"),
            ("nobody", PASSWORD),
            ("bob", PASSWORD),
            ("bob", "nobody has this password"),
        )
    ]

    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {
        (401, "Name and password do not go together.")
    }


async def test_guessing_is_rationed(api: Api):
    answers = [
        await api.anonymous.post("/api/auth/password", json={"name": "admin", "password": "guess"}) for _ in range(11)
    ]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_with_auth_off_everybody_is_the_local_admin_but_other_sites_are_not(database_url: str, tmp_path):
    async with running_api(settings_for(tmp_path, auth="off"), database_url) as api:
        me = await api.anonymous.get("/api/me")
        made = await api.anonymous.post("/api/users", json={"name": "ann", "role": "annotator"})
        foreign = await api.anonymous.post("/api/users", json={}, headers={"origin": "http://evil.example"})
        rebound = await api.anonymous.get("/api/me", headers={"host": "evil.example"})

    assert me.json()["data"] | {"id": ""} == {"id": "", "name": "local", "role": "admin"}
    assert made.status_code == 201
    assert (foreign.json()["code"], rebound.json()["code"]) == ("cross_site", "foreign_host")
