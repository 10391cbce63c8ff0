"""`comfylabel demo --once`: the whole line without a person, over the public HTTP API; then a check of the result."""

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from comfylabel.cli.api import Api, connect, sign_in
from comfylabel.cli.demo_check import EXPORT, FULL_EXPORT, LOG, Checked, check
from comfylabel.cli.demo_project import (
    SimulatedWorkers,
    admin_link,
    create_task,
    ensure_pools,
    ensure_workflow,
    register_workers,
    until_ready,
)
from comfylabel.cli.up import running_tree
from comfylabel.errors import ComfyLabelError
from comfylabel.settings import Settings

_JOB_SECONDS = 0.05
_PAGE = 100
_POLL_SECONDS = 0.2


class DemoFailedError(ComfyLabelError):
    """The demo's task did not end as it should."""


async def demo_once(out: Path, *, prompts: int, seeds: int) -> int:
    """1 where an image was lost, doubled or mislabelled."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    _clear(out)
    _write_log(out, prompts, seeds, [])  # what a broken-off run leaves is known as ours by the next one
    with Progress(
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        submissions = await _run_pipeline(out, progress, prompts=prompts, seeds=seeds)
    _write_log(out, prompts, seeds, submissions)
    checked = await asyncio.to_thread(check, out)
    _print_summary(console, out, checked, seconds=time.monotonic() - began)
    return 1 if checked.findings else 0


async def check_again(out: Path) -> int:
    """Compare the files of an earlier run, without running anything."""
    if not (out / LOG).is_file():
        raise DemoFailedError(f"{out} holds no demo: run `comfylabel demo --once --out {out}` first.")
    checked = await asyncio.to_thread(check, out)
    _print_summary(Console(highlight=False, soft_wrap=True), out, checked)
    return 1 if checked.findings else 0


async def _run_pipeline(out: Path, progress: Progress, *, prompts: int, seeds: int) -> list[dict[str, Any]]:
    """The submissions of the run, as the simulators logged them; the pilot's are left out."""
    async with _started(out) as (admin, annotator, workers):
        await register_workers(admin, workers.urls)
        workflow_id = await ensure_workflow(admin)
        await ensure_pools(admin)
        task_id = await create_task(admin, workflow_id, prompts=prompts, seeds=seeds)
        pilot_bar = progress.add_task("pilot", total=10)
        pilot = await admin.post(f"/api/tasks/{task_id}/pilot")
        progress.update(pilot_bar, completed=len(pilot["samples"]))
        before = {submission["id"] for submission in await workers.logs()}
        await admin.post(f"/api/tasks/{task_id}/freeze")
        await admin.post(f"/api/tasks/{task_id}/run")
        await _until_done(admin, task_id, progress)
        await _label(annotator, task_id, progress, prompts)
        await _export(admin, task_id, out)
        return [submission for submission in await workers.logs() if submission["id"] not in before]


@asynccontextmanager
async def _started(out: Path) -> AsyncIterator[tuple[Api, Api, SimulatedWorkers]]:
    """An installation of its own that is gone afterwards, but for its images; an admin and an annotator in it."""
    workers = SimulatedWorkers(2, job_seconds=_JOB_SECONDS)
    with tempfile.TemporaryDirectory(prefix="comfylabel-demo-") as data_dir:
        own = Settings.model_construct(data_dir=Path(data_dir), port=0, storage_url=(out / "images").as_uri())
        async with running_tree(own, announce=False, quiet=True, others=workers.programs) as tree:
            origin = tree.settings.origin
            async with connect(origin) as admin, connect(origin) as annotator:
                await tree.until_ended(asyncio.create_task(until_ready(admin)))
                await sign_in(admin, await admin_link(tree.database_url, origin))
                user = await admin.post("/api/users", {"name": "synthetic annotator", "role": "annotator"})
                await sign_in(annotator, user["sign_in_link"]["url"])
                yield admin, annotator, workers


async def _until_done(api: Api, task_id: str, progress: Progress) -> None:
    bar = progress.add_task("generate", total=None)
    while True:
        counts = await api.get(f"/api/tasks/{task_id}/progress", limit=1)
        progress.update(bar, total=counts["total"], completed=counts["done"])
        if counts["state"] == "DONE":
            return
        if counts["state"] == "FAILED":
            raise DemoFailedError(f"The task failed: {counts['failed']} of {counts['total']} images.")
        await asyncio.sleep(_POLL_SECONDS)


async def _label(api: Api, task_id: str, progress: Progress, prompts: int) -> None:
    """Every batch, with an opinion that follows from its id: so that two runs can be compared, and all places win."""
    bar = progress.add_task("label", total=prompts)
    cursor: dict[str, str] = {}
    while True:
        page = await api.get(f"/api/tasks/{task_id}/batches", limit=_PAGE, **cursor)
        for batch in page["items"]:
            opinion = hashlib.sha256(batch["batch_id"].encode()).digest()
            answer = {
                "task_id": task_id,
                "batch_id": batch["batch_id"],
                "chosen_index": int.from_bytes(opinion[:8], "big") % len(batch["thumbnails"]),
                "spam": False,
            }
            await api.post("/api/annotations", answer)
            progress.advance(bar)
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


async def _export(api: Api, task_id: str, out: Path) -> None:
    path = f"/api/tasks/{task_id}/export/dpo"
    for name, parameters in ((EXPORT, {}), (FULL_EXPORT, {"profile": "full"})):
        with (out / name).open("wb") as file:
            async for line in api.lines(path, **parameters):
                file.write(line + b"\n")


def _clear(out: Path) -> None:
    """Files of an earlier demo go; anybody else's stay."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / LOG).is_file():
        shutil.rmtree(out / "images", ignore_errors=True)
    for name in (EXPORT, FULL_EXPORT, LOG):
        (out / name).unlink(missing_ok=True)


def _write_log(out: Path, prompts: int, seeds: int, submissions: list[dict[str, Any]]) -> None:
    log = {"prompts": prompts, "seeds_per_prompt": seeds, "submissions": submissions}
    (out / LOG).write_text(json.dumps(log, indent=1))


def _print_summary(console: Console, out: Path, checked: Checked, *, seconds: float | None = None) -> None:
    table = Table(show_header=False, title="Demo with simulated workers")
    table.add_row("images asked for", str(checked.asked.images))
    table.add_row("images made, by the workers' own log", f"{checked.made} in {checked.submissions} submissions")
    table.add_row("images exported", str(checked.exported))
    table.add_row("preference lines", f"{checked.lines} in {out / EXPORT}")
    if seconds is not None:
        table.add_row("time", f"{seconds:.1f} s")
    console.print(table)
    if not checked.findings:
        console.print("Every image is there once, under the prompt, seed and index that made it.")
        return
    for finding in checked.findings:
        console.print(f"WRONG: {finding}", style="red", markup=False)
    console.print(f"{len(checked.findings)} findings: the export does not tell what was made.")
