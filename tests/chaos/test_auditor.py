"""The auditor itself: a quiet run finds nothing wrong, and whatever is tampered with afterwards is found.

The run is real; most of the tampering is done to what was read of it, some to the database, the store and the logs
themselves.
"""

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.chaos import auditor
from tests.chaos.evidence import Evidence, Row, read
from tests.chaos.one_run import Plan, run
from tests.chaos.programs import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

# Executed against what the run has left, and judged. `{done}` is an image that is done.
_IN_THE_DATABASE = {
    "a row's seed is changed": (
        "update generations set seed_value = seed_value + 1 where id = '{done}'",
        ["every_planned_image_has_one_row", "every_done_image_is_what_its_worker_made"],
    ),
    "a counter is off by one": (
        "update batches set done = done - 1 where id = (select batch_id from generations where id = '{done}')",
        ["counters_of_batches_are_recounts"],
    ),
    "an answer is removed": (
        "delete from annotations where id = (select id from annotations order by id limit 1)",
        ["no_acknowledged_answer_is_lost"],
    ),
}


class Stage:
    """What the one run of this file has left: as it was read, and what was said of it with its parts tampered with."""

    def __init__(self, evidence: Evidence, quiet: list[str], said: dict[str, list[str]]) -> None:
        self.evidence, self.quiet, self.said = evidence, quiet, said


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return asyncio.run(_quiet_run(tmp_path_factory.mktemp("quiet")))


async def _quiet_run(directory: Path) -> Stage:
    found: list[Stage] = []

    async def afterwards(directory: Path) -> None:
        found.append(Stage(await read(directory), [], await _tamper(directory)))

    result = await run(Plan.of(4, chaos_seconds=5), directory, strikes=["stranger_submits"], afterwards=afterwards)
    found[0].quiet = result.violations
    return found[0]


async def _tamper(directory: Path) -> dict[str, list[str]]:
    said = {}
    parts = json.loads((directory / "audit.json").read_text())
    store, log = Path(parts["store"]), Path(parts["workers"][0]["log"])
    connection = await asyncpg.connect(parts["database_url"])
    try:
        done = await connection.fetchrow("select id, image_uri from generations where state = 'done' and not pilot")
        assert done is not None
        for name, (statement, _) in _IN_THE_DATABASE.items():
            said[name] = await _judged_with(connection, statement.format(done=done["id"]), directory)
    finally:
        await connection.close()
    file = store / done["image_uri"]
    content = file.read_bytes()
    file.unlink()
    said["a file is deleted"] = await auditor.audit(directory)
    file.write_bytes(content[:-1] + b"\0")
    said["a file is changed"] = await auditor.audit(directory)
    file.write_bytes(content)
    written = log.read_text()
    queued = next(line for line in written.splitlines() if '"queued"' in line)
    log.write_text(written.replace(queued, f"{queued}\n{queued}"))
    said["a POST is added to the log"] = await auditor.audit(directory)
    log.write_text(written)
    return said


async def _judged_with(connection: Any, statement: str, directory: Path) -> list[str]:
    """The auditor reads through a connection of its own: what it shall see must be committed, and undone again."""
    tables = ("generations", "batches", "annotations")
    for table in tables:
        await connection.execute(f"create table kept_{table} as table {table}")
    await connection.execute(statement)
    said = await auditor.audit(directory)
    await connection.execute("set session_replication_role = replica")  # in any order, whoever refers to whom
    for table in tables:
        await connection.execute(
            f"delete from {table}; insert into {table} table kept_{table}; drop table kept_{table}"
        )
    await connection.execute("set session_replication_role = origin")
    return said


def test_a_quiet_run_leaves_nothing_to_complain_of(stage):
    assert not stage.quiet
    assert sum(row["state"] == "done" for row in stage.evidence.tables["generations"]) > 10
    assert len(stage.evidence.answers) > 10


