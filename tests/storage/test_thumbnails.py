"""Small images are made, large ones never; whatever is damaged, too large or no image at all is refused in words."""

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from comfylabel.storage.thumbnails import MAX_SIDE, BrokenImage, render
from tests.support.images import jpeg, noise, pixels, png, png_bomb, png_chunk, webp

WRITERS = {"png": png, "jpg": jpeg, "webp": webp}


def size(data: bytes) -> tuple[int, int]:
    image = pyvips.Image.new_from_buffer(data, "")
    return image.width, image.height


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 2000), st.integers(1, 300), st.booleans(), st.sampled_from(sorted(WRITERS)))
def test_small_images_fit_and_are_never_enlarged(long: int, short: int, upright: bool, kind: str):
    width, height = (short, long) if upright else (long, short)
    data = WRITERS[kind](noise(width, height))
    rendered = render(data)
    assert (rendered.format, rendered.width, rendered.height) == (kind, width, height)
    assert size(rendered.image) == (width, height)
    for small, limit in ((rendered.thumbnail, 256), (rendered.tile, 640), (rendered.preview, 1024)):
        assert small[8:12] == b"WEBP"
        shrunk = min(1, limit / max(width, height))
        assert size(small) == pytest.approx((max(1, width * shrunk), max(1, height * shrunk)), abs=1)
        assert max(size(small)) == min(limit, max(width, height))


@pytest.mark.parametrize(
    "data",
    [
        png(noise(bands=1)),
        png(noise(bands=4)),
        png(noise(), palette=True),
        png(noise(), interlace=True),
        png(noise().cast("ushort").linear(257, 0).cast("ushort").copy(interpretation="rgb16")),
        png(noise().icc_transform("p3", input_profile="srgb"), keep="icc"),
        jpeg(noise(bands=1)),
        jpeg(noise(), interlace=True),
        jpeg(noise(bands=4).copy(interpretation="cmyk")),
        webp(noise(bands=4), lossless=True),
        webp(noise(20, 40), page_height=20),
    ],
    ids=[
        "grey",
        "alpha",
        "palette",
        "interlaced",
        "16bit",
        "p3",
        "grey-jpg",
        "progressive",
        "cmyk",
        "lossless",
        "moving",
    ],
)
def test_every_kind_of_pixel_becomes_an_srgb_webp(data: bytes):
    rendered = render(data)
    assert pixels(rendered.image) == pixels(data)
    for small in (rendered.thumbnail, rendered.tile, rendered.preview):
        image = pyvips.Image.new_from_buffer(small, "")
        assert (image.format, image.interpretation) == ("uchar", "srgb")
        assert 60 < image[0].avg() < 200


@pytest.mark.parametrize(("side", "encodings"), [(256, 1), (300, 2), (700, 3)])
def test_an_image_that_fits_is_encoded_once(side: int, encodings: int):
    """Encoding is most of the work on a small image: three times the same would be two thirds for nothing."""
    rendered = render(png(noise(side, side)))
    assert len({rendered.thumbnail, rendered.tile, rendered.preview}) == encodings


def test_small_images_carry_no_metadata():
    plain = png()
    after_header = 33  # signature and IHDR
    text = png_chunk(b"tEXt", b"prompt\0seed 42")
    rendered = render(plain[:after_header] + text + plain[after_header:])
    for stored in (rendered.image, rendered.thumbnail, rendered.tile, rendered.preview):
        assert b"seed 42" not in stored
        fields = pyvips.Image.new_from_buffer(stored, "").get_fields()
        assert [name for name in fields if "comment" in name or "exif" in name or "xmp" in name] == []


def test_a_turned_photo_is_stored_and_shown_as_its_pixels_lie():
    image = noise(60, 40).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    rendered = render(bytes(image.jpegsave_buffer(keep="all")))
    assert (rendered.width, rendered.height) == size(rendered.thumbnail) == (60, 40)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(WRITERS)), st.floats(0, 1, exclude_max=True))
def test_a_cut_image_is_refused(kind: str, share: float):
    data = WRITERS[kind](noise(200, 200))
    with pytest.raises(BrokenImage):
        render(data[: int(share * len(data))])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_png_whose_image_data_changed_on_the_way_is_refused(draw: st.DataObject):
    data = bytearray(png(noise(200, 200)))
    start, end = data.index(b"IDAT") + 4, len(data) - 12  # checksums included; all but the end chunk
    place = draw.draw(st.integers(start, end - 1))
    data[place] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(BrokenImage, match="damaged"):
        render(bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG, JPEG or WebP"),
        (b"<html><body>Not found</body></html>", "not a PNG, JPEG or WebP"),
        (b"GIF89a" + bytes(100), "not a PNG, JPEG or WebP"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a PNG, JPEG or WebP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 \x04\0\0\0abcd", "damaged"),
        (png_bomb(), "too large: 30000 x 30000, at most 100 megapixels"),
        (png_bomb(MAX_SIDE + 1, 1), "too large"),
        (png_bomb(2**31 - 1, 2**31 - 1), "too large|damaged"),
        (png_bomb(0, 10), "damaged"),
    ],
)
def test_what_is_no_image_that_can_be_kept_is_refused_in_words(data: bytes, words: str):
    with pytest.raises(BrokenImage, match=words):
        render(data)
