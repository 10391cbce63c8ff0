"""The documents are true: they name every setting, command, route and error code, and no others."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from typer.core import TyperGroup

from comfylabel.accounts.dependencies import at_least, signed_in
from comfylabel.cli.app import app as cli
from comfylabel.main import ROUTERS
from comfylabel.settings import Settings
from comfylabel.workflows import validation

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "comfylabel").rglob("*.py"))
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def section(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def first_cells(table: str, column: int = 1) -> set[str]:
    """What stands in backticks in a column of a Markdown table."""
    return {name for line in table.splitlines() if line.startswith("|") for name in quoted(line.split("|")[column])}


# --- settings


def variables() -> set[str]:
    named = set()
    for name, field in Settings.model_fields.items():
        alias: Any = field.validation_alias
        named |= set(alias.choices) if alias else {f"COMFYLABEL_{name.upper()}"}
    return named


def test_the_readme_names_every_setting_and_no_other():
    assert first_cells(section(README, "Settings")) == variables()


def test_the_readme_names_the_defaults():
    for name, field in Settings.model_fields.items():
        if field.default is None or field.default_factory:
            continue
        (line,) = [line for line in README.splitlines() if line.startswith(f"| `COMFYLABEL_{name.upper()}`")]
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert f"| `{default}` |" in line


def test_nothing_waits_for_its_feature():
    """Every setting is read somewhere outside settings.py."""
    code = "\n".join(path.read_text() for path in SOURCES if path.name != "settings.py")
    inside = (ROOT / "src/comfylabel/settings.py").read_text().split("@property", 1)[1]
    unread = {name for name in Settings.model_fields if not re.search(rf"\b(settings|self)\.{name}\b", code + inside)}
    assert unread == set()


# --- commands


def commands(group: TyperGroup, prefix: str = "comfylabel") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}"


def test_the_readme_names_every_command_and_no_other():
    group = typer.main.get_command(cli)
    assert isinstance(group, TyperGroup)
    named = {re.sub(r" --.*", "", name) for name in first_cells(section(README, "Commands"))}
    assert named == set(commands(group))


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert named <= targets


def test_the_readme_names_every_figure_with_its_target():
    benches = [ast.parse(path.read_text()) for path in (ROOT / "bench").glob("bench_*.py")]
    calls = [node for tree in benches for node in ast.walk(tree) if isinstance(node, ast.Call)]
    figures = {
        (call.args[0].value, argument.value)
        for call in calls
        if ast.unparse(call.func) == "Figure" and isinstance(call.args[0], ast.Constant)
        for argument in call.args
        if isinstance(argument, ast.Constant) and str(argument.value).startswith(("<", ">"))
    }
    lines = [line.split("|") for line in section(README, "Numbers").splitlines() if line.startswith("| `")]
    assert {(name, cells[3].strip()) for cells in lines for name in quoted(cells[1])} == figures


# --- routes and codes


def routes() -> Iterator[tuple[str, APIRoute]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    yield f"{method} {route.path.replace(':path', '')}", route


def role_of(dependant: Dependant) -> str:
    """The least role that a route asks for: the dependency says it, whoever else it depends on."""
    for dependency in dependant.dependencies:
        call: Any = dependency.call
        if call is signed_in:
            return "annotator"
        if call.__qualname__.startswith(at_least.__name__):
            return str(inspect.getclosurevars(call).nonlocals["needed"])
    return "public"


def test_the_api_page_names_every_route_and_no_other():
    assert first_cells(section(API, "Routes")) == {name for name, _ in routes()}


def test_the_api_page_names_the_role_of_every_route():
    lines = [line.split("|") for line in section(API, "Routes").splitlines() if line.startswith("| `")]
    told = {name: cells[2].strip() for cells in lines for name in quoted(cells[1])}
    assert told == {name: role_of(route.dependant) for name, route in routes()}


def error_classes(trees: list[ast.Module]) -> set[str]:
    """The names of all subclasses of ComfyLabelError."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    known = {"ComfyLabelError"}
    while more := {c.name for c in classes if {ast.unparse(base) for base in c.bases} & known} - known:
        known |= more
    return known


def codes_of(node: ast.AST, errors: set[str]) -> Iterator[ast.expr]:
    if isinstance(node, ast.ClassDef) and node.name in errors:
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                yield line.value
    if isinstance(node, ast.Call) and ast.unparse(node.func) in errors | {"failed"}:
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
        if ast.unparse(node.func) == "failed" and len(node.args) > 1:
            yield node.args[1]
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CODES" and isinstance(node.value, ast.Dict):
        yield from node.value.values


def test_the_api_page_names_every_error_code_and_no_other():
    trees = [ast.parse(path.read_text()) for path in SOURCES if "simulator" not in path.parts]
    errors = error_classes(trees)
    found = [code for tree in trees for node in ast.walk(tree) for code in codes_of(node, errors)]
    codes = {code.value for code in found if isinstance(code, ast.Constant)}
    codes |= {code for code, _ in validation._NEEDED.values()}

    assert first_cells(section(API, "Codes"), column=2) == codes


# --- the pages themselves


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_in_the_sources_is_there(page: Path):
    """`tasks/service.py: create_task` means that file, and a function of that name in it."""
    for path, _, names in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)(: ([^`]+))?`", page.read_text()):
        places = [place for place in (ROOT / path, ROOT / "src" / "comfylabel" / path) if place.exists()]
        assert places, path
        for name in re.findall(r"\w+", names):
            assert re.search(rf"\b(def|class) {name}\b|^{name} =", places[0].read_text(), re.MULTILINE), (path, name)