def test_the_auditor_knows_nothing_of_the_product():
    program = (
        "import sys, tests.chaos.auditor;"
        "print([name for name in sys.modules if name.startswith(('comfylabel', 'obstore', 'pgqueuer'))])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        *((name, rules) for name, (_, rules) in _IN_THE_DATABASE.items()),
        ("a file is deleted", ["every_done_image_is_the_stored_file"]),
        ("a file is changed", ["every_done_image_is_the_stored_file"]),
        ("a POST is added to the log", ["nothing_is_sent_twice_while_it_is_known"]),
    ],
)
def test_what_is_tampered_with_is_found(stage, name, rules):
    for rule in rules:
        assert any(line.startswith(rule) for line in stage.said[name]), stage.said[name]


# ---------------------------------------------------------------------------------- what was read is tampered with


Change = Callable[[Evidence], None]


def _first(evidence: Evidence, table: str, **values: Any) -> Row:
    return next(row for row in evidence.tables[table] if all(row[name] == value for name, value in values.items()))


def _changed(table: str, column: str, value: Any, **where: Any) -> Change:
    """`value` may be a function of the value that is there."""

    def change(evidence: Evidence) -> None:
        row = _first(evidence, table, **where)
        row[column] = value(row[column]) if callable(value) else value

    return change


def _removed(table: str, **where: Any) -> Change:
    return lambda evidence: evidence.tables[table].remove(_first(evidence, table, **where))


def _doubled(table: str, **where: Any) -> Change:
    return lambda evidence: evidence.tables[table].append(dict(_first(evidence, table, **where)))


def _same_file_twice(evidence: Evidence) -> None:
    first, second = [row for row in evidence.tables["generations"] if row["state"] == "done" and not row["pilot"]][:2]
    second["checksum"] = first["checksum"]


def _an_orphan(evidence: Evidence) -> None:
    evidence.files["tasks/nobody/1.png"] = next(iter(evidence.files.values()))


def _orphan_of_a_missing_image(evidence: Evidence) -> None:
    """It lies where the image that is missing would lie, but is not what any worker made of it."""
    row = _first(evidence, "generations", state="done", pilot=False)
    row["state"] = "pending"
    evidence.files[row["image_uri"].replace(row["checksum"], "0" * 64)] = next(iter(evidence.files.values()))


def _orphan_of_a_pilot(evidence: Evidence) -> None:
    pilot = _first(evidence, "pilots")
    pilot["state"] = "cancelled"
    evidence.files[f"tasks/{pilot['task_id']}/pilot/{pilot['id']}/99.png"] = next(iter(evidence.files.values()))


def _pilot_without_a_sample(evidence: Evidence) -> None:
    pilot = _first(evidence, "pilots")
    pilot["state"] = "done"
    rows = [row for row in evidence.tables["generations"] if row["pilot_id"] == pilot["id"]]
    for row in rows[:1]:
        evidence.tables["generations"].remove(row)


def _never_left_the_queue(evidence: Evidence) -> None:
    worker = next(iter(evidence.workers.values()))
    worker.events.append(dict(_events(evidence, "queued")[0], id="6a4f8c58-0000-4000-8000-000000000001"))


def _waits_on_a_stuck_worker(evidence: Evidence) -> None:
    """Behind what nobody can end: it can be taken out of the queue all the same."""
    worker = next(iter(evidence.workers.values()))
    worker.events.append({"event": "struck", "at": 1.0, "fault": "stuck"})
    _never_left_the_queue(evidence)


def _job_failed(evidence: Evidence) -> None:
    evidence.tables["failed_jobs"].append({"id": 1, "entrypoint": "pilot", "dedupe_key": "pilot:1"})


def _thumbnail_gone(evidence: Evidence) -> None:
    del evidence.files[_first(evidence, "generations", state="done")["thumbnail_uri"]]


def _gave_up_early(evidence: Evidence) -> None:
    _first(evidence, "batches")["failed"] = 1


def _failed_without_words(evidence: Evidence) -> None:
    evidence.tables["generations"][0]["state"] = "failed"


def _events(evidence: Evidence, kind: str) -> list[Row]:
    ours = [worker for worker in evidence.workers.values() if not worker.takes_strangers]
    return [event for worker in ours for event in worker.events if event["event"] == kind]


