"""The same kind of landscape, small and cheap: a hundred instant workers draw hundreds of them a second.

libvips needs 8 ms of CPU for a picture of 64 x 64, nearly all of it to set up fifty operations; this needs 0.5.
"""

import math
import struct
import zlib
from collections.abc import Sequence

LARGEST = 128 * 128  # pixels; beyond that libvips is as quick and draws better
INK = 245
HILLS = 2
_CHANNELS = 3
_DARKEN = bytes(value // 4 for value in range(256))

Colour = Sequence[int]


def small_landscape(width: int, height: int, palette: Sequence[Colour], dice: bytes) -> bytearray:
    """RGB, row by row: a sky, a sun, and hills before it, as the dice say."""
    top, bottom, sun, far, near = palette
    above, below = _shifted(top, dice), _shifted(bottom, dice[3:])
    sky = [_mixed(above, below, row / height) for row in range(height)]
    lines = [_skyline(dice[16 + hill * 12 :], 0.5 + 0.2 * hill, width, height) for hill in range(HILLS)]
    colours = [_mixed(far, near, hill / (HILLS - 1)) for hill in range(HILLS)]
    pixels = bytearray(b"".join(colour * width for colour in sky))
    _add_sun(pixels, width, height, bytes(sun), dice)
    stride = width * _CHANNELS
    for line, colour in zip(lines, colours, strict=True):
        for x, level in enumerate(line):
            begin, rows = level * stride + x * _CHANNELS, height - level
            for channel in range(_CHANNELS):
                pixels[begin + channel :: stride] = colour[channel : channel + 1] * rows
    return pixels


def write_caption(pixels: bytearray, width: int, ink: bytes, across: int, margin: int) -> None:
    """`ink`: one byte a dot, 255 where it is, lines of `across`; it stands at the bottom on a dark panel."""
    height = len(pixels) // (width * _CHANNELS)
    rows = min(len(ink) // across, height)
    panel_rows = min(rows + margin, height)
    panel = memoryview(pixels)[(height - panel_rows) * width * _CHANNELS :]
    panel[:] = bytes(panel).translate(_DARKEN)
    kept = min(across, width - margin)
    empty_left, empty_right = bytes(margin), bytes(width - margin - kept)
    skipped = len(ink) // across - rows
    lines = (ink[row * across : row * across + kept] for row in range(skipped, skipped + rows))
    dots = b"".join(empty_left + line + empty_right for line in lines)
    coloured = bytearray(len(dots) * _CHANNELS)
    for channel in range(_CHANNELS):
        coloured[channel::_CHANNELS] = dots
    written = panel[len(panel) - len(coloured) :]
    inked = int.from_bytes(coloured, "big")
    white = int.from_bytes(bytes([INK]) * len(coloured), "big")
    # The panel's values have two bits less than the ink's, so that an `or` would mix them: keep one or the other.
    both = (int.from_bytes(written, "big") & ~inked) | (white & inked)
    written[:] = both.to_bytes(len(coloured), "big")


def png(pixels: bytes, width: int, height: int) -> bytes:
    """As libvips would write it, but unfiltered."""
    stride = width * _CHANNELS
    rows = b"".join(b"\0" + pixels[row * stride : (row + 1) * stride] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _mixed(first: Colour, second: Colour, share: float) -> bytes:
    return bytes(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def _shifted(colour: Colour, dice: bytes) -> list[int]:
    return [max(0, min(255, value + (die - 128) // 6)) for value, die in zip(colour, dice, strict=False)]


def _add_sun(pixels: bytearray, width: int, height: int, colour: bytes, dice: bytes) -> None:
    radius = max(2, int((0.06 + dice[8] / 255 * 0.1) * min(width, height)))
    across, down = int(width * (0.15 + dice[9] / 255 * 0.7)), int(height * (0.15 + dice[10] / 255 * 0.3))
    for row in range(max(0, down - radius), min(height, down + radius + 1)):
        half = int(math.sqrt(radius**2 - (row - down) ** 2))
        left, right = max(0, across - half), min(width, across + half + 1)
        begin = row * width
        pixels[(begin + left) * _CHANNELS : (begin + right) * _CHANNELS] = colour * (right - left)


def _skyline(dice: bytes, level: float, width: int, height: int) -> list[int]:
    """The height of a hill above each column: two waves of the dice's choice."""
    waves = [((0.5 + dice[i * 3] / 64) * 2 * math.pi / width, dice[i * 3 + 1] / 40, 0.08 / (i + 1)) for i in range(2)]
    shares = (level + sum(size * math.sin(x * pace + phase) for pace, phase, size in waves) for x in range(width))
    return [max(0, min(height, int(height * share))) for share in shares]
