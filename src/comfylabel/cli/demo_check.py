"""Is what was exported what was made? Compares the files of `demo --once` with the simulators' own log.

The simulators wrote down every picture: prompt, seed, batch index and a hash of its pixels. Every picture
must be in the export once, under its own prompt, seed and index, in a file that still shows it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyvips

EXPORT, FULL_EXPORT, LOG = "dpo.jsonl", "dpo-full.jsonl", "simulators.json"
KEYS = ["prompt", "chosen", "rejected", "workflow_id", "model", "variable_pool_version", "created_at"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    prompts: int
    seeds_per_prompt: int

    @property
    def images(self) -> int:
        return self.prompts * self.seeds_per_prompt


@dataclass(frozen=True, slots=True)
class Image:
    """What names a picture, and the SHA-256 of its pixels."""

    prompt: str
    seed: int
    batch_index: int
    pixels: str

    @property
    def name(self) -> tuple[str, int, int]:
        return self.prompt, self.seed, self.batch_index

    def __str__(self) -> str:
        return f"seed {self.seed} #{self.batch_index} of {self.prompt!r}"


@dataclass(frozen=True, slots=True)
class Checked:
    """`findings`: what is wrong, in words; empty when every image is there once and is the right one."""

    asked: Asked
    submissions: int
    made: int
    exported: int
    lines: int
    findings: list[str]


def check(folder: Path) -> Checked:
    log = json.loads((folder / LOG).read_text())
    rows, full_rows = _rows(folder / EXPORT), _rows(folder / FULL_EXPORT)
    asked = Asked(log["prompts"], log["seeds_per_prompt"])
    made, exported = list(made_images(log["submissions"])), list(_exported_images(full_rows))
    findings = [
        *compare_counts(asked, rows, made),
        *compare_exports(rows, full_rows),
        *compare_images(made, exported),
        *_broken_files(full_rows),
    ]
    return Checked(asked, len(log["submissions"]), len(made), len(exported), len(rows), findings)


def made_images(submissions: Iterable[Row]) -> Iterator[Image]:
    """What the workers kept of the submissions that succeeded."""
    for submission in submissions:
        if submission["outcome"] == "success":
            for image in submission["images"]:
                yield Image(image["prompt"], image["seed"], image["batch_index"], image["pixels_sha256"])


def compare_counts(asked: Asked, rows: Sequence[Row], made: Sequence[Image]) -> Iterator[str]:
    if len(rows) != asked.prompts:
        yield f"{asked.prompts} prompts were asked for and labelled, {len(rows)} lines were exported."
    if len(made) != asked.images:
        yield f"{asked.images} images were asked for, the workers made {len(made)}."


def compare_exports(rows: Sequence[Row], full_rows: Sequence[Row]) -> Iterator[str]:
    """The plain line is the full one with less in it, and has exactly its seven keys."""
    if len(rows) != len(full_rows):
        yield f"{EXPORT} has {len(rows)} lines and {FULL_EXPORT} {len(full_rows)}."
    for number, (row, full) in enumerate(zip(rows, full_rows, strict=False), 1):
        if list(row) != KEYS:
            yield f"Line {number} has the keys {', '.join(row)}."
        elif row != _plain(full):
            yield f"Line {number} differs between {EXPORT} and {FULL_EXPORT}."
        elif not row["rejected"]:
            yield f"Line {number} rejects nothing."
        elif not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created_at"]):
            yield f"Line {number} was created at {row['created_at']}."


def compare_images(made: Sequence[Image], exported: Sequence[Image]) -> Iterator[str]:
    """The rule of the check: the same pictures under the same names, each once."""
    expected = {image.name: image.pixels for image in made}
    for name, times in Counter(image.name for image in made).items():
        if times > 1:
            yield f"Made {times} times: {Image(*name, pixels='')}."
    for name, times in Counter(image.name for image in exported).items():
        if times > 1:
            yield f"Exported {times} times: {Image(*name, pixels='')}."
    for name in expected.keys() - {image.name for image in exported}:
        yield f"Lost: {Image(*name, pixels='')}."
    for image in exported:
        if image.name not in expected:
            yield f"Never made: {image}."
        elif image.pixels != expected[image.name]:
            yield f"Mislabelled: {image} shows another picture."


def _exported_images(full_rows: Iterable[Row]) -> Iterator[Image]:
    for row in full_rows:
        for candidate in (row["chosen"], *row["rejected"]):
            pixels = _pixels_of(_path_of(candidate["uri"]))
            yield Image(row["prompt"], candidate["seed"], candidate["batch_index"], pixels)


def _broken_files(full_rows: Iterable[Row]) -> Iterator[str]:
    for row in full_rows:
        for candidate in (row["chosen"], *row["rejected"]):
            path = _path_of(candidate["uri"])
            content = path.read_bytes() if path.is_file() else b""
            if (hashlib.sha256(content).hexdigest(), len(content)) != (candidate["sha256"], candidate["bytes"]):
                yield f"{path} is not the file that the export describes."


def _pixels_of(path: Path) -> str:
    """As the simulators hash them: RGB, row by row. A file that is no picture has a hash that no picture has."""
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential")
        return hashlib.sha256(image.write_to_memory()).hexdigest()
    except pyvips.Error:
        return "no picture"


def _plain(full: Row) -> Row:
    def image(candidate: Row) -> Row:
        return {"uri": candidate["uri"], "seed": candidate["seed"]}

    kept = {key: full[key] for key in KEYS}
    return kept | {"chosen": image(full["chosen"]), "rejected": [image(one) for one in full["rejected"]]}


def _path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
