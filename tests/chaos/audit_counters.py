"""Checks of numbers that are kept: each equals what it counts."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, by

IMAGE_STATES = {"pending", "running", "done", "failed"}


def counters_of_batches_are_recounts(evidence: Evidence) -> Iterator[str]:
    images = by((row for row in evidence.tables["generations"] if row["batch_id"]), "batch_id")
    answers = Counter(
        row["batch_id"] for row in evidence.tables["annotations"] if not row["surplus"] and row["kind"] != "skip"
    )
    leases = Counter(row["batch_id"] for row in evidence.tables["leases"])
    for batch in evidence.tables["batches"]:
        states = Counter(row["state"] for row in images[batch["id"]])
        candidates = sum(row["candidate_index"] is not None for row in images[batch["id"]])
        counted = {
            "total": states.total(),
            "done": states["done"],
            "failed": states["failed"],
            "running": states["running"],
            "candidates": candidates if batch["ready_at"] else None,
            "taken": answers[batch["id"]] + leases[batch["id"]],
        }
        stored = {name: batch[name] for name in counted}
        if stored != counted:
            yield f"batch {batch['id']} counts {stored}; counted again: {counted}"


def totals_of_tasks_are_recounts(evidence: Evidence) -> Iterator[str]:
    """As the API told them when all was over."""
    images = by((row for row in evidence.tables["generations"] if not row["pilot"]), "task_id")
    ready = Counter(batch["task_id"] for batch in evidence.tables["batches"] if batch["ready_at"])
    for task in evidence.tables["tasks"]:
        told = evidence.progress.get(str(task["id"]))
        if told is None or task["state"] == "DRAFT":
            continue
        states = Counter(row["state"] for row in images.get(task["id"], []))
        counted = {name: states[name] for name in IMAGE_STATES} | {"total": states.total()}
        counted["ready_batches"] = ready[task["id"]]
        stored = {name: told[name] for name in counted}
        if stored != counted or told["state"] != task["state"]:
            yield f"task {task['id']} ({task['state']}) was told as {told['state']} {stored}; counted again: {counted}"


def counters_of_labellers_are_recounts(evidence: Evidence) -> Iterator[str]:
    counted = Counter((row["task_id"], row["user_id"]) for row in evidence.tables["annotations"])
    stored = {(row["task_id"], row["user_id"]): row["answered"] for row in evidence.tables["labellers"]}
    for key in counted.keys() | stored.keys():
        if counted[key] != stored.get(key, 0):
            yield f"user {key[1]} has {counted[key]} answers in task {key[0]}; counted are {stored.get(key, 0)}"


def counters_of_failures_are_recounts(evidence: Evidence) -> Iterator[str]:
    counted = Counter(
        (row["task_id"], row["error"]["class"])
        for row in evidence.tables["submissions"]
        if row["state"] in ("failed", "lost") and row["pilot_id"] is None and row["error"]["class"] != "cancelled"
    )
    stored = {(row["task_id"], row["kind"]): row["failures"] for row in evidence.tables["task_failures"]}
    for key in counted.keys() | stored.keys():
        if counted[key] != stored.get(key, 0):
            yield f"task {key[0]} had {counted[key]} submissions end with {key[1]}; counted are {stored.get(key, 0)}"


def states_are_legal(evidence: Evidence) -> Iterator[str]:
    ready = {batch["task_id"] for batch in evidence.tables["batches"] if batch["ready_at"]}
    images = by((row for row in evidence.tables["generations"] if not row["pilot"]), "task_id")
    for task in evidence.tables["tasks"]:
        states = {row["state"] for row in images.get(task["id"], [])}
        if task["state"] == "DONE" and (not states <= {"done", "failed"} or task["id"] not in ready):
            yield f"task {task['id']} is DONE with images {sorted(states)}"
        if task["state"] == "FAILED" and task["end_reason"] is None:
            yield f"task {task['id']} is FAILED and does not say why"
        if task["state"] == "FAILED" and task["end_reason"] != "cancelled" and task["id"] in ready:
            yield f"task {task['id']} is FAILED ({task['end_reason']}) and can be labelled"
    for row in evidence.tables["generations"]:
        if row["state"] not in IMAGE_STATES:
            yield f"image {row['id']} is {row['state']}"
        if row["state"] != "done" and row["image_uri"]:
            yield f"image {row['id']} is {row['state']} and has a file"
