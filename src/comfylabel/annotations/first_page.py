"""Which pictures a labelling page shows first, and the header that has them fetched before its script runs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from comfylabel.annotations.batches import joined_links

# What the page notes of its device in the cookie `tile`: which size its tiles show.
_BY_NAME = {"thumbnail": "thumbnails", "tile": "tiles", "preview": "previews"}
_BY_PIXELS = {256: "thumbnails", 640: "tiles", 1024: "previews"}
_USUAL = "tiles"


def first_pictures(served: Mapping[str, Any], noted: str | None) -> list[str]:
    """Addresses of the first batch's pictures, in the order in which they will stand, in the size shown.

    `served` is what the dispenser answers; an A/B test that sets the size is stronger than the device.
    """
    if not served["items"]:
        return []
    first = served["items"][0]
    variant = served["variant"]
    pixels = variant["image_size"] if variant else None
    addresses = first[_BY_PIXELS[pixels] if pixels else _BY_NAME.get(noted or "", _USUAL)]
    return [addresses[candidate] for candidate in first["slot_order"]]


def first_links(code: Sequence[str], pictures: Sequence[str], own_origin: str) -> str:
    """`code` are links already; small and needed for anything to be seen, they go first."""
    origins = dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in pictures)
    connections = [f"<{origin}>; rel=preconnect" for origin in origins if origin != own_origin]
    images = [f"<{url}>; rel=preload; as=image; fetchpriority=high" for url in pictures]
    return joined_links([*connections, *code, *images])
