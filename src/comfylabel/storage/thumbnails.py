"""Decodes an image in full, which proves that it is one, and makes its smaller versions on the way.

An image from a worker is untrusted input: only three formats are decoded, the size is read from its header
before anything is decoded, and no loader that libvips calls untrusted can run. libvips frees the GIL.
"""

import os

os.environ.setdefault("VIPS_CONCURRENCY", "1")  # before the import: the threads of the caller are the parallelism

from dataclasses import dataclass

import pyvips

from comfylabel.errors import ComfyLabelError
from comfylabel.storage.metadata_stripping import DamagedError, Format, detect_format, strip

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
    """What is stored: the image without metadata (its pixels untouched), and three smaller WebPs."""

    format: Format
    image: bytes
    thumbnail: bytes
    tile: bytes
    preview: bytes
    width: int
    height: int


def render(data: bytes) -> Rendered:
    """Raises BrokenImage with the reason in words. Blocks for some 60 ms a megapixel."""
    image_format = detect_format(data)
    if image_format is None:
        raise BrokenImage(f"The worker's answer is not a PNG, JPEG or WebP image (it begins with {data[:12]!r}).")
    try:
        stripped = strip(data, image_format)
        width, height = _size(stripped, image_format)
        preview = _decode(stripped, image_format)
        large = _webp(preview)
        tile, middle = _smaller(preview, large, TILE_PIXELS)
        _, small = _smaller(tile, middle, THUMBNAIL_PIXELS)  # 3 ms less than from the preview
        return Rendered(image_format, stripped, small, middle, large, width, height)
    except DamagedError as error:
        raise BrokenImage(f"The worker's image is damaged: {error}.") from error
    except pyvips.Error as error:
        raise BrokenImage("The worker's image is damaged: it cannot be decoded to its end.") from error


def _size(data: bytes, image_format: Format) -> tuple[int, int]:
    """From the header alone: a 30000 x 30000 image of 100 kB must not become 3.6 GB of memory."""
    header = _load(data, image_format)
    width, height = header.width, header.height
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BrokenImage(
            f"The worker's image is too large: {width} x {height}, at most {MAX_PIXELS // 10**6} megapixels."
        )
    return width, height


def _decode(data: bytes, image_format: Format) -> pyvips.Image:
    """Every line is decoded, only a preview's worth of pixels is ever held.

    Not `thumbnail_buffer`: it is silent about an image cut in half (seen with libvips 8.18.7).
    """
    image = _load(data, image_format)
    # Only where there is a profile: converting from sRGB to sRGB would cost seven times the decoding.
    colours = {"output_profile": "srgb"} if "icc-profile-data" in image.get_fields() else {}
    small = image.thumbnail_image(PREVIEW_PIXELS, height=PREVIEW_PIXELS, size="down", no_rotate=True, **colours)
    return small.copy_memory()


def _smaller(image: pyvips.Image, encoded: bytes, pixels: int) -> tuple[pyvips.Image, bytes]:
    """With its encoding; one that fits as it is was encoded before."""
    if max(image.width, image.height) <= pixels:
        return image, encoded
    shrunk = image.thumbnail_image(pixels, height=pixels, size="down").copy_memory()
    return shrunk, _webp(shrunk)


def _load(data: bytes, image_format: Format) -> pyvips.Image:
    load = getattr(pyvips.Image, f"{_LOADERS[image_format]}_buffer")
    return load(data, access="sequential", fail_on="error")


def _webp(image: pyvips.Image) -> bytes:
    encoded: bytes = image.webpsave_buffer(Q=_WEBP_QUALITY, effort=_WEBP_EFFORT, keep="none")
    return encoded
