"""The next 20 batches can be preloaded through a CDN: signed addresses that hold and cache."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pyvips

from comfylabel.db.pool import Database
from comfylabel.storage.signing import WINDOW_SECONDS, Signer
from comfylabel.storage.thumbnails import THUMBNAIL_PIXELS, render
from tests.support.app import Api
from tests.support.rows import TaskRows, add_task

KEYS = (
    "select unnest(array[image_uri, thumbnail_uri, tile_uri, preview_uri]) from generations"
    " where task_id = $1 and state = 'done'"
)


@pytest.fixture
async def task(api: Api, database: Database) -> TaskRows:
    """45 ready batches of two images; every image lies in the store as ingest would have put it."""
    async with database.connection() as connection:
        task = await add_task(connection, state="DONE", prompts=45, seeds=2, batch_size=2)
        keys = [row[0] for row in await connection.fetch(KEYS, task.id)]
    made = render(pyvips.Image.black(1024, 512, bands=3).add(90).cast("uchar").pngsave_buffer())
    for key in keys:
        data = {".256.webp": made.thumbnail, ".640.webp": made.tile, ".1024.webp": made.preview}.get(
            key[key.index(".") :], made.image
        )
        await api.app.state.store.put(key, data, "image/webp")
    return task


async def page(api: Api, task: TaskRows, cursor: str | None = None) -> dict[str, Any]:
    annotator = await api.as_role("annotator")
    params = {"cursor": cursor} if cursor else {}
    answer = await annotator.get(f"/api/tasks/{task.id}/batches", params=params)
    assert answer.status_code == 200, answer.text
    return {**answer.json()["data"], "link": answer.headers["link"]}


async def handed_out(api: Api, task: TaskRows, **asked: Any) -> dict[str, Any]:
    annotator = await api.as_role("annotator")
    answer = await annotator.post(f"/api/tasks/{task.id}/batches/next", json=asked)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def thumbnails(page: dict[str, Any]) -> list[str]:
    return [url for item in page["items"] for url in item["thumbnails"]]


async def browsed_and_following(api: Api, task: TaskRows) -> list[dict[str, Any]]:
    first = await page(api, task)
    return [first, await page(api, task, first["next_cursor"])]


async def handed_out_at_once(api: Api, task: TaskRows) -> list[dict[str, Any]]:
    return [await handed_out(api, task)]


@pytest.mark.parametrize("next_batches", [browsed_and_following, handed_out_at_once])
async def test_every_thumbnail_of_the_next_20_batches_is_there_and_may_be_kept_for_good(
    api: Api, task: TaskRows, next_batches: Callable[[Api, TaskRows], Awaitable[list[dict[str, Any]]]]
):
    pages = await next_batches(api, task)
    assert {len(shown["items"]) for shown in pages} == {20}

    # A CDN has no session: the address alone is the permission.
    for url in [url for shown in pages for url in thumbnails(shown)]:
        answer = await api.anonymous.get(url)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/webp"
        assert "set-cookie" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == answer.headers["timing-allow-origin"] == "*"
        directives = answer.headers["cache-control"].split(", ")
        assert {"public", "immutable"} <= set(directives)
        (max_age,) = (int(each.removeprefix("max-age=")) for each in directives if each.startswith("max-age="))
        assert 24 * 3600 < max_age <= 30 * 3600

    picture = pyvips.Image.new_from_buffer(answer.content, "")
    assert (picture.width, picture.height) == (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS // 2)


async def test_tile_preview_and_full_image_of_a_batch_are_there_too(api: Api, task: TaskRows):
    item = (await page(api, task))["items"][0]
    (handed,) = (await handed_out(api, task, count=1))["items"]
    assert [handed[size] for size in ("tiles", "previews", "fullres")] == [
        item[size] for size in ("tiles", "previews", "fullres")
    ]
    for url in item["tiles"] + item["previews"] + item["fullres"]:
        answer = await api.anonymous.get(url)
        assert (answer.status_code, answer.headers["cache-control"].endswith("immutable")) == (200, True)


async def test_a_page_asked_for_again_has_the_same_addresses(api: Api, task: TaskRows):
    # Of three pages asked for in a row at most one step crosses the end of a window.
    one, two, three = [thumbnails(await page(api, task)) for _ in range(3)]
    assert two in (one, three)


async def test_batches_handed_out_again_have_the_same_addresses(api: Api, task: TaskRows):
    """And those of the batches that the page names itself are not sent at all."""
    one, two, three = [thumbnails(await handed_out(api, task)) for _ in range(3)]
    assert two in (one, three)
    held = (await handed_out(api, task))["items"]
    rest = await handed_out(api, task, have=[item["batch_id"] for item in held[:15]])
    assert [item["batch_id"] for item in rest["items"]] == [item["batch_id"] for item in held[15:]]


async def test_a_batch_asked_for_alone_renews_its_addresses(api: Api, task: TaskRows):
    (item,) = (await handed_out(api, task, count=1))["items"]
    annotator = await api.as_role("annotator")
    answer = await annotator.get(f"/api/tasks/{task.id}/batches/{item['batch_id']}")
    renewed = answer.json()["data"]
    assert [urlsplit(url).path for url in renewed["tiles"]] == [urlsplit(url).path for url in item["tiles"]]
    assert (await api.anonymous.get(renewed["tiles"][0])).status_code == 200


def test_an_address_stays_the_same_within_its_window_and_changes_with_it():
    signer = Signer(b"secret", "https://cdn.example.com")
    key = f"tasks/{'0' * 8}-0000-7000-8000-{'0' * 12}/2026/11/22/ab/{'ab' * 32}.256.webp"
    start = datetime.fromtimestamp(1_800_000_000 // WINDOW_SECONDS * WINDOW_SECONDS, UTC)
    window = [start + timedelta(seconds=seconds) for seconds in (0, 1, WINDOW_SECONDS // 2, WINDOW_SECONDS - 1)]

    assert len({signer.signed_url(key, now) for now in window}) == 1
    assert signer.signed_url(key, start + timedelta(seconds=WINDOW_SECONDS)) != signer.signed_url(key, start)


async def test_a_tampered_address_is_refused(api: Api, task: TaskRows):
    shown = await page(api, task)
    mine, other = thumbnails(shown)[:2]
    query = parse_qs(urlsplit(mine).query)
    expires, signature = query["expires"][0], query["signature"][0]
    tampered = [
        mine.replace(f"expires={expires}", f"expires={int(expires) + 3600}"),
        mine.replace(signature, signature[:-1] + ("A" if signature[-1] != "A" else "B")),
        mine.replace(signature, ""),
        mine.replace(urlsplit(mine).path, urlsplit(other).path),
        mine.replace(".256.webp", ".png"),
        mine.partition("?")[0],
    ]
    for url in tampered:
        assert refusal(await api.anonymous.get(url)) == (403, "bad_signature"), url


async def test_an_expired_address_is_refused(api: Api, task: TaskRows):
    key = urlsplit(thumbnails(await page(api, task))[0]).path.removeprefix("/images/")
    signer: Signer = api.app.state.signer
    now = datetime.now(UTC)

    assert (await api.anonymous.get(signer.signed_url(key, now - timedelta(hours=23)))).status_code == 200
    assert refusal(await api.anonymous.get(signer.signed_url(key, now - timedelta(hours=31)))) == (403, "link_expired")


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_the_page_tells_the_browser_what_to_prepare(api: Api, task: TaskRows):
    shown = await page(api, task)
    links = re.findall(r"<([^>]+)>; rel=(\w+)", shown["link"])

    assert links[0] == (api.app.state.signer.origin, "preconnect")
    prefetched = [url for url, rel in links if rel == "prefetch"]
    assert len(prefetched) >= 4
    assert prefetched == thumbnails(shown)[: len(prefetched)]
