"""GET /view and POST /upload/image of a simulated worker."""

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pyvips
from aiohttp import web

from comfylabel.comfy.simulator.broken_images import broken_image
from comfylabel.comfy.simulator.files import FOLDERS, StoredFile, escapes
from comfylabel.comfy.simulator.prompt_api import trouble

if TYPE_CHECKING:
    from comfylabel.comfy.simulator.server import Simulator


async def view(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    found = _find(simulator, request)
    if not isinstance(found, StoredFile):
        return found
    if simulator.faults.slow_image_seconds:
        await asyncio.sleep(simulator.faults.slow_image_seconds)
    content = await simulator.folders.read(found)
    broken = await broken_image(simulator.faults, request, content)
    if broken is not None:
        return broken
    if "preview" in request.query or request.query.get("channel") in {"rgb", "a"}:
        return await asyncio.to_thread(_reencoded, request, found, content)
    return _as_stored(request, found, content)


def _find(simulator: "Simulator", request: web.Request) -> StoredFile | web.Response:
    """The file, or ComfyUI's answer for what is wrong with the question."""
    if "filename" not in request.query:
        return web.Response(status=404)
    name, folder = request.query["filename"], request.query.get("type", "output")
    for suffix in FOLDERS:
        if name.endswith(f" [{suffix}]"):
            name, folder = name.removesuffix(f" [{suffix}]"), suffix
    if not name or name.startswith("/") or ".." in name or folder not in FOLDERS:
        return web.Response(status=400)
    subfolder = request.query.get("subfolder", "")
    if escapes(subfolder):
        return web.Response(status=403)
    return simulator.folders.find(name, subfolder, folder) or web.Response(status=404)


def _as_stored(request: web.Request, file: StoredFile, content: bytes) -> web.Response:
    headers = {
        "Content-Disposition": f'filename="{file.name}"',
        "ETag": file.etag(len(content)),
        "Last-Modified": file.last_modified,
        "Accept-Ranges": "bytes",
    }
    if _not_modified(request, file, len(content)):
        return web.Response(status=304, headers=headers)
    part = request.http_range
    if part.start is None and part.stop is None:
        return web.Response(body=content, content_type="image/png", headers=headers)
    start, stop, _ = part.indices(len(content))
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(status=206, body=content[start:stop], content_type="image/png", headers=headers)


def _not_modified(request: web.Request, file: StoredFile, size: int) -> bool:
    if "If-None-Match" in request.headers:
        return file.etag(size) in request.headers["If-None-Match"]
    since = request.headers.get("If-Modified-Since")
    return since is not None and parsedate_to_datetime(since).timestamp() >= int(file.saved_at)


def _reencoded(request: web.Request, file: StoredFile, content: bytes) -> web.Response:
    """Made anew each time, without metadata and without caching headers."""
    headers = {"Content-Disposition": f'filename="{file.name}"'}
    image = pyvips.Image.new_from_buffer(content, "")
    if "preview" in request.query:
        wanted, _, quality = request.query["preview"].partition(";")
        kind = wanted if wanted in {"webp", "jpeg"} else "webp"
        number = int(quality) if quality.isdigit() else 90
        body = image.write_to_buffer(f".{kind}", Q=max(1, min(100, number)), keep="none")
        return web.Response(body=body, content_type=f"image/{kind}", headers=headers)
    if request.query["channel"] == "a":
        image = image.bandjoin(255)
    return web.Response(body=image.pngsave_buffer(keep="none"), content_type="image/png", headers=headers)


async def upload_image(simulator: "Simulator", request: web.Request) -> web.StreamResponse:
    """Same name and bytes: the same name again; other bytes: a new name, unless told to overwrite."""
    fields = await request.post()
    image = fields.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        return web.Response(status=400)
    name, content = image.filename, image.file.read()
    folder, subfolder = str(fields.get("type", "input")), str(fields.get("subfolder", ""))
    if folder not in FOLDERS:
        return trouble()
    if escapes(subfolder) or escapes(name):
        return web.Response(status=400)
    if fields.get("overwrite") not in {"true", "1"}:
        name = _free_name(simulator, name, subfolder, folder, content)
    simulator.folders.put_upload(name, subfolder.strip("/"), folder, content)
    return web.json_response({"name": name, "subfolder": subfolder, "type": folder})


def _free_name(simulator: "Simulator", name: str, subfolder: str, folder: str, content: bytes) -> str:
    stem, dot, extension = name.rpartition(".")
    candidate, number = name, 1
    while (taken := simulator.folders.find(candidate, subfolder, folder)) is not None:
        if taken.content == content:
            break
        candidate = f"{stem} ({number}){dot}{extension}"
        number += 1
    return candidate


ROUTES = (
    ("GET", "/view", view),
    ("POST", "/upload/image", upload_image),
)
