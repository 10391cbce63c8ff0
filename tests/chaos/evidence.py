"""What a run has left behind, read by code that knows nothing of the product: its tables by SQL written here, its
files from the directory of the store, and what the simulated workers wrote down.

Nothing here, and nothing that it imports, comes from comfylabel.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pyvips

Row = dict[str, Any]

_TABLES = {
    "tasks": "select * from tasks order by id",
    "prompts": "select * from prompts order by task_id, position",
    "seeds": "select s.*, p.task_id from seeds s join prompts p on p.id = s.prompt_id order by s.prompt_id, s.position",
    "batches": "select * from batches order by task_id, position",
    "generations": "select * from generations order by batch_id, position, id",
    "submissions": "select * from submissions order by created_at, id",
    "pilots": "select * from pilots order by id",
    "annotations": "select * from annotations order by id",
    "annotation_history": "select * from annotation_history order by id",
    "labellers": "select * from labellers order by task_id, user_id",
    "leases": "select * from leases order by batch_id",
    "task_failures": "select * from task_failures order by task_id, kind",
    "jobs": "select id, status::text, entrypoint, dedupe_key from pgqueuer where status in ('queued', 'picked')",
    "failed_jobs": "select id, entrypoint, dedupe_key from pgqueuer where status = 'failed'",
    "runs": "select subject as task_id, created_at from audit_events where action = 'task_run' order by created_at",
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """`pixels` is None when it is no picture that can be decoded."""

    sha256: str
    size: int
    age: float
    width: int = 0
    height: int = 0
    pixels: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedWorker:
    """`takes_strangers`: others send to it too, at moments that no gate of ours can know."""

    id: str
    limit: int
    events: list[Row]
    takes_strangers: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    tables: dict[str, list[Row]]
    files: dict[str, StoredFile]
    workers: dict[str, LoggedWorker]
    answers: list[Row] = field(default_factory=list)
    served: list[Row] = field(default_factory=list)
    progress: dict[str, Row] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    complete: frozenset[str] = frozenset()  # tasks that were run again when nothing was wrong any more
    deadline_seconds: float = 0.0
    grace_seconds: float = 0.0

    def of_task(self, table: str, task_id: Any) -> list[Row]:
        return [row for row in self.tables[table] if row["task_id"] == task_id]


async def read(directory: Path) -> Evidence:
    """As `audit.json` in the directory names the parts."""
    parts = json.loads((directory / "audit.json").read_text())
    connection = await asyncpg.connect(parts["database_url"])
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            tables = {name: [dict(row) for row in await connection.fetch(sql)] for name, sql in _TABLES.items()}
    finally:
        await connection.close()
    return Evidence(
        tables=tables,
        files=read_store(Path(parts["store"])),
        workers={
            worker["id"]: LoggedWorker(
                worker["id"], worker["limit"], read_lines(Path(worker["log"])), worker["takes_strangers"]
            )
            for worker in parts["workers"]
        },
        answers=read_lines(directory / "answers.jsonl"),
        served=read_lines(directory / "served.jsonl"),
        progress=parts["progress"],
        foreign=frozenset(line["id"] for line in read_lines(directory / "foreign.jsonl")),
        complete=frozenset(parts["complete"]),
        deadline_seconds=parts["deadline_seconds"],
        grace_seconds=parts["grace_seconds"],
    )


def read_lines(path: Path) -> list[Row]:
    """A line without an end is one that its writer did not live to finish."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def read_store(root: Path) -> dict[str, StoredFile]:
    """Every file, whatever its name."""
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.exists() else []
    return {path.relative_to(root).as_posix(): _read_file(path) for path in files}


def _read_file(path: Path) -> StoredFile:
    content = path.read_bytes()
    sha256, age = hashlib.sha256(content).hexdigest(), time.time() - path.stat().st_mtime
    try:
        image = pyvips.Image.new_from_buffer(content, "", fail_on="warning")
        pixels = hashlib.sha256(image.write_to_memory()).hexdigest()
    except pyvips.Error:
        return StoredFile(sha256, len(content), age)
    return StoredFile(sha256, len(content), age, image.width, image.height, pixels)


def by(rows: Iterable[Row], *columns: str) -> dict[Any, list[Row]]:
    """Rows grouped by one column, or by several as a tuple."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)
        groups.setdefault(key, []).append(row)
    return groups
