from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

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
