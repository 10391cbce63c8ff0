from datetime import date
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.storage.keys import (
    content_type,
    image_key,
    is_key,
    pilot_key,
    pilot_keys,
    preview_key,
    thumbnail_key,
    tile_key,
)

TASK = UUID("0199aaaa-0000-7000-8000-000000000001")
PILOT = UUID("0199aaaa-0000-7000-8000-000000000002")
SHA = "ab" + "0" * 62
extensions = st.sampled_from(["png", "jpg", "webp"])
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_a_key_is_sharded_by_task_day_and_hash():
    key = image_key(TASK, date(2026, 11, 2), SHA, "png")
    assert key == f"tasks/{TASK}/2026/11/02/ab/{SHA}.png"
    assert thumbnail_key(key) == f"tasks/{TASK}/2026/11/02/ab/{SHA}.256.webp"
    assert tile_key(key) == f"tasks/{TASK}/2026/11/02/ab/{SHA}.640.webp"
    assert preview_key(key) == f"tasks/{TASK}/2026/11/02/ab/{SHA}.1024.webp"
    assert pilot_key(TASK, PILOT, 3, "png") == f"tasks/{TASK}/pilot/{PILOT}/03.png"


@given(st.uuids(), st.dates(date(1970, 1, 1)), hashes, extensions)
def test_every_key_that_is_made_is_known_as_one(task_id: UUID, day: date, sha256: str, extension: str):
    image = image_key(task_id, day, sha256, extension)
    keys = {image, thumbnail_key(image), tile_key(image), preview_key(image)}
    assert len(keys) == 4
    assert all(is_key(key) for key in keys)
    assert content_type(thumbnail_key(image)) == "image/webp"


@given(st.uuids(), st.uuids(), st.integers(1, 9999), extensions)
def test_every_pilot_key_is_known_as_one(task_id: UUID, pilot_id: UUID, number: int, extension: str):
    image = pilot_key(task_id, pilot_id, number, extension)
    assert is_key(image)
    assert all(is_key(key) for key in (thumbnail_key(image), tile_key(image), preview_key(image)))
    assert not is_key(image.replace(".", ".512."))


@given(st.text())
def test_no_other_text_is_a_key(text: str):
    assert not is_key(text)
    good = pilot_key(TASK, PILOT, 1, "png")
    assert not is_key(f"{text}/../{good}")
    assert not is_key(f"{good}{text}") or text == ""


@given(st.uuids(), st.uuids(), st.integers(1, 10), st.sampled_from(["png", "jpg", "webp"]))
def test_all_keys_of_a_pilot_are_keys_and_have_each_one(task_id: UUID, pilot_id: UUID, number: int, extension: str):
    keys = pilot_keys(task_id, pilot_id, 10)
    image = pilot_key(task_id, pilot_id, number, extension)
    assert {image, thumbnail_key(image), tile_key(image), preview_key(image)} <= keys
    assert all(is_key(key) for key in keys)
