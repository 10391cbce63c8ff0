"""Checks of what was planned and made: rows against the frozen plan, files against rows, pixels against the workers."""

import re
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Row, by
from tests.chaos.replay import Replay

TASK_STATES = {"DRAFT", "FROZEN", "RUNNING", "DONE", "FAILED"}
MOST_RETRIES = 3
SAMPLES = 10  # of a pilot
COUNTED = {"execution_error", "out_of_memory", "broken_image", "deadline", "not_taken"}
PERMANENT = {"validation", "missing_node"}


def every_planned_image_has_one_row(evidence: Evidence) -> Iterator[str]:
    rows = by((row for row in evidence.tables["generations"] if not row["pilot"]), "prompt_id")
    seeds = by(evidence.tables["seeds"], "prompt_id")
    frozen = {task["id"]: task for task in evidence.tables["tasks"] if task["state"] != "DRAFT"}
    for task in frozen.values():
        prompts = evidence.of_task("prompts", task["id"])
        if len(prompts) != task["target_prompts"]:
            yield f"task {task['id']} has {len(prompts)} prompts, not {task['target_prompts']}"
        for prompt in prompts:
            images = sorted(rows.get(prompt["id"], []), key=lambda row: row["position"])
            if [row["position"] for row in images] != list(range(task["seeds_per_prompt"])):
                yield f"prompt {prompt['id']} has images at {[row['position'] for row in images]}"
                continue
            planned = [seed["seed_value"] for seed in seeds[prompt["id"]]]
            yield from _as_planned(images, planned, task["batch_size"] if task["seed_mode"] == "native" else 1)


def _as_planned(images: list[Row], planned: list[int], size: int) -> Iterator[str]:
    """A chunk is sent with the seed of its first image; the index in the batch tells its images apart."""
    for row in images:
        first = row["position"] // size * size
        expected = (planned[first], row["position"] - first, min(size, len(planned) - first))
        found = (row["seed_value"], row["batch_index"], row["batch_size"])
        if found != expected:
            yield f"image {row['id']} records (seed, batch_index, batch_size) {found}; planned was {expected}"


def every_image_is_done_or_says_why_not(evidence: Evidence) -> Iterator[str]:
    """Pending is what a cancelled task has not made. Nothing runs at the end."""
    batches = {batch["id"]: batch for batch in evidence.tables["batches"]}
    tasks = {task["id"]: task for task in evidence.tables["tasks"]}
    for row in evidence.tables["generations"]:
        task = tasks[row["task_id"]]
        if row["state"] == "done" or row["pilot"]:
            continue
        if str(task["id"]) in evidence.complete:
            yield f"image {row['id']} is {row['state']} although the task was run again when nothing was wrong"
        elif row["state"] == "pending" and (task["end_reason"] == "cancelled" or task["state"] == "FROZEN"):
            continue
        elif row["state"] != "failed":
            yield f"image {row['id']} is {row['state']} in a task that is {task['state']}"
        elif not batches[row["batch_id"]]["reason"]:
            yield f"image {row['id']} has failed and its prompt does not say why"


def a_prompt_fails_after_three_counted_retries(evidence: Evidence) -> Iterator[str]:
    runs = evidence.tables["runs"]
    last_run = {row["task_id"]: row["created_at"] for row in runs}
    first_run = {row["task_id"]: row["created_at"] for row in reversed(runs)}
    submissions = by((row for row in evidence.tables["submissions"] if row["pilot_id"] is None), "prompt_id")
    for batch in evidence.tables["batches"]:
        # `run` gives a new budget to what is missing; nothing of a prompt that was done by then changes.
        is_done = batch["done"] == batch["total"]
        began = first_run.get(str(batch["task_id"])) if is_done else last_run.get(str(batch["task_id"]))
        everything = submissions.get(batch["prompt_id"], [])
        tried = [row for row in everything if began and (row["ended_at"] or began) > began]
        if not tried and batch["done"] == batch["total"]:
            tried = everything  # nothing was missing when the last run began: it touched nothing of it
        classes = [row["error"]["class"] for row in tried if row["state"] in ("failed", "lost")]
        counted = sum(row["state"] == "failed" and row["error"]["class"] in COUNTED for row in tried)
        if batch["retries_used"] > min(counted, MOST_RETRIES):
            yield f"batch {batch['id']} counts {batch['retries_used']} retries; {counted} of its submissions failed"
        if not batch["failed"]:
            if batch["retries_used"] != counted and _ran_once(evidence, batch):
                yield f"batch {batch['id']} counts {batch['retries_used']} retries, not {counted}"
            continue
        is_spent = batch["retries_used"] == MOST_RETRIES and counted > MOST_RETRIES
        is_killer = batch["losses"] >= MOST_RETRIES and len(classes) - counted >= MOST_RETRIES
        if not (is_spent or is_killer or PERMANENT & set(classes)):
            yield (
                f"batch {batch['id']} was given up with {batch['retries_used']} retries and {batch['losses']} losses "
                f"after {classes}"
            )


