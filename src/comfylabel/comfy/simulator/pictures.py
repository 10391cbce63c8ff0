"""The pictures of the simulated ComfyUI: a small landscape, the same for the same prompt, seed and batch index,
with these three written below it, so that a person and a test can see which image they look at.
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyvips

from comfylabel.comfy.simulator.font import GLYPH_HEIGHT, GLYPH_WIDTH, mask, printable, wrap
from comfylabel.comfy.simulator.small_pictures import LARGEST, png, small_landscape, write_caption

SOFTWARE = "comfylabel simulated ComfyUI"
PNG_HEADER_BYTES = 8 + 25  # signature and IHDR: text chunks follow them, as in ComfyUI's files
CAPTION_SHARE = 0.35  # of the height, at most
CAPTION_MARGIN = 2  # dots to the left and above; the last line ends with the picture
INVERTED = bytes(range(255, -1, -1))
CHARACTERS_ACROSS, LINES_DOWN = 42, 14  # at least, where the picture is large enough for larger dots

# Sky top, sky bottom, sun, far hill, near hill; the prompt chooses, so that a batch keeps its mood.
PALETTES = tuple(
    tuple(bytes.fromhex(colour) for colour in palette.split())
    for palette in (
        "1d2b53 f49d6e ffe0a3 7a5c7c 2b2440",
        "2a6f97 cfe8ef fff3c4 6a9c89 1f3f3a",
        "3d1e4f e26d8f ffd6ba 8c4a72 2b1533",
        "0b3954 bfd7ea ffffff 5a7d9a 16324f",
        "e07a5f f2cc8f fff7e0 81b29a 3d405b",
        "264653 e9c46a f4f1de 2a9d8f 1b3a40",
        "12263a c5d86d f7f7c9 5b8e55 1d3b2a",
        "4a4e69 f2e9e4 ffe8d6 9a8c98 22223b",
    )
)


@dataclass(frozen=True, slots=True)
class Picture:
    """What has to be known to draw an image, any number of times, to the same bytes."""

    width: int
    height: int
    prompt: str = ""
    seed: int | None = None
    batch_index: int = 0
    colour: int | None = None  # of an EmptyImage
    upload: bytes | None = None  # of a LoadImage
    inverted: bool = False

    @classmethod
    def of_upload(cls, content: bytes) -> "Picture":
        header = pyvips.Image.new_from_buffer(content, "")
        return cls(header.width, header.height, upload=content)


def draw(picture: Picture) -> pyvips.Image:
    """All but small landscapes."""
    if picture.upload is not None:
        image = pyvips.Image.new_from_buffer(picture.upload, "").colourspace("srgb")[:3]
    elif picture.colour is not None:
        colour = picture.colour.to_bytes(3, "big")
        image = pyvips.Image.new_from_memory(colour, 1, 1, 3, "uchar").embed(
            0, 0, picture.width, picture.height, extend="copy"
        )
    else:
        image = _captioned(_landscape(picture), picture)
    return image.invert() if picture.inverted else image


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the RGB pixels, and of the PNG without its text chunks."""

    pixels: str
    clean: str


def encode(picture: Picture, texts: Mapping[str, Any]) -> tuple[bytes, Digests]:
    """PNG as ComfyUI saves it, with a text chunk for each of `texts`."""
    clean, found = _encode_clean(picture)
    chunks = [_text_chunk(key, json.dumps(value)) for key, value in texts.items()]
    chunks.append(_text_chunk("Software", SOFTWARE))
    return clean[:PNG_HEADER_BYTES] + b"".join(chunks) + clean[PNG_HEADER_BYTES:], found


def digests(picture: Picture) -> Digests:
    return _encode_clean(picture)[1]


def _encode_clean(picture: Picture) -> tuple[bytes, Digests]:
    if picture.width * picture.height <= LARGEST and picture.upload is None and picture.colour is None:
        pixels = _small(picture)
        file = png(pixels, picture.width, picture.height)
    else:
        pixels = draw(picture).write_to_memory()
        image = pyvips.Image.new_from_memory(pixels, picture.width, picture.height, 3, "uchar")
        file = image.pngsave_buffer(compression=1, filter="sub", keep="none")
    return file, Digests(hashlib.sha256(pixels).hexdigest(), hashlib.sha256(file).hexdigest())


def _small(picture: Picture) -> bytes:
    pixels = small_landscape(picture.width, picture.height, _palette(picture), _dice(picture))
    across, scale = caption_grid(picture.width, picture.height)
    assert scale == 1, "larger dots are for larger pictures"
    write_caption(pixels, picture.width, mask(caption(picture), across), across * GLYPH_WIDTH, CAPTION_MARGIN)
    return bytes(pixels).translate(INVERTED) if picture.inverted else bytes(pixels)