def _held_too_many(evidence: Evidence) -> None:
    _events(evidence, "queued")[0]["held"] = 99


def _sent_other_text(evidence: Evidence) -> None:
    _events(evidence, "post")[0]["text"] = "something else"


def _made_other_pixels(evidence: Evidence) -> None:
    for event in _events(evidence, "ended"):
        event["pixels"] = ["0" * 64 for _ in event["pixels"]]


def _sent_without_a_row(evidence: Evidence) -> None:
    post = dict(_events(evidence, "post")[0], id="6a4f8c58-0000-4000-8000-000000000000")
    next(iter(evidence.workers.values())).events.append(post)


def _sent_to_two(evidence: Evidence) -> None:
    post = _events(evidence, "post")[0]
    for worker in evidence.workers.values():
        worker.events.append(post)


def _stranger(evidence: Evidence, event: str, **more: Any) -> None:
    assert evidence.foreign
    worker = next(worker for worker in evidence.workers.values() if worker.takes_strangers)
    worker.events.append({"event": event, "at": 0.0, "id": next(iter(evidence.foreign)), **more})


def _claim(state: str, kind: str) -> Change:
    def change(evidence: Evidence) -> None:
        row = _first(evidence, "submissions", state="ingested", pilot_id=None)
        row["state"], row["error"] = state, {"class": kind, "message": "so it says"}

    return change


def _never_accepted(evidence: Evidence) -> None:
    row = _first(evidence, "submissions", state="ingested", pilot_id=None)
    row["state"], row["accepted_at"], row["error"] = "failed", None, {"class": "not_taken", "message": "so it says"}


def _never_ended(evidence: Evidence) -> None:
    for worker in evidence.workers.values():
        worker.events[:] = [event for event in worker.events if event["event"] != "ended"]


def _told_other_total(evidence: Evidence) -> None:
    next(iter(evidence.progress.values()))["done"] += 1


def _ready(evidence: Evidence) -> Row:
    return next(batch for batch in evidence.tables["batches"] if batch["ready_at"])


def _candidates_with_a_gap(evidence: Evidence) -> None:
    batch = _ready(evidence)
    last = max(
        (row for row in evidence.tables["generations"] if row["batch_id"] == batch["id"]),
        key=lambda row: row["candidate_index"],
    )
    last["candidate_index"] += 1


def _never_ready(evidence: Evidence) -> None:
    batch = _ready(evidence)
    batch["ready_at"] = batch["candidates"] = None
    for row in evidence.tables["generations"]:
        if row["batch_id"] == batch["id"]:
            row["candidate_index"] = None


def _other_image_chosen(evidence: Evidence) -> None:
    row = _first(evidence, "annotations", kind="choice")
    others = (image for image in evidence.tables["generations"] if image["batch_id"] != row["batch_id"])
    row["chosen_generation_id"] = next(others)["id"]


def _other_images_shown(evidence: Evidence) -> None:
    evidence.served[0]["generation_ids"].reverse()


def _answer_of_nobody(evidence: Evidence) -> None:
    evidence.tables["annotations"].append(dict(evidence.tables["annotations"][0], client_id="never sent"))


def _answer_twice_in_history(evidence: Evidence) -> None:
    row = evidence.tables["annotations"][0]
    history = {"user_id": row["user_id"], "client_id": row["client_id"], "batch_id": row["batch_id"], "answer": row}
    evidence.tables["annotation_history"].append(history)


def _too_many_answers(evidence: Evidence) -> None:
    for task in evidence.tables["tasks"]:
        task["overlap"] = 0


