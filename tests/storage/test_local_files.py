"""Files are there whole or not at all, also where no file without a name can be had."""

import errno
import os
from pathlib import Path

import pytest

from comfylabel.storage.local_files import write_all


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(params=["nameless", "unknown to the file system", "unknown to the system"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    really_open, nameless = os.open, os.O_TMPFILE

    def refuse(path, flags, *arguments, **keywords):
        if flags & nameless == nameless:
            raise OSError(errno.EOPNOTSUPP, "no")
        return really_open(path, flags, *arguments, **keywords)

    if request.param == "unknown to the file system":
        monkeypatch.setattr(os, "open", refuse)
    elif request.param == "unknown to the system":
        monkeypatch.delattr(os, "O_TMPFILE")
    return str(request.param)


def test_what_is_written_is_there_and_replaced_whole(tmp_path: Path, way: str):
    large = os.urandom(3_000_000)
    write_all(tmp_path, [("a/b/one", [b"o", memoryview(b"n"), b"", b"e"]), ("a/b/two", [large]), ("c", [])])
    assert files(tmp_path) == {"a/b/one": b"one", "a/b/two": large, "c": b""}
    write_all(tmp_path, [("a/b/two", [b"short"])])
    assert files(tmp_path) == {"a/b/one": b"one", "a/b/two": b"short", "c": b""}


def test_what_fails_half_way_leaves_nothing(tmp_path: Path, way: str):
    def pieces():
        yield b"begun"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_all(tmp_path, [("a", pieces())])
    assert files(tmp_path) == {}


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", "./a", "a\0b"])
def test_no_key_leads_anywhere_else(tmp_path: Path, key: str):
    with pytest.raises(ValueError, match="no key of a file"):
        write_all(tmp_path / "root", [(key, [b"x"])])
    assert files(tmp_path) == {}
