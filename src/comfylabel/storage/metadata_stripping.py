"""Takes everything out of an image file that is not needed to decode it, without touching the image data.

ComfyUI writes seed, graph and server paths into text chunks, and a camera its place into EXIF: none of that
may travel with a data set. What is kept is a list, so that a chunk nobody thought of goes: pixels, palette,
transparency, colour (ICC profile, gamma), animation. What follows the end of the image is dropped too.
"""

import re
from collections.abc import Iterator
from mmap import mmap
from typing import Literal, NamedTuple

Format = Literal["png", "jpg", "webp"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    {
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"cICP",
        b"mDCV",
        b"cLLI",
    }
    | {b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT"}
)
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_WEBP_FRAME_KEPT = frozenset((b"VP8 ", b"VP8L", b"ALPH"))
_WEBP_EXIF_AND_XMP = 0x08 | 0x04  # bits of VP8X that say "there is such a chunk"

_JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM and restart markers have no length
_JPEG_FILL, _JPEG_SCAN, _JPEG_END = 0xFF, 0xDA, 0xD9
_JPEG_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))  # APP0 to APP15 and comments
# Of those, what decoding needs: (marker, how it begins, how much of it is fixed and kept).
_JFIF = (0xE0, b"JFIF\0", 12)
_ICC = (0xE2, b"ICC_PROFILE\0", None)
_ADOBE = (0xEE, b"Adobe", 12)
# Inside a scan FF 00 is a data byte and FF D0..D7 a restart: anything else after FF is the next segment.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Of chunks and segments. Programs write pieces of 8 kB or more, of which the largest image taken has 33 000; five
# million empty ones are 64 MB of file that take 15 s and 1.6 GB to sort.
_MOST_PIECES = 100_000
_MOST_PIECES_OF_A_FRAME = 16
_SEARCHED_AT_ONCE = 1 << 22  # a search holds the GIL: 4 MB take some 10 ms


class DamagedError(ValueError):
    """What is wrong with the file, as the end of a sentence: "the file ends within a chunk"."""


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of the whole chunk
    body: int
    end: int  # of the body
    next: int


def detect_format(data: bytes) -> Format | None:
    """By the first bytes, never by a name or a content type that a stranger sent."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def strip(data: bytes, image_format: Format) -> bytes:
    """The same image without metadata; raises DamagedError when the file's structure is broken or cut."""
    return b"".join(pieces(data, image_format))


def pieces(data: bytes | mmap, image_format: Format) -> list[bytes | memoryview]:
    """The same in pieces, most of which are views of `data`: nothing large is copied."""
    return list({"png": _png, "jpg": _jpeg, "webp": _webp}[image_format](memoryview(data)))


def _png(data: memoryview) -> Iterator[bytes | memoryview]:
    yield data[:8]
    for chunk in _png_chunks(data):
        if chunk.name in _PNG_KEPT:
            yield data[chunk.start : chunk.next]
        elif chunk.name[:1].isupper():
            raise DamagedError(f"it holds an unknown critical chunk {chunk.name!r}")


def _png_chunks(data: memoryview) -> Iterator[_Chunk]:
    at = 8
    for _ in range(_MOST_PIECES):
        if at + 12 > len(data):
            raise DamagedError("the file ends before its last chunk")
        length, name = int.from_bytes(data[at : at + 4]), bytes(data[at + 4 : at + 8])
        body = at + 8
        if body + length + 4 > len(data):
            raise DamagedError("the file ends within a chunk")
        chunk = _Chunk(name, at, body, body + length, body + length + 4)
        yield chunk
        if name == b"IEND":
            return
        at = chunk.next
    raise _too_many_pieces()


