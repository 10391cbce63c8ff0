"""Extra headers for the proxy in front of a worker: sent with everything, shown to nobody, never to another server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import running_simulator
from comfylabel.errors import InvalidField
from comfylabel.workers import headers as rules
from comfylabel.workers import repository
from comfylabel.workers.service import WorkerService
from tests.support.app import Api
from tests.support.unchanged import nothing_changes
from tests.workers.test_registry import added, listed

CLOUDFLARE = {"CF-Access-Client-Id": "abc.access", "CF-Access-Client-Secret": "hunter2-hunter2"}

names = st.from_regex(r"X-[A-Za-z0-9-]{1,20}", fullmatch=True)
values = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


# --- the rule


@given(st.dictionaries(names, values, max_size=10), st.dictionaries(names, st.none() | values, max_size=10))
def test_a_change_names_only_what_changes(present: dict[str, str], changes: dict[str, str | None]) -> None:
    present = {name.upper(): value for name, value in present.items()}
    changes = {name.lower(): value for name, value in changes.items()}
    rules.check(changes)
    after = {name.lower(): value for name, value in rules.changed(present, changes).items()}
    before = {name.lower(): value for name, value in present.items()}
    assert after == {name: value for name, value in (before | changes).items() if value is not None}


def test_no_more_together_than_there_may_be() -> None:
    many = {f"X-{number}": "1" for number in range(rules.MAX_HEADERS)}
    rules.check(many)
    assert rules.changed(many, {"x-0": None, "Y": "1"}).keys() == many.keys() - {"X-0"} | {"Y"}
    with pytest.raises(InvalidField, match="at most 20"):
        rules.changed(many, {"Y": "1"})


@given(st.text(min_size=1, max_size=30))
def test_no_value_can_carry_a_second_header(value: str) -> None:
    try:
        rules.check({"X-Key": value})
    except InvalidField:
        return
    assert value.isascii()
    assert value.isprintable()
    assert value == value.strip()


# --- over HTTP


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({name: "x"}, f"headers.{name}")
        for name in (
            "Host", "content-length", "Content-Type", "Connection", "Upgrade", "TE", "Trailer", "Transfer-Encoding",
            "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Origin", "Sec-WebSocket-Key", "sec-fetch-site",
            "Expect", "Accept-Encoding", "Range", "If-None-Match", "Referer",
        )
    ]
    + [
        ({"": "x"}, "headers"),
        ({"with space": "x"}, "headers"),
        ({"colon:": "x"}, "headers"),
        ({"line\r\nbreak": "x"}, "headers"),
        ({"ümlaut": "x"}, "headers"),
        ({"X" * 201: "x"}, "headers"),
        ({"X-Key": ""}, "headers.X-Key"),
        ({"X-Key": " x"}, "headers.X-Key"),
        ({"X-Key": "x\r\nHost: evil"}, "headers.X-Key"),
        ({"X-Key": "x\x00"}, "headers.X-Key"),
        ({"X-Key": "é"}, "headers.X-Key"),
        ({"X-Key": "x" * 4001}, "headers.X-Key"),
        ({"X-Key": 7}, "headers.X-Key"),
        ({"X-Key": ["x"]}, "headers.X-Key"),
        ({"X-Key": "1", "x-key": "2"}, "headers.x-key"),
        ({f"X-{number}": "x" for number in range(21)}, "headers"),
        (["X-Key", "x"], "headers"),
        ("X-Key: x", "headers"),
    ],
)  # fmt: skip
async def test_what_is_no_extra_header_is_refused_and_nothing_is_written(api: Api, database, headers, path):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url)
        async with nothing_changes(database):
            body = {"name": "gpu-2", "base_url": simulator.url, "headers": headers}
            answers = [
                await admin.post("/api/workers", json=body),
                await admin.patch(f"/api/workers/{worker['id']}", json={"headers": headers}),
            ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
        assert [error["path"] for error in answer.json()["data"]["errors"]] == [path]


async def test_they_are_sent_to_their_worker_and_shown_to_nobody(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator(required_headers=CLOUDFLARE) as simulator:
        worker = await added(admin, simulator.url, headers={"CF-Access-Client-Id": "abc.access"})
        path = f"/api/workers/{worker['id']}"
        assert (worker["status"], worker["header_names"]) == ("UNHEALTHY", ["CF-Access-Client-Id"])
        secret = {"headers": {"cf-access-client-secret": "hunter2-hunter2"}}
        whole = (await admin.patch(path, json=secret)).json()["data"]
        assert (whole["status"], whole["header_names"]) == (
            "HEALTHY",
            ["CF-Access-Client-Id", "cf-access-client-secret"],
        )
        less = (await admin.patch(path, json={"headers": {"CF-Access-Client-Secret": None}})).json()["data"]
        assert (less["status"], less["header_names"]) == ("UNHEALTHY", ["CF-Access-Client-Id"])
        assert (await admin.patch(path, json=secret)).json()["data"]["status"] == "HEALTHY"
        everything = (await admin.get("/api/workers")).text
        none = (await admin.patch(path, json={"headers": None})).json()["data"]
        assert (none["status"], none["header_names"]) == ("UNHEALTHY", [])
    assert "hunter2" not in everything
    assert "abc.access" not in everything
    async with database.connection() as connection:
        kept = await connection.fetch("select w::text from workers w union all select a::text from audit_events a")
        told = await connection.fetchval("select string_agg(detail::text, ' ') from audit_events")
    assert all(secret not in row[0] for row in kept for secret in ("hunter2", "abc.access"))
    assert "cf-access-client-secret" in told


async def test_at_rest_they_are_encrypted(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator(required_headers=CLOUDFLARE) as simulator:
        await added(admin, simulator.url, headers=CLOUDFLARE)
        async with database.connection() as connection:
            (worker,) = await repository.list_all(connection)
        assert worker.headers is not None
        assert "hunter2" not in worker.headers
        async with worker_session() as session:
            client = WorkerService(database, secret=b"another secret key")
            with pytest.raises(Exception, match="enter them again"):
                client.client(worker, session)


async def test_the_websocket_passes_the_proxy_too(database, api: Api):
    admin = await api.as_role("admin")
    async with running_simulator(required_headers=CLOUDFLARE) as simulator, worker_session() as session:
        await added(admin, simulator.url, headers=CLOUDFLARE)
        async with database.connection() as connection:
            (worker,) = await repository.list_all(connection)
        events = api.app.state.workers.client(worker, session).listen("some-client")
        assert (await asyncio.wait_for(anext(events), 20)).kind == "status"
        await events.aclose()


@asynccontextmanager
async def recording_server() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A server of somebody else, that looks at what it is sent."""
    seen: list[dict[str, str]] = []

    async def look(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", look)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}", seen
    finally:
        await runner.cleanup()


async def test_they_do_not_move_to_another_server(api: Api):
    admin = await api.as_role("admin")
    async with running_simulator(required_headers=CLOUDFLARE) as simulator, recording_server() as (elsewhere, seen):
        worker = await added(admin, simulator.url, headers=CLOUDFLARE)
        path = f"/api/workers/{worker['id']}"
        other_path: dict[str, Any] = (await admin.patch(path, json={"base_url": f"{simulator.url}/a/path"})).json()
        assert other_path["data"]["header_names"] == sorted(CLOUDFLARE)
        moved = (await admin.patch(path, json={"base_url": elsewhere, "headers": {"X-New": "1"}})).json()["data"]
    assert moved["header_names"] == ["X-New"]
    assert seen
    assert all(request["x-new"] == "1" and "cf-access-client-secret" not in request for request in seen)


async def test_a_removed_worker_keeps_none(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator() as simulator:
        worker = await added(admin, simulator.url, headers=CLOUDFLARE)
        await admin.delete(f"/api/workers/{worker['id']}")
    async with database.connection() as connection:
        assert tuple(await connection.fetchrow("select headers, header_names from workers")) == (None, [])


async def test_an_api_key_and_an_authorization_header_cannot_both_be_sent(api: Api, database):
    admin = await api.as_role("admin")
    basic = {"authorization": "Basic b3A6c2VjcmV0"}
    async with running_simulator(required_headers=basic) as simulator:
        body = {"name": "both", "base_url": simulator.url, "api_key": "k", "headers": basic}
        with_key = await added(admin, simulator.url, api_key="k")
        path = f"/api/workers/{with_key['id']}"
        async with nothing_changes(database):
            refused = [
                await admin.post("/api/workers", json=body),
                await admin.patch(path, json={"headers": basic}),
            ]
        swapped = await admin.patch(path, json={"headers": basic, "api_key": None})
        back = await admin.patch(path, json={"api_key": "k"})
    for answer in (*refused, back):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
        assert answer.json()["error"].startswith("headers.Authorization and api_key are the same header")
    assert swapped.json()["data"]["status"] == "HEALTHY"
    assert (await listed(admin))[0]["has_api_key"] is False


async def test_headers_of_another_installation_are_replaced_by_what_is_entered_now(api: Api, database):
    admin = await api.as_role("admin")
    async with running_simulator(required_headers={"X-New": "1"}) as simulator:
        worker = await added(admin, simulator.url, headers=CLOUDFLARE)
        async with database.transaction() as connection:
            await connection.execute("update workers set headers = 'gAAAAA'")
        changed = (await admin.patch(f"/api/workers/{worker['id']}", json={"headers": {"X-New": "1"}})).json()["data"]
    assert (changed["status"], changed["header_names"]) == ("HEALTHY", ["X-New"])
