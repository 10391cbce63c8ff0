"""GET /label/{task_id}: the first picture does not wait for a script, and nobody sees what is not theirs."""

import json
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from comfylabel.annotations import page_routes
from comfylabel.annotations.batches import LINK_HEADER_BYTES
from comfylabel.db.pool import Database
from comfylabel.http.pages import Pages
from tests.annotations.conftest import Labelling, running_task
from tests.support.app import Api, running_api, settings_for
from tests.support.rows import add_task
from tests.support.unchanged import nothing_changes

SHELL = '<!doctype html><html><head><script type="module" src="/assets/index.js"></script></head><body></body></html>'
MANIFEST = {
    "index.html": {"file": "assets/index.js", "css": ["assets/index.css"]},
    "_words.js": {"file": "assets/words.js", "imports": ["index.html"]},
    "src/label/LabelPage.tsx": {
        "file": "assets/LabelPage.js",
        "imports": ["index.html", "_words.js"],
        "css": ["assets/LabelPage.css"],
    },
}
CODE = [
    "</assets/LabelPage.js>; rel=modulepreload",
    "</assets/words.js>; rel=modulepreload",
    "</assets/LabelPage.css>; rel=preload; as=style; crossorigin",
]


class Scripts(HTMLParser):
    """What a browser takes for scripts, and for elements at all."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.first: list[str] = []
        self._in_first = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_first = ("id", "first") in attrs

    def handle_data(self, data: str) -> None:
        if self._in_first:
            self.first.append(data)

    def handle_endtag(self, _tag: str) -> None:
        self._in_first = False


def first_of(answer: httpx.Response) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    scripts = Scripts()
    scripts.feed(answer.text)
    assert scripts.tags == ["html", "head", "script", "script", "body"]
    (text,) = scripts.first
    data: dict[str, Any] = json.loads(text)
    return data


def links(answer: httpx.Response) -> list[str]:
    return answer.headers["link"].split(", ")


@pytest.fixture(autouse=True)
def web(api: Api, tmp_path: Path) -> Path:
    """A built UI of three chunks."""
    directory = tmp_path / "web"
    (directory / ".vite").mkdir(parents=True)
    (directory / "index.html").write_text(SHELL)
    (directory / ".vite" / "manifest.json").write_text(json.dumps(MANIFEST))
    api.app.state.pages = Pages(directory)
    return directory


async def page(labelling: Labelling, role: str = "annotator", **headers: str) -> httpx.Response:
    client = await labelling.api.as_role(role)
    return await client.get(f"/label/{labelling.task.id}", headers=headers)


async def ask_next(labelling: Labelling, role: str = "annotator", **body: Any) -> dict[str, Any]:
    client = await labelling.api.as_role(role)
    answer = await client.post(f"/api/tasks/{labelling.task.id}/batches/next", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


# --- what it holds


async def test_it_holds_what_the_script_would_ask_for(labelling: Labelling):
    annotator = await labelling.api.as_role("annotator")
    served = await ask_next(labelling)

    first = first_of(await page(labelling))

    assert first["me"] == (await annotator.get("/api/me")).json()["data"]
    assert first["task"] == (await annotator.get(f"/api/labelling/{labelling.task.id}")).json()["data"]
    again = await ask_next(labelling)
    assert [item["batch_id"] for item in again["items"]] == [str(batch) for batch in sorted(labelling.task.batches)]
    for shown in (first["next"], served, again):
        for item in shown["items"]:
            item.pop("leased_until")
    assert first["next"] == served == again


async def test_of_what_the_person_holds_it_holds_the_first_four(labelling: Labelling, database: Database):
    async with database.connection() as connection:
        labelling.task = await running_task(connection, prompts=6)
    served = await ask_next(labelling)
    assert len(served["items"]) == 6

    first = first_of(await page(labelling))["next"]

    assert [item["batch_id"] for item in first["items"]] == [item["batch_id"] for item in served["items"]][:4]
    assert [item["position"] for item in first["items"]] == [1, 2, 3, 4]


async def test_whoever_holds_nothing_sees_one_batch_and_still_holds_nothing(labelling: Labelling):
    async with nothing_changes(labelling.database):
        first = first_of(await page(labelling))["next"]
        assert first_of(await page(labelling))["next"] == first

    (item,) = first["items"]
    assert (item["batch_id"], item["leased_until"]) == (str(min(labelling.task.batches)), None)
    assert await labelling.value("select count(*) from leases") == 0
    held = await ask_next(labelling, have=[item["batch_id"]])
    assert (held["dropped"], len(held["items"])) == ([], 2)  # the page's batch became theirs


async def test_looking_at_the_page_changes_no_row_whoever_looks(labelling: Labelling, database: Database):
    """Held or not, with an A/B test or without, answered or not, and by those who may not label at all."""
    await _under_a_test(labelling)
    await ask_next(labelling)
    await labelling.stored(chosen_index=0)
    operator, client = await labelling.api.as_role("operator"), await labelling.api.as_role("annotator")
    async with database.connection() as connection:
        draft = await add_task(connection)
        done = await add_task(connection, state="DONE")
    paths = [f"/label/{labelling.task.id}", f"/label/{draft.id}", f"/label/{done.id}", f"/label/{UUID(int=0)}"]
    async with nothing_changes(database):
        for path in paths:
            for who in (client, operator, labelling.api.anonymous):
                for method in ("GET", "HEAD"):
                    assert (await who.request(method, path)).status_code == 200


async def test_what_somebody_else_holds_is_in_nobody_elses_page(labelling: Labelling):
    held = {item["batch_id"] for item in (await ask_next(labelling))["items"]}
    assert held == {str(batch) for batch in labelling.task.batches}

    theirs = await page(labelling, "operator")

    assert not [batch for batch in held if batch in theirs.text]
    first = first_of(theirs)["next"]
    assert (first["items"], first["state"]) == ([], "wait")


async def test_two_people_have_two_pages(labelling: Labelling):
    mine, theirs = first_of(await page(labelling)), first_of(await page(labelling, "operator"))
    assert (mine["me"]["name"], theirs["me"]["name"]) == ("annotator", "operator")
    assert mine["next"]["items"][0]["slot_order"] != theirs["next"]["items"][0]["slot_order"] or (
        mine["me"]["id"] != theirs["me"]["id"]
    )


async def test_a_blind_task_hides_in_the_page_what_it_hides_elsewhere(labelling: Labelling):
    await labelling.execute("update tasks set blind = true")
    hidden, shown = first_of(await page(labelling)), first_of(await page(labelling, "operator"))
    assert (hidden["task"]["workflow"], hidden["next"]["items"][0]["seeds"]) == (None, [])
    assert shown["task"]["workflow"] is not None
    assert len(shown["next"]["items"][0]["seeds"]) == 4


# --- attacks

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&quot;&#60;&amp;",
    "line\u2028and paragraph\u2029",
    "\u202eright to left \U0001f408",
    "'\"\\",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_text_of_a_stranger_ends_the_data(labelling: Labelling, text: str):
    await labelling.execute("update tasks set notes = $1", text)
    await labelling.execute("update workflows set name = $1", text)
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(
            connection, texts=[text] * 3, notes=text, workflow_id=labelling.task.workflow_id, state="RUNNING"
        )

    answer = await page(labelling)

    first = first_of(answer)
    assert first["next"]["items"][0]["prompt"] == text
    assert (first["task"]["notes"], first["task"]["workflow"]) == (text, text)
    data = answer.text.partition('id="first">')[2].partition("</script>")[0]
    assert not set(data) & set("<>&\u2028\u2029")


async def test_the_policy_of_the_page_is_that_of_every_page(labelling: Labelling):
    policies = {
        (await page(labelling)).headers["content-security-policy"],
        (await labelling.api.anonymous.get("/")).headers["content-security-policy"],
    }
    assert len(policies) == 1
    assert "script-src 'self';" in policies.pop()


async def test_the_page_of_one_person_is_kept_by_nobody(labelling: Labelling):
    assert (await page(labelling)).headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("noted", ["", "huge", "../../x", "__proto__", "tile; path=/", "a" * 3000])
async def test_a_cookie_that_nobody_set_means_nothing(labelling: Labelling, noted: str):
    client = await labelling.api.as_role("annotator")
    cookie = f"{'; '.join(f'{name}={value}' for name, value in client.cookies.items())}; tile={noted}"
    answer = await client.get(f"/label/{labelling.task.id}", headers={"cookie": cookie})
    assert ".640.webp" in answer.headers["link"]
    if len(noted) > 5:
        assert noted not in answer.text + answer.headers["link"]


# --- when there is nothing to put in


async def plain(api: Api) -> bytes:
    answer = await api.anonymous.get("/label")
    assert answer.text == SHELL
    return answer.content


@pytest.mark.parametrize(
    "path", [f"/label/{UUID(int=0)}", "/label/none", "/label/0199", f"/label/{UUID(int=0)}x", "/label/%00", "/label/{}"]
)
async def test_where_there_is_nothing_to_embed_the_plain_page_comes(labelling: Labelling, path: str):
    client = await labelling.api.as_role("annotator")
    answer = await client.get(path)
    assert (answer.status_code, answer.content) == (200, await plain(labelling.api))
    assert answer.headers["cache-control"] == "no-cache"
    assert "link" not in answer.headers


async def test_nobody_and_who_was_sent_away_get_the_plain_page(labelling: Labelling):
    path = f"/label/{labelling.task.id}"
    client = await labelling.api.as_role("annotator")
    assert b"first" in (await client.get(path)).content
    await labelling.execute("update users set disabled_at = now() where name = 'annotator'")

    for who in (client, labelling.api.anonymous, labelling.api.client(cookie="comfylabel_session=made-up")):
        answer = await who.get(path)
        assert (answer.status_code, answer.content) == (200, await plain(labelling.api))


async def test_a_task_that_has_not_begun_is_a_plain_page(labelling: Labelling):
    for state in ("DRAFT", "FROZEN"):
        async with labelling.database.connection() as connection:
            labelling.task = await add_task(connection, state=state)
        assert (await page(labelling)).content == await plain(labelling.api)


async def test_the_page_comes_while_the_database_is_away(labelling: Labelling):
    await labelling.api.app.state.database.close()
    answer = await page(labelling)
    assert (answer.status_code, answer.content) == (200, await plain(labelling.api))


async def test_the_page_waits_for_a_busy_database_only_so_long(labelling: Labelling, monkeypatch: pytest.MonkeyPatch):
    pool = labelling.api.app.state.database.pool
    async with AsyncExitStack() as taken:
        for _ in range(pool.get_max_size()):
            await taken.enter_async_context(pool.acquire())
        with monkeypatch.context() as patched:
            patched.setattr(page_routes, "PATIENCE_SECONDS", 0.1)
            answer = await page(labelling)
        assert (answer.status_code, answer.content) == (200, await plain(labelling.api))
    assert first_of(await page(labelling))["next"]["items"]  # and no connection was lost


async def test_without_a_build_the_page_says_how_to_make_one(labelling: Labelling, web: Path):
    (web / "index.html").unlink()
    for answer in (await page(labelling), await labelling.api.anonymous.get("/")):
        assert (answer.status_code, "make web" in answer.text) == (503, True)


# --- headers that fetch ahead


async def test_code_and_pictures_of_the_first_batch_are_on_their_way_with_the_page(labelling: Labelling):
    answer = await page(labelling)
    item = first_of(answer)["next"]["items"][0]
    in_order = [item["tiles"][candidate] for candidate in item["slot_order"]]

    assert links(answer) == [*CODE, *(f"<{url}>; rel=preload; as=image; fetchpriority=high" for url in in_order)]
    for url in in_order:
        assert url.startswith(labelling.api.settings.origin)


@pytest.mark.parametrize(("noted", "size"), [("thumbnail", "thumbnails"), ("tile", "tiles"), ("preview", "previews")])
async def test_the_size_that_the_device_showed_last_is_fetched(labelling: Labelling, noted: str, size: str):
    client = await labelling.api.as_role("annotator")
    client.cookies.set("tile", noted)
    answer = await page(labelling)
    item = first_of(answer)["next"]["items"][0]
    assert all(f"<{url}>; rel=preload" in answer.headers["link"] for url in item[size])
    assert answer.headers["link"].count("as=image") == 4


async def test_the_header_fits_through_a_proxy_however_many_candidates(labelling: Labelling):
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(connection, seeds=40, batch_size=4)
    answer = await page(labelling)
    assert len(first_of(answer)["next"]["items"][0]["tiles"]) == 40
    assert len(answer.headers["link"]) <= LINK_HEADER_BYTES
    assert links(answer)[: len(CODE)] == CODE
    assert all(re.fullmatch(r"<\S+>; rel=preload; as=image; fetchpriority=high", link) for link in links(answer)[3:])


async def test_without_a_manifest_only_the_pictures_are_named(labelling: Labelling, web: Path):
    for text in ("{", "{}", json.dumps({"src/label/LabelPage.tsx": {"file": "a", "imports": ["gone"]}})):
        (web / ".vite" / "manifest.json").write_text(text)
        assert all("as=image" in link for link in links(await page(labelling)))
    (web / ".vite" / "manifest.json").unlink()
    assert len(links(await page(labelling))) == 4


async def test_with_nothing_to_show_only_the_code_is_fetched(labelling: Labelling):
    await ask_next(labelling)
    assert links(await page(labelling, "operator")) == CODE


# --- A/B

LATER = datetime.now(UTC) + timedelta(days=30)


async def _under_a_test(labelling: Labelling, **settings: Any) -> None:
    admin = await labelling.api.as_role("admin")
    variants = [{"key": "A", "weight": 1, "settings": settings}]
    answer = await admin.post(
        "/api/ab-tests", json={"name": "t", "variants": variants, "expires_at": LATER.isoformat()}
    )
    assert answer.status_code == 201, answer.text
    await labelling.execute("update tasks set ab_test_id = $1", UUID(answer.json()["data"]["id"]))


@pytest.mark.parametrize(("pixels", "size"), [(256, "thumbnails"), (640, "tiles"), (1024, "previews")])
async def test_the_size_of_the_variant_is_stronger_than_that_of_the_device(
    labelling: Labelling, pixels: int, size: str
):
    await _under_a_test(labelling, image_size=pixels)
    client = await labelling.api.as_role("annotator")
    client.cookies.set("tile", "preview" if pixels == 256 else "thumbnail")
    answer = await page(labelling)
    item = first_of(answer)["next"]["items"][0]
    assert all(f"<{url}>; rel=preload" in answer.headers["link"] for url in item[size])


async def test_pictures_come_from_the_variants_cdn_and_the_page_connects_to_it(
    database_url: str, tmp_path: Path, database: Database, web: Path
):
    cdn, other = "https://cdn.example", "https://other.example"
    async with running_api(settings_for(tmp_path, cdn_url=cdn, cdn_alternatives=other), database_url) as api:
        api.app.state.pages = Pages(web)
        async with database.connection() as connection:
            labelling = Labelling(api, database, await running_task(connection))
        usual = await page(labelling)
        await _under_a_test(labelling, cdn_url=other)
        moved = await page(labelling)

    for answer, origin in ((usual, cdn), (moved, other)):
        item = first_of(answer)["next"]["items"][0]
        assert all(url.startswith(f"{origin}/images/") for url in item["tiles"] + item["thumbnails"] + item["fullres"])
        assert links(answer)[0] == f"<{origin}>; rel=preconnect"
        assert links(answer)[1:4] == CODE
    assert first_of(moved)["next"]["variant"]["key"] == "A"
