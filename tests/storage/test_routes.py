"""An image as a browser or a CDN asks for it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.storage.keys import image_key, thumbnail_key
from comfylabel.storage.signing import Signer
from comfylabel.storage.store import ObjectStore
from tests.support.app import Api

BODY = bytes(range(256)) * 20_000  # 5 MB: several chunks
KEY = image_key(uuid4(), date(2026, 11, 22), "ab" * 32, "png")


@pytest.fixture
def signer(api: Api) -> Signer:
    """The app's own, outside of any request."""
    signer = Signer(b"", api.settings.origin)
    signer._key = api.app.state.signer._key
    return signer


@pytest.fixture
async def url(api: Api, signer: Signer) -> str:
    """A signed address of an image in the store, without the origin."""
    store: ObjectStore = api.app.state.store
    await store.put(KEY, BODY, "image/png")
    return signer.signed_url(KEY).removeprefix(api.settings.origin)


async def ask(api: Api, url: str, **headers: str) -> httpx.Response:
    return await api.anonymous.get(url, headers=headers)


async def test_an_image_needs_no_session_and_may_be_kept_by_anyone(api: Api, url: str):
    answer = await ask(api, url)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(BODY))
    public, age, immutable = answer.headers["cache-control"].split(", ")
    assert (public, immutable) == ("public", "immutable")
    assert 24 * 3600 - 60 <= int(age.removeprefix("max-age=")) <= 30 * 3600
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["timing-allow-origin"] == "*"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    assert "cookie" not in answer.headers.get("vary", "").lower()  # one copy in a cache serves everybody


async def test_small_images_say_what_they_are(api: Api, signer: Signer):
    key = thumbnail_key(KEY)
    await api.app.state.store.put(key, b"webp", "image/webp")
    answer = await ask(api, signer.signed_url(key))
    assert (answer.headers["content-type"], answer.content) == ("image/webp", b"webp")


async def test_head_answers_as_get_without_a_body(api: Api, url: str):
    got, head = await ask(api, url), await api.anonymous.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "accept-ranges"):
        assert head.headers[name] == got.headers[name]


async def test_a_copy_that_is_still_good_is_not_sent_again(api: Api, url: str):
    etag = (await ask(api, url)).headers["etag"]
    again = await ask(api, url, **{"if-none-match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await ask(api, url, **{"if-none-match": '"other"'})).status_code == 200


SIZE = len(BODY)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        ("bytes=1048570-2097160", 1048570, 2097161),
    ],
)
async def test_a_part_is_sent_as_a_part(api: Api, url: str, wanted: str, start: int, end: int):
    answer = await ask(api, url, range=wanted)
    assert answer.content == BODY[start:end]
    whole = (start, end) == (0, SIZE)
    assert answer.status_code == (200 if whole else 206)
    assert answer.headers.get("content-range") == (None if whole else f"bytes {start}-{end - 1}/{SIZE}")
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", "bytes=-0", "bytes=99999999-"])
async def test_a_part_outside_is_said(api: Api, url: str, wanted: str):
    answer = await ask(api, url, range=wanted)
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "items=0-1",
        "bytes=0-1,5-6",
        "bytes=a-b",
        f"bytes=0-{'9' * 5000}",
        f"bytes=-{'9' * 5000}",
    ],
)
async def test_a_range_that_is_none_is_ignored(api: Api, url: str, wanted: str):
    answer = await ask(api, url, range=wanted)
    assert (answer.status_code, answer.content) == (200, BODY)


async def test_a_part_of_another_version_is_the_whole(api: Api, url: str):
    etag = (await ask(api, url)).headers["etag"]
    assert (await ask(api, url, range="bytes=0-9", **{"if-range": etag})).status_code == 206
    assert (await ask(api, url, range="bytes=0-9", **{"if-range": '"other"'})).status_code == 200


def tampered(url: str, what: str) -> str:
    path, _, query = url.partition("?")
    expires, _, signature = query.removeprefix("expires=").partition("&signature=")
    return {
        "signature": f"{path}?expires={expires}&signature={'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "expires": f"{path}?expires={int(expires) + 86400}&signature={signature}",
        "key": f"{path.replace('ab/ab', 'ab/cd')}?{query}",
        "no signature": f"{path}?expires={expires}",
        "no query": path,
        "no number": f"{path}?expires=soon&signature={signature}",
        "spaces": f"{path}?expires=%20{expires}&signature={signature}",
    }[what]


@pytest.mark.parametrize("what", ["signature", "expires", "key", "no signature", "no query", "no number", "spaces"])
async def test_a_changed_address_is_refused(api: Api, url: str, what: str):
    answer = await ask(api, tampered(url, what))
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (403, "bad_signature", False)
    assert "immutable" not in answer.headers.get("cache-control", "")


async def test_an_old_address_is_refused(api: Api, signer: Signer):
    old = signer.signed_url(KEY, datetime.now(UTC) - timedelta(hours=31))
    answer = await ask(api, old)
    assert (answer.status_code, answer.json()["code"]) == (403, "link_expired")


async def test_a_deleted_image_is_404_though_its_address_is_good(api: Api, url: str):
    await api.app.state.store.delete([KEY])
    answer = await ask(api, url, origin="https://label.example")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_refusal_of_an_old_address_can_be_read_from_another_origin(api: Api, signer: Signer):
    """A page that reads images of a CDN has to know whether to ask for fresh addresses."""
    old = signer.signed_url(KEY, datetime.now(UTC) - timedelta(hours=31))
    answer = await ask(api, old, origin="https://label.example")
    assert (answer.status_code, answer.json()["code"]) == (403, "link_expired")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"


async def test_an_address_made_for_another_origin_opens_the_same_image(api: Api, url: str, signer: Signer):
    """An A/B test moves a person's images to another CDN, and that one asks us for them."""
    elsewhere = signer.signed_url(KEY, origin="https://cdn.example")
    assert elsewhere.startswith(f"https://cdn.example/images/{KEY}?")
    assert (await ask(api, elsewhere.removeprefix("https://cdn.example"))).content == BODY


async def test_another_installations_address_is_refused(api: Api, url: str):
    stranger = Signer(b"another secret", api.settings.origin)
    assert (await ask(api, stranger.signed_url(KEY))).status_code == 403


@pytest.mark.parametrize("key", [KEY.replace("ab", "cd"), "../secret.key", "tasks/../../secret.key", "", "a" * 3000])
async def test_a_signed_address_of_nothing_is_nothing(api: Api, signer: Signer, key: str):
    answer = await ask(api, signer.signed_url(key))
    assert answer.status_code in {403, 404}  # a client shortens "..": then the signature is another key's
    assert answer.json()["success"] is False


async def test_a_store_that_is_away_is_said_before_the_answer_begins(api: Api, url: str):
    store: ObjectStore = api.app.state.store
    assert store._root is not None
    image = store._root / KEY
    image.unlink()
    image.symlink_to(image)  # whoever opens it gets "too many levels of symbolic links"
    answer = await ask(api, url)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert str(store._root) not in answer.text


@given(st.text(alphabet="bytes=0123456789-, ", max_size=20))
def test_any_range_header_means_a_part_or_nothing(wanted: str):
    from comfylabel.storage.routes import _span  # noqa: PLC0415 - the rule of one header

    request = type("Request", (), {"headers": {"range": wanted}})()
    span = _span(request, '"etag"', 100)
    assert span is None or 0 <= span[0] < span[1] <= 100


def test_the_store_lies_in_the_data_directory(api: Api, tmp_path: Path):
    assert api.app.state.store.base_uri == (tmp_path / "data" / "objects").as_uri()
