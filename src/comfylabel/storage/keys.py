"""Where an image lies in the store: names made of our own ids and of hashes, never of what a stranger sent.

    tasks/{task_id}/2026/11/22/ab/ab12....png            an image; "ab" keeps any prefix from running hot
    tasks/{task_id}/2026/11/22/ab/ab12....256.webp       its thumbnail
    tasks/{task_id}/2026/11/22/ab/ab12....640.webp       its tile
    tasks/{task_id}/2026/11/22/ab/ab12....1024.webp      its preview
    tasks/{task_id}/pilot/{pilot_id}/01.png              an image of a pilot

An image that fits into a smaller version's size has none of the larger ones: their keys are that one's.
A key is relative to the store: a store that moves takes its images along, and the database need not change.
"""

import re
from datetime import date
from uuid import UUID

CONTENT_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SIZE_AND_EXTENSION = r"(?:\.256|\.640|\.1024)?\.(?:png|jpg|webp)"
_KEY = re.compile(
    rf"tasks/{_UUID}/(?:\d{{4}}/\d\d/\d\d/[0-9a-f]{{2}}/[0-9a-f]{{64}}|pilot/{_UUID}/\d{{2,4}}){_SIZE_AND_EXTENSION}"
)


def image_key(task_id: UUID, day: date, sha256: str, extension: str) -> str:
    """The same image of the same day always has the same key, so a repeated upload is harmless."""
    return f"tasks/{task_id}/{day:%Y/%m/%d}/{sha256[:2]}/{sha256}.{extension}"


def pilot_key(task_id: UUID, pilot_id: UUID, number: int, extension: str) -> str:
    return f"tasks/{task_id}/pilot/{pilot_id}/{number:02}.{extension}"


def pilot_keys(task_id: UUID, pilot_id: UUID, samples: int) -> set[str]:
    """Every key that so many samples can have."""
    images = {
        pilot_key(task_id, pilot_id, number, extension)
        for number in range(1, samples + 1)
        for extension in CONTENT_TYPES
    }
    return images | {smaller(key) for key in images for smaller in (thumbnail_key, tile_key, preview_key)}


def thumbnail_key(image_key: str) -> str:
    return f"{image_key.rpartition('.')[0]}.256.webp"


def tile_key(image_key: str) -> str:
    return f"{image_key.rpartition('.')[0]}.640.webp"


def preview_key(image_key: str) -> str:
    return f"{image_key.rpartition('.')[0]}.1024.webp"


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def content_type(key: str) -> str:
    """From the extension, which ingest chose from the decoded format."""
    return CONTENT_TYPES[key.rpartition(".")[2]]
