"""Laws of stripping: the pixels stay, the text goes, twice is once, and a cut file never passes."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.storage.metadata_stripping import DamagedError, Format, detect_format, strip
from tests.support.images import PNG_SIGNATURE, jpeg, noise, pixels, png, png_chunk, webp

SECRET = b"seed 42 of /home/ann"

FILES: dict[str, tuple[Format, bytes]] = {
    "png": ("png", png()),
    "interlaced png": ("png", png(interlace=True)),
    "palette png": ("png", png(palette=True)),
    "transparent png": ("png", png(noise(bands=4))),
    "16 bit png": ("png", png(noise().cast("ushort").linear(257, 0).cast("ushort").copy(interpretation="rgb16"))),
    "png with a profile": ("png", png(noise().icc_transform("p3", input_profile="srgb"), keep="icc")),
    "jpeg": ("jpg", jpeg()),
    "progressive jpeg": ("jpg", jpeg(interlace=True)),
    "jpeg with restarts": ("jpg", jpeg(restart_interval=2)),
    "grey jpeg": ("jpg", jpeg(noise(bands=1))),
    "cmyk jpeg": ("jpg", jpeg(noise(bands=4).copy(interpretation="cmyk"))),
    "jpeg with a profile": ("jpg", jpeg(noise().icc_transform("p3", input_profile="srgb"), keep="icc")),
    "webp": ("webp", webp()),
    "lossless webp": ("webp", webp(lossless=True)),
    "transparent webp": ("webp", webp(noise(bands=4))),
    "webp with a profile": ("webp", webp(noise().icc_transform("p3", input_profile="srgb"), keep="icc")),
    "animated webp": ("webp", webp(noise(20, 40), page_height=20)),
}
files = st.sampled_from(sorted(FILES))


def png_with(data: bytes, name: bytes, body: bytes, place: int) -> bytes:
    """The chunk put before chunk number `place` (after the header, before the end)."""
    starts, at = [], len(PNG_SIGNATURE)
    while at < len(data):
        starts.append(at)
        at += 12 + struct.unpack(">I", data[at : at + 4])[0]
    at = starts[1 + place % (len(starts) - 1)]
    return data[:at] + png_chunk(name, body) + data[at:]


def jpeg_with(data: bytes, marker: int, body: bytes, place: int) -> bytes:
    """The segment put before segment number `place`, from the first after the start to the first scan."""
    starts, at = [], 2
    while True:
        starts.append(at)
        if data[at + 1] == 0xDA:
            break
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    at = starts[place % len(starts)]
    return data[:at] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[at:]


def webp_with(data: bytes, name: bytes, body: bytes) -> bytes:
    """An extended file, as a writer of metadata makes it."""
    width, height, bands, _ = pixels(data)
    chunks = data[12:]
    if chunks[:4] != b"VP8X":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<I", 10) + bytes((0x10 if bands == 4 else 0, 0, 0, 0)) + size + chunks
    flags = chunks[8] | (0x08 if name == b"EXIF" else 0x04)
    chunks = chunks[:8] + bytes((flags,)) + chunks[9:]
    chunks += name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


@given(
    st.sampled_from([name for name in FILES if "png" in name]),
    st.lists(
        st.tuples(
            st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"prVt", b"caBX"]),
            st.binary(),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_png_text_goes_and_every_other_byte_stays(name: str, chunks: list[tuple[bytes, bytes, int]]):
    _, plain = FILES[name]
    data = plain
    for kind, body, place in chunks:
        data = png_with(data, kind, body + SECRET, place)
    assert SECRET in data
    assert strip(data, "png") == strip(plain, "png") == plain


@given(
    st.sampled_from([name for name in FILES if "jpeg" in name]),
    st.lists(
        st.tuples(st.sampled_from([*range(0xE0, 0xF0), 0xFE]), st.binary(max_size=500), st.integers(0, 9)),
        min_size=1,
        max_size=4,
    ),
)
def test_jpeg_text_goes_and_every_other_byte_stays(name: str, segments: list[tuple[int, bytes, int]]):
    _, plain = FILES[name]
    data = plain
    for marker, body, place in segments:
        data = jpeg_with(data, marker, b"x" + body + SECRET, place)
    assert SECRET in data
    assert strip(data, "jpg") == strip(plain, "jpg")
    assert SECRET not in strip(data, "jpg")
    assert pixels(strip(data, "jpg")) == pixels(plain)


@given(
    st.sampled_from([name for name in FILES if "webp" in name]),
    st.lists(st.tuples(st.sampled_from([b"EXIF", b"XMP ", b"prVt"]), st.binary()), min_size=1, max_size=3),
)
def test_webp_text_goes_and_the_pixels_stay(name: str, chunks: list[tuple[bytes, bytes]]):
    _, plain = FILES[name]
    data = plain
    for kind, body in chunks:
        data = webp_with(data, kind, body + SECRET)
    assert SECRET in data
    stripped = strip(data, "webp")
    assert SECRET not in stripped
    assert pixels(stripped) == pixels(plain)
    assert strip(stripped, "webp") == stripped


@given(files)
def test_what_is_clean_stays_as_it_is(name: str):
    kind, data = FILES[name]
    stripped = strip(data, kind)
    assert pixels(stripped) == pixels(data)
    assert strip(stripped, kind) == stripped
    assert len(stripped) <= len(data)


@given(files, st.binary(min_size=1))
def test_what_follows_the_image_goes(name: str, more: bytes):
    kind, data = FILES[name]
    assert strip(data + SECRET + more, kind) == strip(data, kind)


@given(files, st.floats(0, 1, exclude_max=True))
def test_a_cut_file_never_passes(name: str, share: float):
    kind, data = FILES[name]
    cut = data[: 12 + int(share * (len(data) - 12))]
    with pytest.raises(DamagedError):
        strip(cut, kind)


@given(files, st.data())
def test_damage_is_said_and_never_a_crash(name: str, draw: st.DataObject):
    kind, data = FILES[name]
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 8))):
        damaged[draw.draw(st.integers(12, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(DamagedError):
        strip(bytes(damaged), kind)


@given(st.binary(max_size=200), st.sampled_from([PNG_SIGNATURE, b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBP"]))
def test_any_bytes_behind_a_signature_are_read_or_refused(body: bytes, signature: bytes):
    kind = detect_format(signature + body)
    assert kind is not None
    with suppress(DamagedError):
        strip(signature + body, kind)


def test_text_between_two_scans_goes_too():
    plain = jpeg(interlace=True)
    second_scan = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    tables = plain.rindex(b"\xff\xc4", 0, second_scan)
    comment = b"\xff\xfe" + struct.pack(">H", len(SECRET) + 2) + SECRET
    assert strip(plain[:tables] + comment + plain[tables:], "jpg") == strip(plain, "jpg")


def test_a_jpeg_keeps_what_its_colours_need_and_no_embedded_thumbnail():
    cmyk = strip(FILES["cmyk jpeg"][1], "jpg")
    assert b"Adobe" in cmyk
    profiled = strip(FILES["jpeg with a profile"][1], "jpg")
    assert b"ICC_PROFILE\0" in profiled
    with_thumbnail = jpeg_with(jpeg(), 0xE0, b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x02\x02" + SECRET, 0)
    assert SECRET not in strip(with_thumbnail, "jpg")


def test_a_png_keeps_its_profile():
    assert b"iCCP" in strip(FILES["png with a profile"][1], "png")


def test_an_unknown_critical_chunk_is_refused_in_words():
    with pytest.raises(DamagedError, match="unknown critical chunk"):
        strip(png_with(png(), b"CgBI", b"\0", 0), "png")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>", b"RIFF\0\0\0\0WAVE", b"\xff\xd8", b"%PDF-1.7"])
def test_other_formats_are_not_taken(data: bytes):
    assert detect_format(data) is None


MANY = 120_000


def many_frames() -> bytes:
    frames = (b"ANMF" + struct.pack("<I", 16) + bytes(16)) * MANY
    return b"RIFF" + struct.pack("<I", 4 + len(frames)) + b"WEBP" + frames


def one_frame_of_many() -> bytes:
    pieces = (b"ALPH" + struct.pack("<I", 0)) * MANY
    frame = b"ANMF" + struct.pack("<I", 16 + len(pieces)) + bytes(16) + pieces
    return b"RIFF" + struct.pack("<I", 4 + len(frame)) + b"WEBP" + frame


@pytest.mark.parametrize(
    "data",
    [
        PNG_SIGNATURE + png_chunk(b"IDAT", b"") * MANY + png_chunk(b"IEND", b""),
        PNG_SIGNATURE + png_chunk(b"tEXt", b"") * MANY + png_chunk(b"IEND", b""),
        b"\xff\xd8" + b"\xff\xd0" * MANY + b"\xff\xd9",
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * MANY + b"\xff\xd9",
        many_frames(),
        one_frame_of_many(),
    ],
    ids=["png, kept", "png, dropped", "jpeg, kept", "jpeg, dropped", "webp frames", "webp frame"],
)
def test_a_file_of_nothing_but_pieces_is_refused(data: bytes):
    """Empty ones take a hundred times their bytes of memory to sort."""
    image_format = detect_format(data)
    assert image_format is not None
    with pytest.raises(DamagedError, match="more pieces"):
        strip(data, image_format)


def test_a_large_honest_file_has_fewer_pieces():
    """As many as 256 MiB in the 8 kB that libpng writes by default; here each is small."""
    idat = png_chunk(b"IDAT", bytes(8))
    data = PNG_SIGNATURE + idat * 33_000 + png_chunk(b"IEND", b"")

    assert strip(data, "png") == data
