"""Decodes an image in full, which proves that it is one, and makes its smaller versions on the way.

An image from a worker is untrusted input: only three formats are decoded, the size is read from its header
before anything is decoded, and no loader that libvips calls untrusted can run. libvips frees the GIL.
"""

import os

os.environ.setdefault("VIPS_CONCURRENCY", "1")  # before the import: the threads of the caller are the parallelism

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap

import pyvips

from comfylabel.errors import ComfyLabelError
from comfylabel.storage.metadata_stripping import DamagedError, Format, detect_format, pieces

THUMBNAIL_PIXELS = 256
TILE_PIXELS = 640  # two side by side on a phone: 195 CSS pixels of three device pixels each are 585
PREVIEW_PIXELS = 1024
MAX_PIXELS = 100_000_000  # 400 MB decoded: ten times what image models make, and a machine with 2 GB survives it
MAX_SIDE = 32_768

_LOADERS = {"png": "pngload", "jpg": "jpegload", "webp": "webpload"}
_WEBP_QUALITY = 80
_WEBP_EFFORT = (
    0  # a 1024 px photo: 35 ms of CPU for 219 kB; effort 2 takes 55 ms for 220 kB, effort 4 takes 112 ms for 209
)

pyvips.cache_set_max(0)  # every image comes once
pyvips.block_untrusted_set(state=True)


class BrokenImage(ComfyLabelError):
    """The worker's answer is not an image that can be kept."""

    status = 502
    code = "broken_image"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is stored: the image without metadata (its pixels untouched) in pieces, and three smaller WebPs."""

    format: Format
    pieces: Sequence[bytes | memoryview]
    thumbnail: bytes
    tile: bytes
    preview: bytes
    width: int
    height: int

    @property
    def image(self) -> bytes:
        return b"".join(self.pieces)


def render(data: bytes | mmap) -> Rendered:
    """Raises BrokenImage with the reason in words. Blocks for some 60 ms a megapixel.

    Of what is mapped nothing is copied: its pieces stay views of it.
    """
    image_format = detect_format(data[:12])
    if image_format is None:
        raise BrokenImage(f"The worker's answer is not a PNG, JPEG or WebP image (it begins with {data[:12]!r}).")
    try:
        kept = pieces(data, image_format)
        stripped: Sequence[bytes | memoryview] = kept if isinstance(data, mmap) else [b"".join(kept)]
        with _loaded(stripped, image_format) as image:
            width, height = _size(image)
            small, middle, large = _smaller_versions(_at_most_a_preview(image))
        return Rendered(image_format, stripped, small, middle, large, width, height)
    except DamagedError as error:
        raise BrokenImage(f"The worker's image is damaged: {error}.") from error
    except pyvips.Error as error:
        raise BrokenImage("The worker's image is damaged: it cannot be decoded to its end.") from error


def _size(image: pyvips.Image) -> tuple[int, int]:
    """From the header alone: a 30000 x 30000 image of 100 kB must not become 3.6 GB of memory."""
    width, height = image.width, image.height
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BrokenImage(
            f"The worker's image is too large: {width} x {height}, at most {MAX_PIXELS // 10**6} megapixels."
        )
    return width, height


def _at_most_a_preview(image: pyvips.Image) -> pyvips.Image:
    """What will be decoded line by line, to no more pixels than a preview has.

    Not `thumbnail_buffer`: it is silent about an image cut in half (seen with libvips 8.18.7).
    """
    has_profile = "icc-profile-data" in image.get_fields()
    is_plain = (image.format, image.interpretation) == ("uchar", "srgb") and not has_profile
    if is_plain and max(image.width, image.height) <= PREVIEW_PIXELS:
        return image  # a thumbnail of that is the same, and sets up ten operations for it
    # Only where there is a profile: converting from sRGB to sRGB would cost seven times the decoding.
    colours = {"output_profile": "srgb"} if has_profile else {}
    return image.thumbnail_image(PREVIEW_PIXELS, height=PREVIEW_PIXELS, size="down", no_rotate=True, **colours)


def _smaller_versions(preview: pyvips.Image) -> tuple[bytes, bytes, bytes]:
    """Thumbnail, tile and preview, the same object where one that fits is the other. Every line is decoded, once."""
    if max(preview.width, preview.height) <= THUMBNAIL_PIXELS:
        only = _webp(preview)  # as it is decoded, without a copy in memory
        return only, only, only
    preview = preview.copy_memory()
    large = _webp(preview)
    tile, middle = _smaller(preview, large, TILE_PIXELS)
    _, small = _smaller(tile, middle, THUMBNAIL_PIXELS)  # 3 ms less than from the preview
    return small, middle, large


def _smaller(image: pyvips.Image, encoded: bytes, pixels: int) -> tuple[pyvips.Image, bytes]:
    """With its encoding; one that fits as it is was encoded before."""
    if max(image.width, image.height) <= pixels:
        return image, encoded
    shrunk = image.thumbnail_image(pixels, height=pixels, size="down").copy_memory()
    return shrunk, _webp(shrunk)


@contextmanager
def _loaded(stripped: Sequence[bytes | memoryview], image_format: Format) -> Iterator[pyvips.Image]:
    """Only the header is read. From a source: of a buffer libvips would take a copy. An image does not keep the source
    that it is read from alive: within the block it is.
    """
    load = getattr(pyvips.Image, f"{_LOADERS[image_format]}_source")
    source = pyvips.Source.new_from_memory(stripped[0]) if len(stripped) == 1 else _source_of(stripped)
    yield load(source, access="sequential", fail_on="error")


def _source_of(stripped: Sequence[bytes | memoryview]) -> pyvips.Source:
    """Read once, from its beginning to its end."""
    unread = deque(memoryview(piece) for piece in stripped)

    def read(length: int) -> bytes:
        while unread and not unread[0]:
            unread.popleft()
        if not unread:
            return b""
        part, unread[0] = unread[0][:length], unread[0][length:]
        return bytes(part)

    source = pyvips.SourceCustom()
    source.on_read(read)
    return source


def _webp(image: pyvips.Image) -> bytes:
    encoded: bytes = image.webpsave_buffer(Q=_WEBP_QUALITY, effort=_WEBP_EFFORT, keep="none")
    return encoded
