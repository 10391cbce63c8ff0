"""Files in a directory, each seen whole or not at all, and on the disk once it is told so.

A file has no name while it is written: whatever ends this process, nothing half is left.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

Bytes: TypeAlias = bytes | memoryview

# File systems and systems that know no file without a name, or no /proc to give it one.
_NAMELESS_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})


def write_all(root: Path, files: Sequence[tuple[str, Iterable[Bytes]]]) -> None:
    """`files`: keys with the pieces of their content. Blocks until the disk has them."""
    folders = dict.fromkeys(_path(root, key).parent for key, _ in files)
    for folder in folders:
        _make(folder)
    for key, pieces in files:
        _write(_path(root, key), pieces)
    for folder in folders:
        _flush(folder)


def _path(root: Path, key: str) -> Path:
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ValueError(f"no key of a file: {key!r}")
    return root.joinpath(*parts)


def _make(folder: Path) -> None:
    """With every parent that is new on the disk as well: a power cut could take the file with its folder."""
    made = []
    while not folder.is_dir():
        made.append(folder)
        folder = folder.parent
    for missing in reversed(made):
        missing.mkdir(exist_ok=True)
        _flush(missing.parent)


def _write(path: Path, pieces: Iterable[Bytes]) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            _write_nameless(folder, path.name, pieces)
        except _Unknown:
            _write_named(folder, path.name, pieces)
    finally:
        os.close(folder)


class _Unknown(Exception):
    """A file without a name cannot be had here."""


def _write_nameless(folder: int, name: str, pieces: Iterable[Bytes]) -> None:
    try:
        descriptor = os.open(".", os.O_WRONLY | os.O_TMPFILE, 0o644, dir_fd=folder)
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in _NAMELESS_UNKNOWN:
            raise
        raise _Unknown from error
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        _fill(file.fileno(), pieces)
        own = f"/proc/self/fd/{descriptor}"
        try:
            # With folders given, link follows the way through /proc to the file itself.
            os.link(own, name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            temporary = _temporary(name)
            os.link(own, temporary, src_dir_fd=folder, dst_dir_fd=folder)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _write_named(folder: int, name: str, pieces: Iterable[Bytes]) -> None:
    temporary = _temporary(name)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            _fill(file.fileno(), pieces)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _temporary(name: str) -> str:
    """As obstore names its own: it lists and reads none of them."""
    return f"{name}#{uuid4().int}"


def _fill(descriptor: int, pieces: Iterable[Bytes]) -> None:
    for piece in pieces:
        left = memoryview(piece)
        while left:
            left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