_TAMPERED: dict[str, tuple[Change, str]] = {
    "an image is missing": (_removed("generations", pilot=False), "every_planned_image_has_one_row"),
    "an image is there twice": (_doubled("generations", pilot=False), "every_planned_image_has_one_row"),
    "a prompt is missing": (_removed("prompts"), "every_planned_image_has_one_row"),
    "a batch index is wrong": (
        _changed("generations", "batch_index", lambda index: index + 1, state="done", pilot=False),
        "every_planned_image_has_one_row",
    ),
    "an image still runs": (
        _changed("generations", "state", "running", state="done", pilot=False),
        "every_image_is_done_or_says_why_not",
    ),
    "an image failed without words": (_failed_without_words, "every_image_is_done_or_says_why_not"),
    "a prompt was given up early": (_gave_up_early, "a_prompt_fails_after_three_counted_retries"),
    "a retry was counted that never was": (
        _changed("batches", "retries_used", 1),
        "a_prompt_fails_after_three_counted_retries",
    ),
    "a size is wrong": (_changed("generations", "width", 65, state="done"), "every_done_image_is_the_stored_file"),
    "bytes are wrong": (_changed("generations", "bytes", 1, state="done"), "every_done_image_is_the_stored_file"),
    "a thumbnail is gone": (_thumbnail_gone, "every_done_image_is_the_stored_file"),
    "the worker made other pixels": (_made_other_pixels, "every_done_image_is_what_its_worker_made"),
    "another worker is named": (
        _changed("generations", "worker_id", "somebody", state="done"),
        "every_done_image_is_what_its_worker_made",
    ),
    "two rows are one file": (_same_file_twice, "no_two_images_are_the_same"),
    "a file belongs to nobody": (_an_orphan, "no_file_is_an_orphan"),
    "a file lies where a missing image would": (_orphan_of_a_missing_image, "no_file_is_an_orphan"),
    "a cancelled pilot left a file": (_orphan_of_a_pilot, "no_file_is_an_orphan"),
    "a pilot lacks a sample": (_pilot_without_a_sample, "a_pilot_has_its_samples_or_says_why_not"),
    "a chunk was made twice": (_doubled("submissions", state="ingested", pilot_id=None), "a_chunk_is_made_once"),
    "a worker holds what is nobody's": (_never_left_the_queue, "no_worker_holds_what_is_given_up"),
    "a stuck worker holds what never began": (_waits_on_a_stuck_worker, "no_worker_holds_what_is_given_up"),
    "a job has failed": (_job_failed, "no_job_has_failed"),
    "candidates have a gap": (_candidates_with_a_gap, "candidates_are_numbered_without_a_gap"),
    "a complete batch is not ready": (_never_ready, "candidates_are_numbered_without_a_gap"),
    "a worker held too many": (_held_too_many, "no_worker_is_sent_more_than_its_limit"),
    "a submission has no row": (_sent_without_a_row, "a_submission_goes_to_one_worker_and_has_a_row"),
    "a submission went to two workers": (_sent_to_two, "a_submission_goes_to_one_worker_and_has_a_row"),
    "another text was sent": (_sent_other_text, "what_was_sent_is_what_the_row_says"),
    "a stranger's job was deleted": (
        lambda evidence: _stranger(evidence, "deleted"),
        "nothing_of_strangers_is_touched",
    ),
    "a stranger's job was interrupted": (
        lambda evidence: _stranger(evidence, "ended", outcome="interrupted", pixels=[]),
        "nothing_of_strangers_is_touched",
    ),
    "a success that no worker had": (_never_ended, "an_end_is_what_the_worker_says"),
    "a failure that no worker had": (_claim("failed", "execution_error"), "an_end_is_what_the_worker_says"),
    "a loss that no worker had": (_claim("lost", "worker_restarted"), "an_end_is_what_the_worker_says"),
    "not taken by a worker that had it": (_never_accepted, "an_end_is_what_the_worker_says"),
    "a deadline that was none": (_claim("failed", "deadline"), "an_end_is_what_the_worker_says"),
    "a submission is open": (
        _changed("submissions", "state", "accepted", state="ingested"),
        "nothing_is_left_open",
    ),
    "a task still runs": (_changed("tasks", "state", "RUNNING"), "nothing_is_left_open"),
    "the counter of failed images is wrong": (
        _changed("batches", "failed", lambda failed: failed + 1),
        "counters_of_batches_are_recounts",
    ),
    "places taken are wrong": (
        _changed("batches", "taken", lambda taken: taken + 1),
        "counters_of_batches_are_recounts",
    ),
    "the API told another total": (_told_other_total, "totals_of_tasks_are_recounts"),
    "the answers of a person are wrong": (
        _changed("labellers", "answered", lambda answered: answered + 1),
        "counters_of_labellers_are_recounts",
    ),
    "failures were not counted": (_claim("failed", "broken_image"), "counters_of_failures_are_recounts"),
    "a task is done with images pending": (
        _changed("generations", "state", "pending", state="done", pilot=False),
        "states_are_legal",
    ),
    "an image is in no known state": (_changed("generations", "state", "lost", state="done"), "states_are_legal"),
    "an answer says something else": (
        _changed("annotations", "chosen_index", lambda index: (index or 0) + 1),
        "no_acknowledged_answer_is_lost",
    ),
    "an answer is stored twice": (_answer_twice_in_history, "no_acknowledged_answer_is_lost"),
    "an older answer stands": (
        _changed("annotations", "client_id", "another"),
        "the_last_acknowledged_answer_stands",
    ),
    "an answer nobody sent": (_answer_of_nobody, "no_answer_came_from_nobody"),
    "another image is chosen": (_other_image_chosen, "an_answer_names_the_image_that_was_shown"),
    "other images were shown": (_other_images_shown, "an_answer_names_the_image_that_was_shown"),
    "an answer does not count": (
        _changed("annotations", "surplus", True, surplus=False, kind="choice"),  # noqa: FBT003 - a row's value
        "as_many_answers_count_as_there_are",
    ),
    "more answers count than asked for": (_too_many_answers, "no_more_answers_count_than_asked_for"),
}


