import json
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.http import error_handler, pages


def client_for(directory: Path) -> httpx.AsyncClient:
    app = FastAPI()
    error_handler.install(app)
    pages.install(app, directory)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<title>the page</title>")
    (web / "icon.svg").write_text("<svg/>")
    (web / "sw.js").write_text("self")
    (web / "app.webmanifest").write_text("{}")
    (web / ".stamp").write_text("x")
    (web / "assets" / "main-a1b2.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    return web


@pytest.mark.parametrize("path", ["/", "/tasks", "/tasks/0199/label", "/sign-in", "/apix"])
async def test_every_place_in_the_ui_is_the_one_page_and_never_stale(built: Path, path: str):
    answer = await client_for(built).get(path)

    assert (answer.status_code, answer.text) == (200, "<title>the page</title>")
    assert answer.headers["cache-control"] == "no-cache"


async def test_hashed_files_are_kept_for_ever(built: Path):
    answer = await client_for(built).get("/assets/main-a1b2.js")

    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")


async def test_files_beside_the_page(built: Path):
    answer = await client_for(built).get("/icon.svg")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


async def test_the_service_worker_is_never_stale_and_may_rule_the_whole_site(built: Path):
    """Served from the root its scope is the root; a browser runs it only as JavaScript."""
    answer = await client_for(built).get("/sw.js")

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.headers["content-type"].startswith("text/javascript")


async def test_the_web_app_manifest_says_what_it_is(built: Path):
    answer = await client_for(built).get("/app.webmanifest")

    assert answer.headers["content-type"].startswith("application/manifest+json")
    assert answer.headers["cache-control"] == "no-cache"


async def test_the_shell_that_a_service_worker_keeps_is_the_same_for_everybody(built: Path):
    client = client_for(built)
    nobody = await client.get("/index.html")
    somebody = await client.get("/index.html", headers={"cookie": "comfylabel_session=x"})

    assert nobody.content == somebody.content == (await client.get("/")).content
    assert nobody.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/none.js", "/none.png", "/.stamp", "/api/none", "/images/none", "/assets", "/assets/"),
        *("/assets/../../secret.txt", "/%2e%2e/secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt"),
    ],
)
async def test_what_is_not_there_is_404_and_no_page(built: Path, path: str):
    client = client_for(built)
    answer = await client.send(httpx.Request("GET", httpx.URL("http://test").copy_with(raw_path=path.encode())))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_post_to_a_page_is_404(built: Path):
    assert (await client_for(built).post("/tasks")).status_code == 404


async def test_without_a_build_a_plain_page_says_how(tmp_path: Path):
    answer = await client_for(tmp_path / "missing").get("/")

    assert answer.status_code == 503
    assert "make web" in answer.text


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


hostile = st.text() | st.lists(
    st.sampled_from(["</script>", "<!--", "<script", "-->", "\u2028", "\u2029", "&lt;", "]]>", "\\", '"', "</", "x"])
).map("".join)
data = st.recursive(hostile, lambda inner: st.lists(inner) | st.dictionaries(hostile, inner), max_leaves=10)


@given(data)
def test_no_data_ends_its_script_or_changes_on_the_way(value: object):
    read = Elements()
    script = pages.first_script(value)
    read.feed(f"{script}<p>")

    assert read.seen == ["script", "p"]
    assert json.loads(read.text) == value
    assert not set(read.text) & set("<>&\u2028\u2029")


MANIFEST = {
    "index.html": {"file": "assets/index.js", "css": ["assets/index.css"], "dynamicImports": ["a.tsx"]},
    "a.tsx": {"file": "assets/a.js", "imports": ["index.html", "_b.js", "_c.js"], "css": ["assets/a.css"]},
    "_b.js": {"file": "assets/b.js", "imports": ["_c.js", "a.tsx"], "css": ["assets/b.css"]},
    "_c.js": {"file": "assets/c.js"},
    "z.tsx": {"file": "assets/z.js"},
}


def test_a_part_of_the_page_is_fetched_with_all_that_it_imports_once(built: Path):
    (built / ".vite").mkdir()
    (built / ".vite" / "manifest.json").write_text(json.dumps(MANIFEST))

    assert pages.Pages(built).code_links("a.tsx") == [
        "</assets/a.js>; rel=modulepreload",
        "</assets/b.js>; rel=modulepreload",
        "</assets/c.js>; rel=modulepreload",
        "</assets/a.css>; rel=preload; as=style; crossorigin",
        "</assets/b.css>; rel=preload; as=style; crossorigin",
    ]
    assert pages.Pages(built).code_links("gone.tsx") == []


def test_without_a_manifest_nothing_is_fetched_ahead(built: Path):
    assert pages.Pages(built).code_links("a.tsx") == []
