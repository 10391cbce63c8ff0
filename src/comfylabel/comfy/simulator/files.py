"""The output, temp and input folders of a simulated worker. A saved picture is a recipe, drawn when somebody asks."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from comfylabel.comfy.simulator.pictures import Digests, Picture, encode

# Drawn files kept for whoever asks again: a hundred workers in one process stay small.
KEPT_BYTES = 8 * 2**20
FOLDERS = ("output", "temp", "input")


@dataclass(slots=True, eq=False)
class StoredFile:
    name: str
    subfolder: str
    folder: str
    picture: Picture | None = None
    texts: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None  # of an upload
    saved_at: float = field(default_factory=time.time)
    digests: Digests | None = None
    size: int | None = None

    @property
    def reference(self) -> dict[str, str]:
        return {"filename": self.name, "subfolder": self.subfolder, "type": self.folder}

    def etag(self, size: int) -> str:
        return f'"{int(self.saved_at * 1e9):x}-{size:x}"'

    @property
    def last_modified(self) -> str:
        return formatdate(self.saved_at, usegmt=True)


class Folders:
    """`on_drawn(file)` is called when a saved picture is fetched for the first time."""

    on_drawn: Callable[[StoredFile], None] = staticmethod(lambda _: None)

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], dict[str, StoredFile]] = {}
        self._counters: dict[tuple[str, str, str], int] = {}
        self._drawn: OrderedDict[int, tuple[StoredFile, bytes]] = OrderedDict()
        self._drawn_bytes = 0

    def save(self, pictures: tuple[Picture, ...], prefix: str, folder: str, texts: dict[str, Any]) -> list[StoredFile]:
        """Consecutive names in batch order, from the first number that no file of this prefix has."""
        subfolder, _, stem = _expand(prefix, pictures[0]).replace("\\\\", "/").rpartition("/")
        saved = []
        for place, picture in enumerate(pictures):
            name = stem.replace("%batch_num%", str(place))
            number = self._next_number(folder, subfolder, stem)
            file = StoredFile(f"{name}_{number:05}_.png", subfolder, folder, picture, texts)
            self._files.setdefault((folder, subfolder), {})[file.name] = file
            saved.append(file)
        return saved

    def put_upload(self, name: str, subfolder: str, folder: str, content: bytes) -> StoredFile:
        file = StoredFile(name, subfolder, folder, content=content, size=len(content))
        self._files.setdefault((folder, subfolder), {})[name] = file
        return file

    def find(self, name: str, subfolder: str, folder: str) -> StoredFile | None:
        return self._files.get((folder, subfolder.strip("/")), {}).get(name)

    def delete(self, name: str, subfolder: str = "", folder: str = "output") -> None:
        """As somebody who tidies the worker's disk does: history and cache know nothing of it."""
        del self._files[folder, subfolder][name]
        self._counters.clear()

    def names(self, folder: str) -> list[str]:
        """Relative paths, as /object_info lists uploads."""
        return [
            f"{subfolder}/{name}" if subfolder else name
            for (kept_in, subfolder), files in self._files.items()
            if kept_in == folder
            for name in files
        ]

    def empty_temp(self) -> None:
        for key in [key for key in self._files if key[0] == "temp"]:
            del self._files[key]
        self._counters.clear()

    async def read(self, file: StoredFile) -> bytes:
        """The file's bytes, the same each time."""
        if file.content is not None:
            return file.content
        kept = self._drawn.get(id(file))
        if kept is not None:
            self._drawn.move_to_end(id(file))
            return kept[1]
        assert file.picture is not None
        content, found = await asyncio.to_thread(encode, file.picture, file.texts)
        is_first, file.size, file.digests = file.size is None, len(content), found
        if is_first:
            self.on_drawn(file)
        self._keep(file, content)
        return content

    def _keep(self, file: StoredFile, content: bytes) -> None:
        self._drawn[id(file)] = (file, content)
        self._drawn_bytes = sum(len(kept) for _, kept in self._drawn.values())
        while self._drawn_bytes > KEPT_BYTES and len(self._drawn) > 1:
            _, (_, dropped) = self._drawn.popitem(last=False)
            self._drawn_bytes -= len(dropped)

    def _next_number(self, folder: str, subfolder: str, stem: str) -> int:
        key = (folder, subfolder, stem)
        if key not in self._counters:
            pattern = re.compile(re.escape(stem) + r"_(\d+)_.*", re.DOTALL)
            names = self._files.get((folder, subfolder), {})
            numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
            self._counters[key] = max(numbers, default=0)
        self._counters[key] += 1
        return self._counters[key]


def _expand(prefix: str, first: Picture) -> str:
    """What ComfyUI's server fills in; `%date:...%` and `%seed%` are the front end's and stay."""
    now = time.localtime()
    values = {
        "width": str(first.width),
        "height": str(first.height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(r"%(\w+)%", lambda found: values.get(found[1], found[0]), prefix)


def escapes(path: str) -> bool:
    """Whether a relative path leads out of its folder."""
    depth = 0
    for part in path.replace("\\", "/").split("/"):
        depth += {"..": -1, "": 0, ".": 0}.get(part, 1)
        if depth < 0:
            return True
    return path.startswith("/")
