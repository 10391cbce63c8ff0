"""The web UI: one page for every address that is not the API's, its files cached for ever under their hash."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from comfylabel.http.envelope import as_bytes

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
# A browser runs no service worker and installs no app of another type, and not every system knows these.
_TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}
# In HTML none of them may stand in a script, even one that is only data; in JSON each may be written in digits. The
# last two end a line in JavaScript.
_IN_DIGITS = {
    character.encode(): f"\\u{ord(character):04x}".encode() for character in ("<", ">", "&", "\u2028", "\u2029")
}


class HashedFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            response.headers.update(IMMUTABLE)
        return response


class Pages:
    """The built files. They are looked up anew each time: a new build is served without a restart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def answer(self, path: str) -> Response:
        if f"{path}/".startswith(_OTHER_PATHS):
            raise HTTPException(404)
        files = self._files_beside_the_page()
        name = path.removeprefix("/")
        if name in files:
            return FileResponse(files[name], headers=REVALIDATED, media_type=_TYPES.get(files[name].suffix))
        if "." in path.rsplit("/", 1)[-1]:
            raise HTTPException(404)  # a file that is not there, and no place in the UI
        return self.plain()

    def plain(self) -> Response:
        """The one page, the same for everybody."""
        shell = self._directory / "index.html"
        return FileResponse(shell, headers=REVALIDATED) if shell.is_file() else HTMLResponse(NOT_BUILT, 503)

    def with_first(self, data: Any, headers: Mapping[str, str]) -> Response:
        """The page with what its script would ask for first already in it: for one person and for this moment."""
        try:
            shell = (self._directory / "index.html").read_text()
        except FileNotFoundError:
            return self.plain()
        page = shell.replace("</head>", f"{first_script(data)}</head>", 1)
        return HTMLResponse(page, headers={"Cache-Control": "private, no-store", **headers})

    def code_links(self, module: str) -> list[str]:
        """For a Link header: the code and the styles of a part of the UI that the page's own script would ask for."""
        try:
            manifest = orjson.loads((self._directory / ".vite" / "manifest.json").read_bytes())
            chunks = list(_chunks(manifest, module))
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError):
            return []  # not built, or built otherwise: the page asks by itself
        code = [f"</{chunk['file']}>; rel=modulepreload" for chunk in chunks]
        # crossorigin as the script that asks for them says: else they would be fetched a second time.
        styles = [f"</{name}>; rel=preload; as=style; crossorigin" for chunk in chunks for name in chunk.get("css", ())]
        return [*code, *styles]

    def _files_beside_the_page(self) -> dict[str, Path]:
        """icon.svg and such, by name: looked up and never joined, so that no request can choose a path."""
        if not self._directory.is_dir():
            return {}
        entries = self._directory.iterdir()
        return {entry.name: entry for entry in entries if entry.is_file() and not entry.name.startswith(".")}


def first_script(data: Any) -> str:
    """As data that no browser runs, and that nothing in it can end."""
    text = as_bytes(data)
    for character, digits in _IN_DIGITS.items():
        text = text.replace(character, digits)
    return f'<script type="application/json" id="first">{text.decode()}</script>'


def install(app: FastAPI, directory: Path) -> None:
    """What no route takes and is no API path is a page."""
    app.state.pages = Pages(directory)
    app.mount("/assets", HashedFiles(directory=directory / "assets", check_dir=False), name="assets")

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(404)
        pages: Pages = app.state.pages
        await pages.answer(scope["path"])(scope, receive, send)

    app.router.default = page
    app.router.redirect_slashes = False  # one address for one thing


def _chunks(manifest: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """A chunk and all that it imports, each once; without the page's own entry, which stands in its HTML."""
    seen = {"index.html"}
    wanted = [name]
    while wanted:
        name = wanted.pop(0)
        if name not in seen:
            seen.add(name)
            yield manifest[name]
            wanted.extend(manifest[name].get("imports", ()))