def _jpeg(data: memoryview) -> Iterator[bytes | memoryview]:
    yield b"\xff\xd8"
    at = 2
    for _ in range(_MOST_PIECES):
        at, marker = _jpeg_marker(data, at)
        if marker == _JPEG_END:
            yield b"\xff\xd9"
            return
        if marker in _JPEG_ALONE:
            yield bytes((0xFF, marker))
            continue
        end = at + int.from_bytes(data[at : at + 2])  # the length counts itself
        if end < at + 2 or end > len(data):
            raise DamagedError("the file ends within a segment")
        kept = _jpeg_segment(marker, data[at + 2 : end])
        if kept is not None:
            yield bytes((0xFF, marker)) + (len(kept) + 2).to_bytes(2) + kept
        at = end
        if marker == _JPEG_SCAN:
            scan_end = _jpeg_scan_end(data, at)
            yield data[at:scan_end]
            at = scan_end
    raise _too_many_pieces()


def _jpeg_scan_end(data: memoryview, at: int) -> int:
    while at < len(data) - 1:
        found = _END_OF_SCAN.search(data, at, at + _SEARCHED_AT_ONCE)
        if found:
            return found.start()
        at += _SEARCHED_AT_ONCE - 1  # FF may be the last byte searched
    raise DamagedError("the file ends within its image data")


def _jpeg_marker(data: memoryview, at: int) -> tuple[int, int]:
    """Where the marker at `at` ends, and its second byte; any number of FF may fill the space before it."""
    if at >= len(data) or data[at] != _JPEG_FILL:
        raise DamagedError("the file ends before its image does" if at >= len(data) else "it holds bytes of no segment")
    while at < len(data) and data[at] == _JPEG_FILL:
        at += 1
    if at >= len(data):
        raise DamagedError("the file ends before its image does")
    return at + 1, data[at]


def _jpeg_segment(marker: int, body: memoryview) -> bytes | None:
    """What is kept of one segment, or None. JFIF (density) and Adobe (colours): their fixed parts only."""
    if marker not in _JPEG_METADATA:
        return bytes(body)
    for needed, beginning, fixed in (_JFIF, _ICC, _ADOBE):
        if marker == needed and bytes(body[: len(beginning)]) == beginning and len(body) >= (fixed or 0):
            return bytes(body[:fixed]) + (b"\0\0" if marker == _JFIF[0] else b"")  # 0 x 0: no embedded thumbnail
    return None


def _webp(data: memoryview) -> Iterator[bytes | memoryview]:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise DamagedError("the file ends before its last chunk")
    kept = [_webp_chunk(data, chunk) for chunk in _webp_chunks(data, 12, end) if chunk.name in _WEBP_KEPT]
    yield b"RIFF" + (4 + sum(map(len, kept))).to_bytes(4, "little") + b"WEBP"
    yield from kept


def _webp_chunks(data: memoryview, at: int, end: int, most: int = _MOST_PIECES) -> Iterator[_Chunk]:
    for _ in range(most):
        if at >= end:
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        body_end = at + 8 + length
        if at + 8 > end or body_end > end:
            raise DamagedError("the file ends within a chunk")
        chunk = _Chunk(bytes(data[at : at + 4]), at, at + 8, body_end, min(body_end + length % 2, end))
        yield chunk
        at = chunk.next
    raise _too_many_pieces()


def _webp_chunk(data: memoryview, chunk: _Chunk) -> bytes | memoryview:
    if chunk.name == b"VP8X" and chunk.end > chunk.body:
        flags = data[chunk.body] & ~_WEBP_EXIF_AND_XMP
        return b"".join((data[chunk.start : chunk.body], bytes((flags,)), data[chunk.body + 1 : chunk.next]))
    if chunk.name == b"ANMF":
        return _webp_frame(data, chunk)
    return data[chunk.start : chunk.next]


def _webp_frame(data: memoryview, chunk: _Chunk) -> bytes:
    """One picture of an animation: 16 bytes of place and time, then chunks of its own."""
    frame = chunk.body + 16
    if frame > chunk.end:
        raise DamagedError("it holds a picture without a place")
    kept = [data[chunk.body : frame]]
    kept += [
        data[c.start : c.next]
        for c in _webp_chunks(data, frame, chunk.end, _MOST_PIECES_OF_A_FRAME)
        if c.name in _WEBP_FRAME_KEPT
    ]
    body = b"".join(kept)
    return b"ANMF" + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _too_many_pieces() -> DamagedError:
    return DamagedError("it consists of more pieces than any program writes")
