"""The guards as a browser meets them; the pure rules behind them are in test_origins.py."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.app import ORIGIN, Api, running_api, settings_for


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_is_refused_on_every_path(api: Api, host: str):
    for path in ("/", "/api/me", "/healthz", "/images/x", "/api/openapi.json"):
        answer = await api.anonymous.get(path, headers={"host": host})

        assert (answer.status_code, answer.json()["code"]) == (421, "foreign_host"), path


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "10.0.0.3", "label.localhost"])
async def test_addresses_and_own_names_are_let_in(api: Api, host: str):
    assert (await api.anonymous.get("/healthz", headers={"host": host})).status_code == 200


async def test_a_post_from_another_site_changes_nothing(api: Api):
    admin = await api.as_role("admin")
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"}):
        answer = await admin.post("/api/users", json={"name": "mallory", "role": "admin"}, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert [user["name"] for user in (await admin.get("/api/users")).json()["data"]] == ["admin"]


async def test_a_session_without_any_origin_is_no_browser_of_ours(api: Api):
    admin = await api.as_role("admin")
    del admin.headers["origin"]

    bare = await admin.post("/api/auth/sign-out")
    same_site = await admin.post("/api/auth/sign-out", headers={"sec-fetch-site": "same-site"})
    same_origin = await admin.post("/api/auth/sign-out", headers={"sec-fetch-site": "same-origin"})

    assert (bare.status_code, same_site.status_code, same_origin.status_code) == (403, 403, 200)


async def test_a_token_needs_no_origin_but_a_foreign_one_is_refused(api: Api):
    program = await api.with_token("admin")
    del program.headers["origin"]

    assert (await program.post("/api/users", json={"name": "ann", "role": "annotator"})).status_code == 201
    foreign = await program.post("/api/users", json={"name": "b", "role": "annotator"}, headers={"origin": "http://x"})
    assert foreign.json()["code"] == "cross_site"


async def test_only_a_token_stands_in_for_an_origin(api: Api):
    """Browsers send `Basic` for http://name:password@... of any page; it signs nobody in here."""
    admin = await api.as_role("admin")
    del admin.headers["origin"]

    answer = await admin.post("/api/auth/sign-out", headers={"authorization": "Basic eDp5"})

    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


async def test_a_websocket_is_closed_before_anything_looks_at_it(api: Api):
    said = []

    async def send(message) -> None:
        said.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    for path in ("/api/tasks", "/", "/images/x"):
        headers = [(b"host", b"127.0.0.1:8765")]
        await api.app({"type": "websocket", "path": path, "headers": headers, "query_string": b""}, receive, send)

    assert [message["type"] for message in said] == ["websocket.close"] * 3


async def test_every_answer_carries_the_security_headers(api: Api):
    for path in ("/", "/api/me", "/api/none", "/healthz", "/assets/none.js"):
        headers = (await api.anonymous.get(path)).headers
        assert headers["content-security-policy"] == (
            "default-src 'self'; script-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
            "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        ), path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in headers


async def test_a_cdn_may_serve_images_and_https_is_remembered(database_url, tmp_path):
    settings = settings_for(tmp_path, public_url="https://label.example", cdn_url="https://cdn.example")
    async with running_api(settings, database_url) as api:
        answer = await api.anonymous.get("/healthz")

    assert (
        "img-src 'self' blob: data: https://cdn.example https://label.example;"
        in answer.headers["content-security-policy"]
    )
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_the_service_worker_may_fetch_images_of_a_cdn_and_a_page_may_only_show_them(database_url, tmp_path):
    settings = settings_for(tmp_path, cdn_url="https://cdn.example", cdn_alternatives="https://b.example:8443")
    async with running_api(settings, database_url) as api:
        policies = {
            path: (await api.anonymous.get(path)).headers["content-security-policy"]
            for path in ("/", "/label/x", "/sw.js", "/sw.js/x", "/api/me")
        }

    worker = policies.pop("/sw.js")
    assert "; connect-src 'self' https://b.example:8443 https://cdn.example; " in worker
    assert set(policies.values()) == {
        worker.replace("connect-src 'self' https://b.example:8443 https://cdn.example", "connect-src 'self'")
    }


async def test_a_refused_image_may_be_read_by_whoever_may_read_the_image_and_is_kept_by_nobody(api: Api):
    for path in ("/images/none", "/images/", "/images/a?expires=1&signature=x"):
        answer = await api.anonymous.get(path)
        assert answer.status_code >= 400
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in (await api.anonymous.get("/api/me")).headers


async def test_answers_of_the_api_are_stored_nowhere(api: Api):
    assert (await api.anonymous.get("/api/me")).headers["cache-control"] == "no-store"


async def test_a_body_over_the_limit_is_413_whether_announced_or_not(api: Api):
    admin = await api.as_role("admin")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    announced = await admin.post("/api/users", content=b" " * 1_100_000, headers={"content-type": "application/json"})
    streamed = await admin.post("/api/users", content=pieces(), headers={"content-type": "application/json"})

    assert [(answer.status_code, answer.json()["code"]) for answer in (announced, streamed)] == [(413, "too_large")] * 2


async def test_a_body_that_never_ends_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfylabel.http.guards.SILENCE_SECONDS", 0.05)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"token": '
        await asyncio.Event().wait()

    answer = await api.anonymous.post("/api/auth/link", content=pieces(), headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (408, "too_slow")


async def test_json_is_compressed_for_who_can_read_it(api: Api):
    document = await api.anonymous.get("/api/openapi.json", headers={"accept-encoding": "gzip"})

    assert document.headers["content-encoding"] == "gzip"
    assert document.json()["info"]["title"] == "ComfyUI Data Label"


async def test_our_origin_is_the_one_that_the_browser_shows(api: Api):
    assert api.settings.origin == ORIGIN
    answer = await api.anonymous.post(
        "/api/auth/link", json={"token": "x"}, headers={"host": "localhost:1", "origin": "http://localhost:1"}
    )

    assert answer.status_code == 401  # let through to the sign-in, which does not know that token
