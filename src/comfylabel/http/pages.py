"""The web UI: one page for every address that is not the API's, its files cached for ever under their hash."""

from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

# The name of a file under /assets holds a hash of what is in it: a changed file is another file.
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
REVALIDATED = {"Cache-Control": "no-cache"}
NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ComfyUI Data Label</title></head>
<body><h1>The web pages are not built</h1>
<p>The API runs. To build the pages too: <code>make web</code> (it needs no Node on this machine),
then load this page again.</p></body></html>
"""
_OTHER_PATHS = ("/api/", "/images/", "/assets/")


class HashedFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            response.headers.update(IMMUTABLE)
        return response


def install(app: FastAPI, directory: Path) -> None:
    """What no route takes and is no API path is a page."""
    app.mount("/assets", HashedFiles(directory=directory / "assets", check_dir=False), name="assets")

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(404)
        await _page(directory, scope["path"])(scope, receive, send)

    app.router.default = page
    app.router.redirect_slashes = False  # one address for one thing


def _page(directory: Path, path: str) -> Response:
    if f"{path}/".startswith(_OTHER_PATHS):
        raise HTTPException(404)
    files = _files_beside_the_page(directory)
    name = path.removeprefix("/")
    if name in files:
        return FileResponse(files[name], headers=REVALIDATED)
    if "." in path.rsplit("/", 1)[-1]:
        raise HTTPException(404)  # a file that is not there, and no place in the UI
    if "index.html" not in files:
        return HTMLResponse(NOT_BUILT, 503)
    return FileResponse(files["index.html"], headers=REVALIDATED)


def _files_beside_the_page(directory: Path) -> dict[str, Path]:
    """icon.svg and such, by name: looked up and never joined, so that no request can choose a path."""
    if not directory.is_dir():
        return {}
    return {entry.name: entry for entry in directory.iterdir() if entry.is_file() and not entry.name.startswith(".")}