def _ran_once(evidence: Evidence, batch: Row) -> bool:
    return sum(row["task_id"] == str(batch["task_id"]) for row in evidence.tables["runs"]) == 1


def every_done_image_is_the_stored_file(evidence: Evidence) -> Iterator[str]:
    for row in _done(evidence):
        file = evidence.files.get(row["image_uri"])
        if file is None:
            yield f"image {row['id']} is done and {row['image_uri']} is not in the store"
            continue
        if file.sha256 != row["checksum"]:
            yield f"image {row['id']} records SHA-256 {row['checksum']}; the file has {file.sha256}"
        if not row["pilot"] and file.sha256 not in row["image_uri"]:
            yield f"image {row['id']} lies at {row['image_uri']}, which is not its SHA-256 {file.sha256}"
        if f"tasks/{row['task_id']}/" not in row["image_uri"]:
            yield f"image {row['id']} lies in another task: {row['image_uri']}"
        if (file.size, file.width, file.height) != (row["bytes"], row["width"], row["height"]):
            recorded = (row["bytes"], row["width"], row["height"])
            yield f"image {row['id']}: the file has {(file.size, file.width, file.height)}, the row says {recorded}"
        for column in ("thumbnail_uri", "tile_uri", "preview_uri"):
            smaller = evidence.files.get(row[column] or "")
            if smaller is None or smaller.pixels is None:
                yield f"image {row['id']}: {column} {row[column]} is no picture in the store"


def every_done_image_is_what_its_worker_made(evidence: Evidence) -> Iterator[str]:
    """What that worker was sent under the row's submission, and the pixels that came out of it."""
    texts = {prompt["id"]: prompt["text"] for prompt in evidence.tables["prompts"]}
    replays = {worker.id: Replay(worker) for worker in evidence.workers.values()}
    for row in _done(evidence):
        replay = replays.get(str(row["worker_id"]))
        sent = replay.sent.get(str(row["submission_id"])) if replay else None
        if replay is None or sent is None:
            yield f"image {row['id']}: worker {row['worker_id']} was never sent {row['submission_id']}"
            continue
        was = (sent["text"], sent["seed"], sent["batch_size"], sent["width"], sent["height"])
        says = (texts.get(row["prompt_id"]), row["seed_value"], row["batch_size"], row["width"], row["height"])
        if was != says:
            yield f"image {row['id']} says {says}; its worker was sent {was}"
        pixels = replay.pixels.get(str(row["submission_id"]), [])
        file = evidence.files.get(row["image_uri"])
        if row["batch_index"] >= len(pixels):
            yield f"image {row['id']}: its worker made {len(pixels)} images, not one at {row['batch_index']}"
        elif file is not None and file.pixels != pixels[row["batch_index"]]:
            yield f"image {row['id']}: the stored pixels are not those that its worker made"


def no_two_images_are_the_same(evidence: Evidence) -> Iterator[str]:
    for checksum, rows in by((row for row in _done(evidence) if not row["pilot"]), "checksum").items():
        if len(rows) > 1:
            yield f"{len(rows)} images are the same file {checksum}: {[str(row['id']) for row in rows]}"


