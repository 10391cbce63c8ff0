"""The way of one image from a worker into the store: fetch, strip, decode to verify, shrink, write.

What is under way is bounded, in memory and on the disk, whatever workers send and however slow the store is; what
does not fit waits on its worker, where it is safe, and no new mass work is begun meanwhile (`is_behind`).
"""

import asyncio
import errno
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, TypeVar
from weakref import WeakKeyDictionary

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.schemas import OutputImage
from comfylabel.orchestrator.fault_points import reached
from comfylabel.storage.keys import content_type, preview_key, thumbnail_key, tile_key
from comfylabel.storage.store import Object, ObjectStore, StoreUnavailable
from comfylabel.storage.thumbnails import BrokenImage, Rendered, render

__all__ = ["BrokenImage", "IngestLimits", "Ingester", "StoredImage"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """`concurrency`: images decoded and written at once, a thread each. `budget_bytes`: of images on their way, half of
    it in memory and half on the disk. `backlog`: images made and not yet stored, beyond which nothing new is begun.
    `in_memory_bytes`: a larger image goes over the disk; a PNG of four megapixels is none.
    """

    max_image_bytes: int
    concurrency: int
    budget_bytes: int = 2**30
    backlog: int = 256
    in_memory_bytes: int = 8 * 2**20

    @property
    def small_places(self) -> int:
        """Images that are fetched or wait for a thread; each may take `in_memory_bytes`."""
        return max(self.concurrency, self.budget_bytes // 2 // self.in_memory_bytes)

    @property
    def large_places(self) -> int:
        """Of those, the ones that may be larger."""
        return max(1, self.budget_bytes // 2 // self.max_image_bytes)

    @property
    def places_per_worker(self) -> int:
        """A worker that sends slowly takes no more of them, so that the others have some."""
        return max(2, self.small_places // 8)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """`sha256` and `bytes` are those of the stored file: a stranger can check what lies in the store."""

    key: str
    thumbnail_key: str
    tile_key: str
    preview_key: str
    sha256: str
    bytes: int
    width: int
    height: int


class Ingester:
    """An image counts only once `ingest` has returned. `on_room()`: it was behind, and is not any more."""

    on_room: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, store: ObjectStore, spool_dir: Path, limits: IngestLimits) -> None:
        spool_dir.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._spool_dir = spool_dir
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.concurrency, thread_name_prefix="ingest")
        self._places = asyncio.Semaphore(limits.small_places)
        self._large_places = asyncio.Semaphore(limits.large_places)
        self._of_worker: WeakKeyDictionary[ComfyClient, asyncio.Semaphore] = WeakKeyDictionary()
        self._owed = 0

    @property
    def is_behind(self) -> bool:
        """Workers make images faster than they are stored: more of them would only wait."""
        return self._owed > self._limits.backlog

    @contextmanager
    def owing(self, images: int) -> Iterator[None]:
        """So many are made, and to be stored before the block ends."""
        self._owed += images
        try:
            yield
        finally:
            was_behind = self.is_behind
            self._owed -= images
            if was_behind and not self.is_behind:
                self.on_room()

    async def ingest(self, client: ComfyClient, image: OutputImage, key_for: Callable[[str, str], str]) -> StoredImage:
        """`key_for(sha256, extension)` names it. Raises BrokenImage, StoreUnavailable or a WorkerError."""
        async with self._place(client), AsyncExitStack() as held:
            rendered, sha256 = await self._fetch(client, image, held)
            stored = _stored(key_for(sha256, rendered.format), rendered, sha256)
            await reached("before_put")
            await self._store.put_all(_objects(stored, rendered), executor=self._threads)
            await reached("after_put")
            return stored

    async def throw_away(self, keys: Sequence[str]) -> None:
        """Of objects that belong to no row and never will."""
        await self._store.delete(keys)

    def _place(self, client: ComfyClient) -> "_Both":
        own = self._of_worker.get(client)
        if own is None:
            own = self._of_worker[client] = asyncio.Semaphore(self._limits.places_per_worker)
        return _Both(own, self._places)

    async def _fetch(self, client: ComfyClient, image: OutputImage, held: AsyncExitStack) -> tuple[Rendered, str]:
        """`held` keeps what the answer refers to."""
        try:
            data = await self._download(client, image, held)
            return await self._in_thread(partial(_render, data))
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise StoreUnavailable("There is no room left to fetch an image to.") from error
            raise StoreUnavailable("The folder for images under way cannot be written.") from error

    async def _download(self, client: ComfyClient, image: OutputImage, held: AsyncExitStack) -> bytes | mmap:
        received, chunks = 0, list[bytes]()
        async with aclosing(self._chunks(client, image)) as arriving:
            async for chunk in arriving:
                chunks.append(chunk)
                received += len(chunk)
                if received > self._limits.in_memory_bytes:
                    await held.enter_async_context(self._large_places)
                    return await self._spool(chunks, arriving, held)
        return b"".join(chunks)

    async def _spool(self, begun: list[bytes], arriving: AsyncIterator[bytes], held: AsyncExitStack) -> mmap:
        """The spool has no name, so that whatever ends this process, nothing of it stays on the disk."""
        spool = held.enter_context(_spool_file(self._spool_dir))
        while begun:
            await self._in_thread(partial(spool.write, begun.pop(0)))
        async for chunk in arriving:
            await self._in_thread(partial(spool.write, chunk))
        return await self._in_thread(partial(_mapped, spool))

    async def _chunks(self, client: ComfyClient, image: OutputImage) -> AsyncGenerator[bytes, None]:
        received = 0
        async with aclosing(client.view(image)) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._limits.max_image_bytes:
                    limit = self._limits.max_image_bytes / 2**20
                    raise BrokenImage(f"The worker's image is too large: more than {limit:g} MiB.")
                yield chunk

    async def _in_thread(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, step)


class _Both:
    """Two semaphores, taken in order."""

    def __init__(self, first: asyncio.Semaphore, second: asyncio.Semaphore) -> None:
        self._first, self._second = first, second

    async def __aenter__(self) -> None:
        await self._first.acquire()
        try:
            await self._second.acquire()
        except BaseException:
            self._first.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._second.release()
        self._first.release()


def _spool_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _mapped(spool: IO[bytes]) -> mmap:
    spool.flush()
    return mmap(spool.fileno(), 0, access=ACCESS_READ)


def _render(data: bytes | mmap) -> tuple[Rendered, str]:
    rendered = render(data)
    digest = hashlib.sha256()
    for piece in rendered.pieces:
        digest.update(piece)
    return rendered, digest.hexdigest()


def _stored(key: str, rendered: Rendered, sha256: str) -> StoredImage:
    """A smaller version that is the same as a still smaller one lies under that one's key."""
    small = thumbnail_key(key)
    middle = small if rendered.tile is rendered.thumbnail else tile_key(key)
    large = middle if rendered.preview is rendered.tile else preview_key(key)
    length = sum(map(len, rendered.pieces))
    return StoredImage(key, small, middle, large, sha256, length, rendered.width, rendered.height)


def _objects(stored: StoredImage, rendered: Rendered) -> list[Object]:
    """Each key once."""
    contents: dict[str, Sequence[bytes | memoryview]] = {
        stored.thumbnail_key: [rendered.thumbnail],
        stored.tile_key: [rendered.tile],
        stored.preview_key: [rendered.preview],
        stored.key: rendered.pieces,
    }
    return [Object(key, pieces, content_type(key)) for key, pieces in contents.items()]
