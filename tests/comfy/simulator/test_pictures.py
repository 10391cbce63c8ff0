"""Simulated pictures: the same again and again, different where they should be, and legible."""

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from comfylabel.comfy.simulator.font import GLYPHS, printable, wrap
from comfylabel.comfy.simulator.pictures import Picture, caption, digests, encode
from tests.support.simulator import read_caption

sides = st.sampled_from([64, 72, 104, 128, 512, 768])
seeds = st.integers(0, 2**53 - 1)


@settings(max_examples=25, deadline=None)
@given(sides, sides, st.text(max_size=200), seeds, st.integers(0, 63))
def test_the_caption_can_be_read_from_the_pixels(width: int, height: int, prompt: str, seed: int, index: int):
    picture = Picture(width, height, prompt, seed, index)
    png, _ = encode(picture, {})
    assert read_caption(png) == [line.rstrip() for line in caption(picture)]


@settings(max_examples=10, deadline=None)
@given(st.text(max_size=40), seeds, st.integers(0, 63))
def test_the_same_picture_has_the_same_bytes(prompt: str, seed: int, index: int):
    picture = Picture(64, 64, prompt, seed, index)
    assert encode(picture, {"prompt": {}}) == encode(picture, {"prompt": {}})


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a cat", "a dog"]), seeds, st.integers(0, 3)), unique=True, max_size=5))
def test_another_prompt_seed_or_index_is_another_picture(identities: list[tuple[str, int, int]]):
    shown = {digests(Picture(64, 64, *identity)).pixels for identity in identities}
    assert len(shown) == len(identities)


def test_a_caption_says_that_it_is_simulated_and_what_of():
    assert caption(Picture(512, 512, "a cat in the snow", 7, 2)) == ["simulated", "a cat in the snow", "seed 7 #2"]


def test_a_long_prompt_is_cut_and_the_seed_never():
    lines = caption(Picture(64, 64, "word " * 100, 2**53 - 1, 63))
    assert "".join(lines).replace("simulated", "").endswith("seed 9007199254740991 #63")
    assert any(line.endswith("..") for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("très élégant", "tres elegant"), ("a\n\tb  c", "a b c"), ("猫", "?"), ("\ud800", "?"), ("ﬁne", "fine")],
)
def test_what_the_font_can_show(text: str, shown: str):
    assert printable(text) == shown


@given(st.text(alphabet=st.sampled_from(sorted(GLYPHS)), max_size=80), st.integers(3, 20))
def test_wrapping_loses_nothing_while_there_is_room(text: str, width: int):
    lines = wrap(text, width, 80)
    assert "".join(lines) == text
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (1000, 72)])
def test_files_are_rgb_png_of_the_size_asked_for(size: tuple[int, int]):
    png, found = encode(Picture(*size, "a cat", 1), {"prompt": {"1": {}}})
    image = pyvips.Image.new_from_buffer(png, "")
    assert (image.width, image.height, image.bands, image.format) == (*size, 3, "uchar")
    assert b'tEXtprompt\0{"1": {}}' in png
    assert b"tEXtSoftware\0comfylabel simulated ComfyUI" in png
    assert digests(Picture(*size, "a cat", 1)) == found


def test_an_empty_image_is_its_colour():
    png, _ = encode(Picture(8, 8, colour=0x102030), {})
    assert pyvips.Image.new_from_buffer(png, "")(3, 3) == [0x10, 0x20, 0x30]
    png, _ = encode(Picture(8, 8, colour=0x102030, inverted=True), {})
    assert pyvips.Image.new_from_buffer(png, "")(3, 3) == [0xEF, 0xDF, 0xCF]
