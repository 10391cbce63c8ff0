"""A five by seven dot font, so that a caption looks the same on every machine and a test can read it back."""

import unicodedata

GLYPH_WIDTH, GLYPH_HEIGHT = 6, 9  # with the gap to the next character and to the next line
FIRST, LAST = 32, 126

# Five columns of seven dots for each printable ASCII character, the lowest bit on top.
COLUMNS = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649552250 0005030000 001c224100"
    "0041221c00 14083e0814 08083e0808 0050300000 0808080808 0060600000 2010080402 3e5149453e 00427f4000"
    "4261514946 2141454b31 1814127f10 2745454539 3c4a494930 0171090503 3649494936 064949291e 0036360000"
    "0056360000 0814224100 1414141414 0041221408 0201510906 324979413e 7e1111117e 7f49494936 3e41414122"
    "7f4141221c 7f49494941 7f09090901 3e4149497a 7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040"
    "7f020c027f 7f0408107f 3e4141413e 7f09090906 3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f"
    "1f2040201f 3f4038403f 6314081463 0708700807 6151494543 007f414100 0204081020 0041417f00 0402010204"
    "4040404040 0001020400 2054545478 7f48444438 3844444420 384444487f 3854545418 087e090102 0c5252523e"
    "7f08040478 00447d4000 2040443d00 7f10284400 00417f4000 7c04180478 7c08040478 3844444438 7c14141408"
    "081414187c 7c08040408 4854545420 043f444020 3c4040207c 1c2040201c 3c4030403c 4428102844 0c5050503c"
    "4464544c44 0008364100 00007f0000 0041360800 0804081008"
)


def _rows(code: int) -> tuple[bytes, ...]:
    columns = COLUMNS[(code - FIRST) * 5 : (code - FIRST) * 5 + 5]
    return tuple(
        bytes(255 * (column >> row & 1) for column in columns) + b"\0" if row < 7 else bytes(GLYPH_WIDTH)  # noqa: PLR2004 - seven dots high
        for row in range(GLYPH_HEIGHT)
    )


GLYPHS = {chr(code): _rows(code) for code in range(FIRST, LAST + 1)}


def printable(text: str) -> str:
    """The text as this font can show it: accents dropped, white space joined, the rest as question marks."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()))
    kept = (character for character in plain if not unicodedata.combining(character))
    return "".join(character if character in GLYPHS else "?" for character in kept)


def wrap(text: str, width: int, lines: int) -> list[str]:
    """Cut at any character into at most so many lines; two dots say that something is missing."""
    pieces = [text[start : start + width] for start in range(0, len(text), width)]
    if len(pieces) > lines:
        pieces = [*pieces[: lines - 1], pieces[lines - 1][: width - 2] + ".."] if lines else []
    return pieces


def mask(lines: list[str], width: int) -> bytes:
    """One byte a dot, 255 where ink is: `width` characters wide, a line for each text."""
    return b"".join(
        b"".join(GLYPHS[character][row] for character in line.ljust(width))
        for line in lines
        for row in range(GLYPH_HEIGHT)
    )
