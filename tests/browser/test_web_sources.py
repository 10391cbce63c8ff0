"""The sources of the web UI: types, units, the client's agreement with the API, pins."""

import json
import re
import subprocess
from pathlib import Path

import hatch_build
import pytest

from tests.browser.conftest import ROOT


def node(web: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(hatch_build.node_program()), *arguments]
    return subprocess.run(command, cwd=web, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("project", [".", "tests", "src/sw"])
def test_types_agree(web: Path, project: str):
    done = node(web, "node_modules/typescript/bin/tsc", "-p", project)

    assert done.returncode == 0, done.stdout


def test_the_style_is_one(web: Path):
    """`.venv/bin/python hatch_build.py format` mends it."""
    done = node(web, "node_modules/prettier/bin/prettier.cjs", "--check", ".")

    assert done.returncode == 0, done.stderr


def test_units(web: Path):
    done = node(web, "--test", "tests/*.test.ts")

    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(?m)pass (\d+)", done.stdout)[-1]) >= 30


def test_the_client_is_typed_from_the_api_as_it_is(web: Path, tmp_path: Path):
    """`make openapi` writes it again."""
    made = tmp_path / "schema.d.ts"
    done = node(web, "node_modules/openapi-typescript/bin/cli.js", str(ROOT / "docs/openapi.json"), "-o", str(made))

    assert done.returncode == 0, done.stderr
    assert made.read_text() == (web / "src/api/schema.d.ts").read_text()


def test_every_package_is_pinned_and_none_names_where_it_came_from():
    package = json.loads((ROOT / "web/package.json").read_text())
    lock = json.loads((ROOT / "web/package-lock.json").read_text())

    for version in (package["dependencies"] | package["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    for name, entry in lock["packages"].items():
        assert not name or ("integrity" in entry and "resolved" not in entry), name
