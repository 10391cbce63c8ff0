"""The way of one image from a worker into the store: spool, strip, decode to verify, shrink, put, check."""

import asyncio
import errno
import hashlib
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.schemas import OutputImage
from comfylabel.orchestrator.fault_points import reached
from comfylabel.storage.keys import content_type, preview_key, thumbnail_key, tile_key
from comfylabel.storage.store import ObjectStore, StoreUnavailable
from comfylabel.storage.thumbnails import BrokenImage, Rendered, render

__all__ = ["BrokenImage", "Ingester", "StoredImage"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    """Takes `concurrency` images at a time. An image counts only once `ingest` has returned."""

    def __init__(self, store: ObjectStore, spool_dir: Path, max_image_bytes: int, concurrency: int) -> None:
        spool_dir.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._spool_dir = spool_dir
        self._max_image_bytes = max_image_bytes
        self._places = asyncio.Semaphore(concurrency)

    async def ingest(self, client: ComfyClient, image: OutputImage, key_for: Callable[[str, str], str]) -> StoredImage:
        """`key_for(sha256, extension)` names it. Raises BrokenImage, StoreUnavailable or a WorkerError."""
        async with self._places:
            rendered, sha256 = await self._fetch(client, image)
            key = key_for(sha256, rendered.format)
            stored = StoredImage(
                key,
                thumbnail_key(key),
                tile_key(key),
                preview_key(key),
                sha256,
                len(rendered.image),
                rendered.width,
                rendered.height,
            )
            await reached("before_put")
            await self._put(stored.thumbnail_key, rendered.thumbnail)
            await self._put(stored.tile_key, rendered.tile)
            await self._put(stored.preview_key, rendered.preview)
            await self._put(stored.key, rendered.image)
            await reached("after_put")
            return stored

    async def _fetch(self, client: ComfyClient, image: OutputImage) -> tuple[Rendered, str]:
        """The spool has no name, so that whatever ends this process, nothing of it stays on the disk."""
        try:
            with tempfile.TemporaryFile(dir=self._spool_dir) as spool:
                await self._download(client, image, spool)
                return await asyncio.to_thread(_render, spool)
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise StoreUnavailable("There is no room left to fetch an image to.") from error
            raise StoreUnavailable("The folder for images under way cannot be written.") from error

    async def _download(self, client: ComfyClient, image: OutputImage, spool: IO[bytes]) -> None:
        received = 0
        async with aclosing(client.view(image)) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._max_image_bytes:
                    limit = self._max_image_bytes / 2**20
                    raise BrokenImage(f"The worker's image is too large: more than {limit:g} MiB.")
                await asyncio.to_thread(spool.write, chunk)

    async def _put(self, key: str, data: bytes) -> None:
        await self._store.put(key, data, content_type(key))
        size = await self._store.size(key)
        if size != len(data):
            raise StoreUnavailable(f"The image store kept {size or 0} of {len(data)} bytes.")


def _render(spool: IO[bytes]) -> tuple[Rendered, str]:
    spool.seek(0)
    rendered = render(spool.read())
    return rendered, hashlib.sha256(rendered.image).hexdigest()
