"""How much JavaScript a phone loads to label, from the manifest of the build.

What counts: the entry of index.html, the page of the route, and every chunk that these two import at once, each
gzipped as it goes over the wire. What does not: chunks that are imported when they are needed (sheets, task pages),
and the service worker, which runs beside the page after it stands.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import ROOT

ENTRIES = ("index.html", "src/label/LabelPage.tsx")
MOST_BYTES = 25_000


def chunks_of(manifest: dict[str, Any], *entries: str) -> set[str]:
    """The entries and everything that they import at once."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += manifest[name].get("imports", [])
    return found


@pytest.fixture
def built(web: Path) -> Path:
    return ROOT / "src/comfylabel/web"


@pytest.fixture
def manifest(built: Path) -> dict[str, Any]:
    return json.loads((built / ".vite/manifest.json").read_text())


def test_the_labelling_page_is_small(built: Path, manifest: dict[str, Any]):
    files = [built / manifest[name]["file"] for name in chunks_of(manifest, *ENTRIES)]

    sizes = {file.name: len(gzip.compress(file.read_bytes(), mtime=0)) for file in files}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_who_labels_does_not_load_the_task_pages(manifest: dict[str, Any]):
    folders = ("src/tasks/", "src/progress/", "src/workers/", "src/live/")
    tasks = {name for name in manifest if name.startswith(folders)}

    assert {"src/tasks/TaskList.tsx", "src/progress/TaskPage.tsx", "src/workers/WorkersPage.tsx"} <= tasks
    assert not tasks & chunks_of(manifest, *ENTRIES)
