"""`comfylabel demo`, as a user runs it."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfylabel.cli.demo_check import EXPORT, FULL_EXPORT, KEYS, LOG
from tests.cli.conftest import answers, comfylabel, started, until_gone

pytestmark = pytest.mark.slow

PROMPTS, SEEDS = 3, 6  # more seeds than one native batch holds


@pytest.fixture(scope="module")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one run, by their whole path; the images' addresses name it."""
    out = tmp_path_factory.mktemp("demo")
    numbers = ("--prompts", str(PROMPTS), "--seeds", str(SEEDS))
    status, output = asyncio.run(comfylabel(out / "unused", "demo", "--once", "--out", str(out), *numbers))
    assert status == 0, output
    assert re.search(rf"images exported\D+{PROMPTS * SEEDS}\b", output)
    assert "Every image is there once" in output
    assert not (out / "unused").exists(), "it leaves the user's own data alone"
    return {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(demo_files: dict[str, bytes]) -> Path:
    """That run's directory, whole again."""
    for name, content in demo_files.items():
        Path(name).write_bytes(content)
    return next(Path(name).parent for name in demo_files if name.endswith(EXPORT))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_export_is_what_was_asked_for(out: Path) -> None:
    exported = rows(out / EXPORT)
    assert len(exported) == PROMPTS
    assert all(list(row) == KEYS for row in exported)
    assert all(1 + len(row["rejected"]) == SEEDS for row in exported)
    assert len({row["prompt"] for row in exported}) == PROMPTS
    # Native batches of four and of two: two seeds were sent for each prompt.
    for row in rows(out / FULL_EXPORT):
        images = [row["chosen"], *row["rejected"]]
        assert len({image["seed"] for image in images}) == 2
        assert sorted(image["batch_index"] for image in images) == [0, 0, 1, 1, 2, 3]


def first_image(out: Path) -> Path:
    return Path(rows(out / EXPORT)[0]["chosen"]["uri"].removeprefix("file://"))


def swap_two_images(out: Path) -> None:
    first, second = (Path(row["chosen"]["uri"].removeprefix("file://")) for row in rows(out / EXPORT)[:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def change_both(out: Path, change: Any) -> None:
    for name in (EXPORT, FULL_EXPORT):
        changed = rows(out / name)
        change(changed)
        (out / name).write_text("".join(json.dumps(row) + "\n" for row in changed))


def swap_labels(changed: list[dict[str, Any]]) -> None:
    changed[0]["prompt"], changed[1]["prompt"] = changed[1]["prompt"], changed[0]["prompt"]


def other_seed(changed: list[dict[str, Any]]) -> None:
    changed[0]["chosen"]["seed"] += 1


def forget_an_image(changed: list[dict[str, Any]]) -> None:
    changed[0]["rejected"].pop()


def forget_a_line(changed: list[dict[str, Any]]) -> None:
    changed.pop()


def double_an_image(changed: list[dict[str, Any]]) -> None:
    changed[0]["rejected"].append(changed[0]["rejected"][0])


TAMPERINGS: dict[str, Callable[[Path], Any]] = {
    "Lost": lambda out: change_both(out, forget_an_image),
    "Exported 2 times": lambda out: change_both(out, double_an_image),
    "Never made": lambda out: change_both(out, other_seed),
    "Never made: seed": lambda out: change_both(out, swap_labels),
    "Mislabelled": swap_two_images,
    "is not the file": lambda out: first_image(out).write_bytes(first_image(out).read_bytes() + b"\0"),
    "shows another picture": lambda out: first_image(out).write_bytes(b"no picture"),
    "shows another picture.": lambda out: first_image(out).unlink(),
    "lines were exported": lambda out: change_both(out, forget_a_line),
    "the workers made": lambda out: (out / LOG).write_text(
        (out / LOG).read_text().replace('"outcome": "success"', '"outcome": "error"', 1)
    ),
}


@pytest.mark.parametrize("finding", TAMPERINGS)
async def test_a_tampered_export_is_found(out: Path, finding: str) -> None:
    TAMPERINGS[finding](out)
    status, output = await comfylabel(out, "demo", "--check", "--out", str(out))
    assert status == 1
    assert finding in output


async def test_the_untouched_export_stays_right(out: Path) -> None:
    status, output = await comfylabel(out, "demo", "--check", "--out", str(out))
    assert (status, "Every image is there once" in output) == (0, True)


async def test_more_prompts_than_the_pools_hold_end_it_in_words(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path / "unused", "demo", "--once", "--out", str(tmp_path), "--prompts", "769")
    assert status == 78
    assert "768" in output
    assert (tmp_path / EXPORT).exists() is False


async def test_once_needs_a_place(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path, "demo", "--once")
    assert status == 2
    assert "--out" in output
    status, output = await comfylabel(tmp_path, "demo", "--check", "--out", str(tmp_path))
    assert status == 78
    assert "holds no demo" in output


async def test_the_demo_is_up_stops_and_finds_its_data(tmp_path: Path) -> None:
    for _ in range(2):
        async with started(tmp_path, "demo", "--port", "0") as command:
            origin = (await command.read_until(r"at (http://\S+), data in")).group(1)
            await command.read_until(r"token=\S+")
            assert await answers(f"{origin}/readyz") == 200
            processes = command.everything()
            command.process.send_signal(signal.SIGINT)
            assert await command.process.wait() == 0
            await until_gone(processes)
            assert "Traceback" not in await command.read_rest()
