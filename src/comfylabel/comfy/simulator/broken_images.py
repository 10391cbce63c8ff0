"""The ways in which a simulated worker spoils GET /view."""

import struct
import zlib

from aiohttp import web

from comfylabel.comfy.simulator.faults import Faults

ENDLESS_BYTES = 2 * 2**30
PIECE = bytes(2**20)
HUGE_SIDE = 30_000


async def broken_image(faults: Faults, request: web.Request, content: bytes) -> web.StreamResponse | None:
    """None: this time nothing is wrong."""
    if faults.take("truncated_images"):  # complete by its length, but half of the file is missing
        return web.Response(body=content[: len(content) // 2], content_type="image/png")
    if faults.take("not_images"):
        return web.Response(body=b"This is not a picture." * 100, content_type="image/png")
    if faults.take("huge_images"):
        return web.Response(body=huge_png(), content_type="image/png")
    if faults.take("cut_images"):
        return await _cut(request, content)
    if faults.take("endless_images"):
        return await _endless(request)
    return None


async def _cut(request: web.Request, content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    """Chunked, so that no Content-Length warns the reader."""
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for _ in range(ENDLESS_BYTES // len(PIECE)):
        await response.write(PIECE)
    return response


def huge_png() -> bytes:
    """Black, 30000 x 30000 in one bit a pixel: 110 kB that become 900 megapixels."""
    header = struct.pack(">IIBBBBB", HUGE_SIDE, HUGE_SIDE, 1, 0, 0, 0, 0)
    compressor = zlib.compressobj()
    row = bytes(1 + HUGE_SIDE // 8)
    data = b"".join(compressor.compress(row) for _ in range(HUGE_SIDE)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