def caption(picture: Picture) -> list[str]:
    """The lines written on the picture: that it is simulated, the prompt, the seed and the batch index."""
    across, scale = caption_grid(picture.width, picture.height)
    room = max(3, int(picture.height * CAPTION_SHARE) // (GLYPH_HEIGHT * scale))
    identity = wrap(f"seed {picture.seed} #{picture.batch_index}", across, 4)
    prompt = wrap(printable(picture.prompt), across, max(1, room - len(identity) - 1))
    return ["simulated"[:across], *prompt, *identity]


def caption_grid(width: int, height: int) -> tuple[int, int]:
    """Characters in a line, and how many pixels a dot of the font is wide."""
    scale = max(1, min(width // (CHARACTERS_ACROSS * GLYPH_WIDTH), height // (LINES_DOWN * GLYPH_HEIGHT)))
    return max(9, (width // scale - 4) // GLYPH_WIDTH), scale


def _captioned(scene: pyvips.Image, picture: Picture) -> pyvips.Image:
    across, scale = caption_grid(picture.width, picture.height)
    lines = caption(picture)
    ink = pyvips.Image.new_from_memory(
        mask(lines, across), across * GLYPH_WIDTH, len(lines) * GLYPH_HEIGHT, 1, "uchar"
    ).zoom(scale, scale)
    panel_height = min(ink.height + CAPTION_MARGIN * scale, picture.height)
    panel = scene.crop(0, picture.height - panel_height, picture.width, panel_height) * 0.25
    placed = ink.embed(CAPTION_MARGIN * scale, panel_height - ink.height, picture.width, panel_height)
    written = (placed > 0).ifthenelse(245, panel).cast("uchar")
    return scene.insert(written, 0, picture.height - panel_height)


def _landscape(picture: Picture) -> pyvips.Image:
    dice = _dice(picture)
    top, bottom, sun, far, near = _palette(picture)
    width, height = picture.width, picture.height
    image = _sky(top, bottom, dice, width, height)
    radius = (0.06 + dice[8] / 255 * 0.1) * min(width, height)
    image = image.draw_circle(
        list(sun),
        int(width * (0.15 + dice[9] / 255 * 0.7)),
        int(height * (0.15 + dice[10] / 255 * 0.3)),
        max(2, int(radius)),
        fill=True,
    )
    down = pyvips.Image.xyz(width, height)[1]
    layers = 4
    for layer in range(layers):
        share = layer / (layers - 1)
        colour = [round(f + (n - f) * share) for f, n in zip(far, near, strict=True)]
        skyline = _skyline(dice[16 + layer * 8 :], 0.45 + 0.1 * layer, width, height)
        image = (down > skyline.embed(0, 0, width, height, extend="copy")).ifthenelse(colour, image)
    return image.cast("uchar")


def _dice(picture: Picture) -> bytes:
    identity = f"{picture.prompt}\0{picture.seed}\0{picture.batch_index}".encode(errors="surrogatepass")
    return hashlib.sha512(identity).digest()


def _palette(picture: Picture) -> tuple[bytes, ...]:
    mood = hashlib.sha256(picture.prompt.encode(errors="surrogatepass")).digest()
    return PALETTES[mood[0] % len(PALETTES)]


def _sky(top: bytes, bottom: bytes, dice: bytes, width: int, height: int) -> pyvips.Image:
    """A mesh of four by four colours between top and bottom, smoothed up to the full size."""
    mesh = bytearray()
    for row in range(4):
        for column in range(4):
            jitter = (dice[row * 4 + column] - 128) / 6
            mesh += bytes(
                max(0, min(255, round(t + (b - t) * row / 3 + jitter))) for t, b in zip(top, bottom, strict=True)
            )
    small = pyvips.Image.new_from_memory(bytes(mesh), 4, 4, 3, "uchar")
    return small.affine(
        [width / 3, 0, 0, height / 3],
        oarea=[0, 0, width, height],
        interpolate=pyvips.Interpolate.new("bilinear"),
        extend="copy",
    ).copy_memory()


def _skyline(dice: bytes, level: float, width: int, height: int) -> pyvips.Image:
    """The height of a hill above each column, one row of it: three waves of the dice's choice."""
    waves = [(0.5 + dice[i] / 64, dice[i + 1] / 40, 0.06 / (i + 1)) for i in range(3)]
    heights = [
        int(
            height
            * (level + sum(size * math.sin(x / width * 2 * math.pi * pace + phase) for pace, phase, size in waves))
        )
        for x in range(width)
    ]
    row = struct.pack(f"{width}H", *(max(0, value) for value in heights))
    return pyvips.Image.new_from_memory(row, width, 1, 1, "ushort")


def _text_chunk(key: str, text: str) -> bytes:
    body = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("ascii")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
