from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.annotations.batches import LINK_HEADER_BYTES
from comfylabel.annotations.first_page import first_links, first_pictures

ORIGIN = "https://label.example"


def served(candidates: int, order: list[int], pixels: int | None = None) -> dict[str, Any]:
    item = {name: [f"{name}/{i}" for i in range(candidates)] for name in ("thumbnails", "tiles", "previews")}
    variant = {"key": "A", "image_size": pixels} if pixels != 0 else None
    return {"items": [item | {"slot_order": order}, {"tiles": ["another batch"]}], "variant": variant}


@given(st.permutations(range(9)), st.sampled_from([None, "", "thumbnail", "tile", "preview", "huge"]))
def test_pictures_come_in_the_order_in_which_they_will_stand(order: list[int], noted: str | None):
    pictures = first_pictures(served(9, order, 0), noted)
    size = {"thumbnail": "thumbnails", "preview": "previews"}.get(noted or "", "tiles")
    assert pictures == [f"{size}/{candidate}" for candidate in order]


@pytest.mark.parametrize(("pixels", "size"), [(256, "thumbnails"), (640, "tiles"), (1024, "previews"), (None, "tiles")])
def test_a_variant_that_sets_the_size_is_stronger_than_the_device(pixels: int | None, size: str):
    noted = "tile" if pixels else "none"
    assert first_pictures(served(2, [1, 0], pixels), noted) == [f"{size}/1", f"{size}/0"]


def test_with_nothing_served_there_are_no_pictures():
    assert first_pictures({"items": [], "variant": None}, "tile") == []
    assert first_links([], [], ORIGIN) == ""


origins = st.sampled_from([ORIGIN, "https://cdn.example", "http://10.0.0.1:8765"])
pictures = st.builds("{}/images/{}?expires=1".format, origins, st.text("ab/", max_size=400))


@given(st.lists(pictures, max_size=20))
def test_the_header_fits_through_a_proxy_and_says_the_code_before_the_pictures(urls: list[str]):
    code = ["</assets/a.js>; rel=modulepreload"]
    header = first_links(code, urls, ORIGIN)
    links = header.split(", ")
    assert len(header) <= LINK_HEADER_BYTES
    connected = [link for link in links if link.endswith("preconnect")]
    assert f"<{ORIGIN}>; rel=preconnect" not in connected  # the page itself came over that connection
    rest = links[len(connected) :]
    assert rest[0] == code[0]
    assert rest[1:] == [f"<{url}>; rel=preload; as=image; fetchpriority=high" for url in urls[: len(rest) - 1]]
