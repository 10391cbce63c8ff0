"""GET /images/{key}?expires=&signature=: an image for a browser or a CDN. The signature is the permission."""

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from comfylabel.errors import NotFound
from comfylabel.storage.keys import content_type, is_key
from comfylabel.storage.signing import Signer
from comfylabel.storage.store import ObjectStore

router = APIRouter(tags=["images"])

# No image has 10^18 bytes, and Python reads no number of thousands of digits: such a range is ignored.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_ALWAYS = {
    # Another site's page may show an image whose address it was given; the labelling screen itself is another
    # site when a CDN serves the images, and reads them by fetch.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
    # An image came from a worker: whatever it holds, a browser must never run it.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Accept-Ranges": "bytes",
}


@router.head("/images/{key:path}", include_in_schema=False)
@router.get(
    "/images/{key:path}",
    response_class=Response,
    responses={
        200: {"description": "The image", "content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}},
        206: {"description": "The part asked for"},
        304: {"description": "The caller's copy is still good"},
        403: {"description": "The address was changed or has expired"},
        416: {"description": "No such part"},
    },
)
async def image(
    request: Request, key: str, expires: Annotated[str, Query()] = "", signature: Annotated[str, Query()] = ""
) -> Response:
    signer: Signer = request.app.state.signer
    store: ObjectStore = request.app.state.store
    left = signer.verify(key, expires, signature)
    size = await store.size(key) if is_key(key) else None
    if size is None:
        raise NotFound("This image is no longer in the store.")
    headers = {**_ALWAYS, "Cache-Control": f"public, max-age={left}, immutable", "ETag": _etag(key, size)}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    span = _span(request, headers["ETag"], size)
    if span is None:
        return Response(status_code=416, headers={**_ALWAYS, "Content-Range": f"bytes */{size}"})
    start, end = span
    headers |= {"Content-Length": str(end - start), "Content-Type": content_type(key)}
    if partial := (start, end) != (0, size):
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(await _opened(store.stream(key, start, end)), status_code=status, headers=headers)


def _etag(key: str, size: int) -> str:
    """Strong, and the same from every replica and store: a key never changes its bytes."""
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{size:x}"'


def _span(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of what to send; None when the part asked for lies outside.

    A header that is not one plain range is ignored, as RFC 9110 allows: then the whole image is sent.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or not any(match.groups()) or request.headers.get("if-range", etag) != etag:
        return 0, size
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else None
    start, end = int(first), min(int(last) + 1 if last else size, size)
    if last and int(last) < int(first):
        return 0, size
    return (start, end) if start < size else None


async def _opened(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, the first one already read: so a store that is away is a 503 and not a cut answer."""
    first = await anext(chunks, b"")

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()
