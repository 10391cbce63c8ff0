"""The output, temp and input folders of a simulated worker. A saved picture is a recipe, drawn when somebody asks."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from comfylabel.comfy.simulator.packed import Packed
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
    texts: Packed | None = None  # what ComfyUI writes into the file
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
        # By folder, subfolder and name: hundreds of thousands of outputs are no inputs to look through at each POST.
        self._files: dict[str, dict[str, dict[str, StoredFile]]] = {folder: {} for folder in FOLDERS}
        self._counters: dict[tuple[str, str, str], int] = {}
        self._drawn: OrderedDict[int, tuple[StoredFile, bytes]] = OrderedDict()
        self._drawn_bytes = 0

    def save(self, pictures: tuple[Picture, ...], prefix: str, folder: str, texts: dict[str, Any]) -> list[StoredFile]:
        """Consecutive names in batch order, from the first number that no file of this prefix has."""
        subfolder, _, stem = _expand(prefix, pictures[0]).replace("\\\\", "/").rpartition("/")
        saved, packed = [], Packed(texts)
        for place, picture in enumerate(pictures):
            name = stem.replace("%batch_num%", str(place))
            number = self._next_number(folder, subfolder, stem)
            file = StoredFile(f"{name}_{number:05}_.png", subfolder, folder, picture, packed)
            self._files[folder].setdefault(subfolder, {})[file.name] = file
            saved.append(file)
        return saved

    def put_upload(self, name: str, subfolder: str, folder: str, content: bytes) -> StoredFile:
        file = StoredFile(name, subfolder, folder, content=content, size=len(content))
        self._files[folder].setdefault(subfolder, {})[name] = file
        return file

    def find(self, name: str, subfolder: str, folder: str) -> StoredFile | None:
        return self._files[folder].get(subfolder.strip("/"), {}).get(name)

    def delete(self, name: str, subfolder: str = "", folder: str = "output") -> None:
        """As somebody who tidies the worker's disk does: history and cache know nothing of it."""
        del self._files[folder][subfolder][name]
        self._counters.clear()

    def names(self, folder: str) -> list[str]:
        """Relative paths, as /object_info lists uploads."""
        return [
            f"{subfolder}/{name}" if subfolder else name
            for subfolder, files in self._files[folder].items()
            for name in files
        ]

    def empty_temp(self) -> None:
        self._files["temp"].clear()
        self._counters.clear()

    async def read(self, file: StoredFile) -> bytes:
        """The file's bytes, the same each time."""
        if file.content is not None:
            return file.content
        if id(file) not in self._drawn:
            content, digests = await asyncio.to_thread(_draw, file)
            if id(file) not in self._drawn:  # nobody else has drawn it meanwhile
                self._keep(file, content, digests)
        self._drawn.move_to_end(id(file))
        return self._drawn[id(file)][1]

    def _keep(self, file: StoredFile, content: bytes, digests: Digests) -> None:
        is_first, file.size, file.digests = file.size is None, len(content), digests
        if is_first:
            self.on_drawn(file)
        self._drawn[id(file)] = (file, content)
        self._drawn_bytes += len(content)
        while self._drawn_bytes > KEPT_BYTES and len(self._drawn) > 1:
            _, (_, dropped) = self._drawn.popitem(last=False)
            self._drawn_bytes -= len(dropped)

    def _next_number(self, folder: str, subfolder: str, stem: str) -> int:
        key = (folder, subfolder, stem)
        if key not in self._counters:
            pattern = re.compile(re.escape(stem) + r"_(\d+)_.*", re.DOTALL)
            names = self._files[folder].get(subfolder, {})
            numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
            self._counters[key] = max(numbers, default=0)
        self._counters[key] += 1
        return self._counters[key]


def _draw(file: StoredFile) -> tuple[bytes, Digests]:
    assert file.picture is not None
    assert file.texts is not None
    return encode(file.picture, file.texts.value())


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
