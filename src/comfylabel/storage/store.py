"""Images in a directory, S3, Google Cloud or Azure: one seam over obstore; nothing else knows which it is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from comfylabel.errors import InvalidInput, NotFound, Unavailable
from comfylabel.storage.local_files import Bytes, write_all

CACHE_CONTROL = "public, max-age=31536000, immutable"  # what a bucket answers by itself: a key never changes its bytes
_CLOUD_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_CHUNK_BYTES = 1 << 20  # obstore's own size of a read from disk
_SENT_AT_ONCE = 8 << 20  # more goes to a bucket in parts, without a second copy of it all


class StoreUnavailable(Unavailable):
    """The image store does not answer; try again shortly."""

    code = "store_unavailable"


@dataclass(frozen=True, slots=True)
class Object:
    """What is to be stored under `key`: its pieces in order."""

    key: str
    pieces: Sequence[Bytes]
    content_type: str

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


class ObjectStore:
    """Bytes under keys. A put is seen whole or not at all, and survives a power cut once it has returned."""

    def __init__(self, store: Any, base_uri: str, root: Path | None) -> None:
        self._store = store
        self._root = root  # of a local directory
        self.base_uri = base_uri.rstrip("/")

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """From `file:///path`, a plain path, or `s3://bucket/prefix` and such; makes a missing directory."""
        scheme = urlsplit(url).scheme
        if scheme in ("", "file"):
            root = Path(unquote(urlsplit(url).path) if scheme else url).expanduser().absolute()
            with _in_words():
                return cls(LocalStore(root, mkdir=True), root.as_uri(), root)
        if scheme in _CLOUD_SCHEMES:
            with _in_words():
                return cls(from_url(url), url, None)
        accepted = ", ".join(f"{name}://" for name in ("file", *_CLOUD_SCHEMES))
        raise InvalidInput(
            f"Images cannot be stored at {url}: it must begin with one of {accepted}.", code="storage_url"
        )

    def uri(self, key: str) -> str:
        """Where a trainer finds it: `file:///abs/path` or `s3://bucket/key`. Has no secret, never expires."""
        return f"{self.base_uri}/{key}"

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        await self.put_all([Object(key, [data], content_type)])

    async def put_all(self, objects: Sequence["Object"], *, executor: Executor | None = None) -> None:
        """All of them, side by side in a bucket, in one thread of `executor` on a disk. Raises StoreUnavailable, also
        when the store kept less than it was given.
        """
        with _in_words():
            if self._root is not None:
                files = [(each.key, each.pieces) for each in objects]
                await asyncio.get_running_loop().run_in_executor(executor, write_all, self._root, files)
            else:
                await asyncio.gather(*map(self._send, objects))

    async def _send(self, each: "Object") -> None:
        attributes = {"Content-Type": each.content_type, "Cache-Control": CACHE_CONTROL}
        data: Any = b"".join(each.pieces) if each.size <= _SENT_AT_ONCE else _slices(each.pieces)
        await obstore.put_async(self._store, each.key, data, attributes=attributes)
        kept = await self.size(each.key)
        if kept != each.size:
            raise StoreUnavailable(f"The image store kept {kept or 0} of {each.size} bytes.")

    async def size(self, key: str) -> int | None:
        with _in_words():
            try:
                return (await obstore.head_async(self._store, key))["size"]
            except FileNotFoundError:
                return None

    async def get(self, key: str) -> bytes:
        with _in_words():
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes start to end (exclusive) in chunks of about 1 MB."""
        with _in_words():
            options: Any = {} if (start, end) == (0, None) else {"range": (start, end) if end else {"offset": start}}
            result = await obstore.get_async(self._store, key, options=options)
            async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)

    async def delete(self, keys: Sequence[str]) -> None:
        """One that is not there counts as deleted."""
        with _in_words():
            for key in keys:
                try:
                    await obstore.delete_async(self._store, key)
                except FileNotFoundError:
                    continue


@contextmanager
def _in_words() -> Iterator[None]:
    """What a caller can act on: not there, full, or away. The store's own words are the cause in the log."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise NotFound("There is no such image in the store.") from error
    except (BaseError, OSError) as error:
        if "StorageFull" in str(error) or "No space left" in str(error) or "QuotaExceeded" in str(error):
            raise StoreUnavailable("The image store is full.") from error
        raise StoreUnavailable from error


def _slices(pieces: Sequence[Bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _CHUNK_BYTES):
            yield bytes(piece[start : start + _CHUNK_BYTES])
