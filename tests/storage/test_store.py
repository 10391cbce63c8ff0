"""A local store: whole or not at all, and every failure in words."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfylabel.errors import InvalidInput, NotFound
from comfylabel.storage.store import ObjectStore, StoreUnavailable

KEY = "tasks/a/2026/11/22/ab/abcd.png"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(str(tmp_path / "objects"))


def files(store: ObjectStore) -> list[str]:
    assert store._root is not None
    return sorted(str(path.relative_to(store._root)) for path in store._root.rglob("*") if path.is_file())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(data=st.binary(max_size=3_000_000), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)))
async def test_what_was_put_is_got_in_whole_and_in_part(store: ObjectStore, data: bytes, cut: tuple[float, float]):
    await store.put(KEY, data, "image/png")
    assert await store.size(KEY) == len(data)
    assert await store.get(KEY) == data
    assert b"".join([chunk async for chunk in store.stream(KEY)]) == data
    start, end = sorted(int(share * len(data)) for share in cut)
    if start < end:
        assert b"".join([chunk async for chunk in store.stream(KEY, start, end)]) == data[start:end]
        assert b"".join([chunk async for chunk in store.stream(KEY, start)]) == data[start:]


async def test_a_second_put_replaces_the_first_whole(store: ObjectStore):
    await store.put(KEY, b"long " * 1000, "image/png")
    await store.put(KEY, b"short", "image/png")
    assert await store.get(KEY) == b"short"
    assert files(store) == [KEY]


async def test_many_puts_of_one_key_at_once_leave_one_whole_object(store: ObjectStore):
    bodies = [bytes([number]) * 200_000 for number in range(8)]
    await asyncio.gather(*(store.put(KEY, body, "image/png") for body in bodies))
    assert await store.get(KEY) in bodies
    assert files(store) == [KEY]


async def test_what_is_not_there(store: ObjectStore):
    assert await store.size(KEY) is None
    with pytest.raises(NotFound):
        await store.get(KEY)
    with pytest.raises(NotFound):
        await anext(store.stream(KEY))


async def test_deleting_twice_is_deleting_once(store: ObjectStore):
    await store.put(KEY, b"data", "image/png")
    await store.delete([KEY, "tasks/never", KEY])
    assert await store.size(KEY) is None
    assert files(store) == []


async def test_a_store_that_cannot_be_written_is_unavailable(store: ObjectStore):
    assert store._root is not None
    (store._root / "tasks").write_text("a file where a folder belongs")
    with pytest.raises(StoreUnavailable) as caught:
        await store.put(KEY, b"data", "image/png")
    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
    assert str(store._root) not in caught.value.message  # no path of the server in an answer


async def test_no_key_leads_out_of_the_store(store: ObjectStore, tmp_path: Path):
    for key in ("../outside", "tasks/../../outside", "/../outside"):
        with pytest.raises((StoreUnavailable, ValueError)):
            await store.put(key, b"data", "image/png")
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]


def test_a_store_is_opened_by_path_or_url_and_says_where_its_images_are(tmp_path: Path):
    by_path = ObjectStore.open(str(tmp_path / "my images"))
    by_url = ObjectStore.open((tmp_path / "my images").as_uri())
    assert by_path.uri("tasks/a.png") == by_url.uri("tasks/a.png") == f"file://{tmp_path}/my%20images/tasks/a.png"
    assert (tmp_path / "my images").is_dir()
    bucket = ObjectStore.open("s3://bucket/some/prefix/")
    assert bucket.uri("tasks/a.png") == "s3://bucket/some/prefix/tasks/a.png"


@pytest.mark.parametrize("url", ["ftp://host/path", "http://host/path", "nonsense:x"])
def test_an_address_that_is_no_store_is_refused_in_words(url: str):
    with pytest.raises(InvalidInput, match="must begin with one of file://, s3://") as caught:
        ObjectStore.open(url)
    assert caught.value.code == "storage_url"


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        ObjectStore.open(str(tmp_path / "file" / "objects"))


async def test_a_put_is_flushed_to_the_disk(store: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    flushed, really_flush = [], os.fsync

    def flush(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        really_flush(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    await store.put(KEY, b"data", "image/png")
    assert store._root is not None
    folders = list((store._root / KEY).parents)[: KEY.count("/") + 1]
    assert flushed[:-2] == folders[:0:-1]  # each has a new one in it
    assert str(flushed[-2]).startswith(str(folders[0]))  # a file that had no name yet
    assert flushed[-1] == folders[0]
    flushed.clear()
    await store.put(KEY, b"others", "image/png")
    assert len(flushed) == 2  # the folders are there
