"""Pictures as workers send them, small and made on the spot."""

import struct
import zlib
from typing import Any

import pyvips

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(width: int = 60, height: int = 40, bands: int = 3, seed: int = 1) -> pyvips.Image:
    """Hard to compress, so that a file has image data all along."""
    layers = [pyvips.Image.gaussnoise(width, height, mean=128, sigma=40, seed=seed + band) for band in range(bands)]
    image = layers[0].bandjoin(layers[1:]) if bands > 1 else layers[0]
    return image.cast("uchar").copy(interpretation="srgb" if bands > 2 else "b-w")


def png(image: pyvips.Image | None = None, **options: Any) -> bytes:
    return bytes((image or noise()).pngsave_buffer(**{"keep": "none"} | options))


def jpeg(image: pyvips.Image | None = None, **options: Any) -> bytes:
    return bytes((image or noise()).jpegsave_buffer(**{"keep": "none", "Q": 90} | options))


def webp(image: pyvips.Image | None = None, **options: Any) -> bytes:
    return bytes((image or noise()).webpsave_buffer(**{"keep": "none", "Q": 90} | options))


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A small file whose header promises a huge image."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib.compress(bytes(100_000))) + png_chunk(b"IEND", b"")


def pixels(data: bytes) -> tuple[int, int, int, bytes]:
    """Width, height, bands and the decoded values; an animation's pictures one below the other."""
    every_page = {"n": -1} if data.startswith(b"RIFF") else {}
    image = pyvips.Image.new_from_buffer(data, "", **every_page)
    return image.width, image.height, image.bands, image.write_to_memory()