def no_file_is_an_orphan(evidence: Evidence) -> Iterator[str]:
    """A file that no row names is one, but for what a worker has made of an image that `run` may still ask for: it is
    stored under the name of its content, where `run` will find it. Whether it does is judged after the last run.
    """
    columns = ("image_uri", "thumbnail_uri", "tile_uri", "preview_uri")
    known = {row[column] for row in evidence.tables["generations"] for column in columns}
    awaited = _made_of_what_is_missing(evidence)
    for key, file in evidence.files.items():
        is_awaited = _HASH_OF_KEY.sub(r"\1 \2", key) in awaited
        if key not in known and not is_awaited and file.age > evidence.grace_seconds:
            yield f"{key} belongs to no row and is {file.age:.0f} s old"


_HASH_OF_KEY = re.compile(r"^tasks/([0-9a-f-]{36})/\d{4}/\d\d/\d\d/[0-9a-f]{2}/([0-9a-f]{64})[.0-9a-z]*$")


def _made_of_what_is_missing(evidence: Evidence) -> set[str]:
    """Task and SHA-256 of each file that a worker has made of an image that is not done."""
    replays = [Replay(worker) for worker in evidence.workers.values()]
    files = {identity: made for replay in replays for identity, made in replay.files.items()}
    submissions = by((row for row in evidence.tables["submissions"] if row["pilot_id"] is None), "prompt_id", "chunk")
    return {
        f"{row['task_id']} {made[row['batch_index']]}"
        for row in evidence.tables["generations"]
        if row["state"] != "done" and not row["pilot"] and str(row["task_id"]) not in evidence.complete
        for submission in submissions.get((row["prompt_id"], row["chunk"]), [])
        if len(made := files.get(str(submission["id"]), [])) > row["batch_index"]
    }


def a_pilot_has_its_samples_or_says_why_not(evidence: Evidence) -> Iterator[str]:
    images = by((row for row in evidence.tables["generations"] if row["pilot"]), "pilot_id")
    for pilot in evidence.tables["pilots"]:
        found = sorted(row["position"] for row in images.get(pilot["id"], []))
        if pilot["state"] == "done" and found != list(range(SAMPLES)):
            yield f"pilot {pilot['id']} is done with samples {found}"
        if pilot["state"] == "failed" and not (pilot["error"] or {}).get("message"):
            yield f"pilot {pilot['id']} has failed and does not say why"


def a_chunk_is_made_once(evidence: Evidence) -> Iterator[str]:
    """A second submission of it would have cost a GPU its time for images that were there."""
    brought = (row for row in evidence.tables["submissions"] if row["state"] == "ingested" and row["pilot_id"] is None)
    for (prompt, chunk), rows in by(brought, "prompt_id", "chunk").items():
        if len(rows) > 1:
            yield f"chunk {chunk} of prompt {prompt} was brought {len(rows)} times: {[str(row['id']) for row in rows]}"


def candidates_are_numbered_without_a_gap(evidence: Evidence) -> Iterator[str]:
    """A batch is ready when all is done, or when nothing is left to try and two images are; in the order of seeds."""
    rows = by((row for row in evidence.tables["generations"] if row["batch_id"]), "batch_id")
    for batch in evidence.tables["batches"]:
        images = sorted(rows[batch["id"]], key=lambda row: row["position"])
        numbers = [row["candidate_index"] for row in images if row["candidate_index"] is not None]
        if numbers != list(range(len(numbers))):
            yield f"batch {batch['id']} has candidates {numbers}"
        if any(row["state"] != "done" for row in images if row["candidate_index"] is not None):
            yield f"batch {batch['id']} shows an image that is not done"
        done, failed = (sum(row["state"] == state for row in images) for state in ("done", "failed"))
        if batch["ready_at"] is None:
            if numbers:
                yield f"batch {batch['id']} is not ready and has candidates"
            if done == batch["total"] or (done + failed == batch["total"] and done > 1):
                yield f"batch {batch['id']} is complete and not ready"
        elif len(numbers) < min(2, batch["total"]):
            yield f"batch {batch['id']} is ready with {len(numbers)} candidates"


def _done(evidence: Evidence) -> list[Row]:
    return [row for row in evidence.tables["generations"] if row["state"] == "done"]