@pytest.mark.parametrize("name", _TAMPERED)
def test_each_check_finds_what_it_is_for(stage, name):
    tamper, rule = _TAMPERED[name]
    evidence = copy.deepcopy(stage.evidence)
    tamper(evidence)
    said = auditor.violations(evidence)
    assert any(line.startswith(rule) for line in said), said


def test_every_check_was_seen_to_find_something():
    tried = {rule for _, rule in _TAMPERED.values()} | {
        rule for _, rules in _IN_THE_DATABASE.values() for rule in rules
    }
    tried |= {"nothing_is_sent_twice_while_it_is_known"}
    assert tried == {check.__name__ for check in auditor.CHECKS}


def _without_a_row(evidence: Evidence) -> tuple[str, set[str]]:
    """An image that was stored, and whose process died before it was counted: its task and its files."""
    row = _first(evidence, "generations", state="done", pilot=False)
    row["state"] = "pending"
    columns = ("image_uri", "thumbnail_uri", "tile_uri", "preview_uri")
    files = {row[column] for column in columns}
    row.update(dict.fromkeys(columns))
    return str(row["task_id"]), files


def test_what_a_worker_made_of_a_missing_image_waits_for_the_next_run(stage):
    evidence = copy.deepcopy(stage.evidence)
    task, files = _without_a_row(evidence)
    assert not _orphans(replace(evidence, complete=frozenset()))
    found = _orphans(replace(evidence, complete=frozenset({task})))
    assert {line.split()[1] for line in found} == files


def _orphans(evidence: Evidence) -> list[str]:
    return [line for line in auditor.violations(evidence) if line.startswith("no_file_is_an_orphan")]


def test_what_runs_on_a_stuck_worker_is_held_until_its_restart(stage):
    """Its thread has died: deadline and interrupt are all that can be done."""
    evidence = copy.deepcopy(stage.evidence)
    _never_left_the_queue(evidence)
    worker = next(iter(evidence.workers.values()))
    worker.events.append({"event": "began", "at": 1.0, "id": worker.events[-1]["id"]})
    rule = "no_worker_holds_what_is_given_up"
    assert any(line.startswith(rule) for line in auditor.violations(evidence))
    worker.events.append({"event": "struck", "at": 1.0, "fault": "stuck"})
    assert not any(line.startswith(rule) for line in auditor.violations(evidence))


def test_a_file_within_its_grace_period_is_no_orphan(stage):
    evidence = copy.deepcopy(stage.evidence)
    _an_orphan(evidence)
    assert not auditor.violations(replace(evidence, grace_seconds=timedelta(days=1).total_seconds()))
