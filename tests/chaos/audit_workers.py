"""Checks of what the workers were sent: never too much, never twice, nothing of strangers touched, nothing made up."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.chaos.evidence import Evidence, Row
from tests.chaos.replay import Replay

SUBMISSION_ENDS = {"ingested", "failed", "lost", "cancelled"}
OUTCOMES = {"execution_error": "error", "out_of_memory": "out_of_memory", "interrupted": "interrupted"}
# A forgotten submission is told apart from a worker that was silent; an older name of it carried this sentence.
FORGOTTEN, HAS_FORGOTTEN = "worker_restarted", "forgotten"
# Of one that the worker never took, by our rows.
NEVER_THERE = {"network", "proxy_auth", "not_taken"}
_CLOCKS = 1.0  # seconds by which two clocks of one machine, read one after the other on a busy one, may differ


def _replays(evidence: Evidence) -> list[Replay]:
    return [Replay(worker) for worker in evidence.workers.values()]


def no_worker_is_sent_more_than_its_limit(evidence: Evidence) -> Iterator[str]:
    for replay in _replays(evidence):
        limit = replay.worker.limit
        for entry in replay.entries:
            if entry.id in evidence.foreign:
                continue
            ours = len(entry.held - evidence.foreign) + (entry.id not in entry.held)
            held = ours if replay.worker.takes_strangers else max(ours, entry.total)
            if held > limit:
                yield (
                    f"worker {replay.worker.id} may hold {limit} and was sent {entry.id} as number {held}, beside "
                    f"{sorted(entry.held)}"
                )


def nothing_is_sent_twice_while_it_is_known(evidence: Evidence) -> Iterator[str]:
    for replay in _replays(evidence):
        for entry in replay.entries:
            if entry.id in entry.known:
                yield f"worker {replay.worker.id} was sent {entry.id} again while it knew it"


def a_submission_goes_to_one_worker_and_has_a_row(evidence: Evidence) -> Iterator[str]:
    rows = {str(row["id"]): row for row in evidence.tables["submissions"]}
    places: Counter[str] = Counter()
    for replay in _replays(evidence):
        for identity in set(replay.posted) - evidence.foreign:
            places[identity] += 1
            row = rows.get(identity)
            if row is None:
                yield f"worker {replay.worker.id} was sent {identity}, of which no row knows"
            elif str(row["worker_id"]) != replay.worker.id:
                yield f"{identity} went to worker {replay.worker.id}, its row says {row['worker_id']}"
    yield from (f"{identity} was sent to {count} workers" for identity, count in places.items() if count > 1)


def what_was_sent_is_what_the_row_says(evidence: Evidence) -> Iterator[str]:
    rows = {str(row["id"]): row for row in evidence.tables["submissions"]}
    texts = {prompt["id"]: prompt["text"] for prompt in evidence.tables["prompts"]}
    for replay in _replays(evidence):
        for event in replay.worker.events:
            row = rows.get(event.get("id", ""))
            if event["event"] != "post" or row is None:
                continue
            sent = (event["text"], event["seed"], event["batch_size"])
            says = (texts.get(row["prompt_id"]), row["seed_value"], row["batch_size"])
            if sent != says:
                yield f"submission {row['id']} says {says}; sent was {sent}"


def nothing_of_strangers_is_touched(evidence: Evidence) -> Iterator[str]:
    for replay in _replays(evidence):
        for identity in evidence.foreign:
            if identity in replay.deleted:
                yield f"a stranger's {identity} was taken out of the queue of worker {replay.worker.id}"
            if "interrupted" in replay.outcomes.get(identity, set()):
                yield f"a stranger's {identity} was interrupted on worker {replay.worker.id}"


def an_end_is_what_the_worker_says(evidence: Evidence) -> Iterator[str]:
    """No success without the worker's own, no failure, no loss that it knows nothing of."""
    replays = {replay.worker.id: replay for replay in _replays(evidence)}
    for row in evidence.tables["submissions"]:
        identity, replay = str(row["id"]), replays[str(row["worker_id"])]
        outcomes = replay.outcomes.get(identity, set())
        if row["state"] in ("ingested", "generated") and "success" not in outcomes:
            yield f"submission {identity} is {row['state']}; its worker says {outcomes or 'nothing'}"
        kind = (row["error"] or {}).get("class")
        if row["state"] == "failed" and kind in OUTCOMES and OUTCOMES[kind] not in outcomes:
            yield f"submission {identity} failed with {kind}; its worker says {outcomes or 'nothing'}"
        if _is_forgotten(row) and not replay.may_have_forgotten(identity):
            yield f"submission {identity} counts as forgotten; worker {replay.worker.id} knew it all the time"
        if kind in NEVER_THERE and row["accepted_at"] is None and not replay.may_have_forgotten(identity):
            yield f"submission {identity} counts as not sent ({kind}); worker {replay.worker.id} had it all the time"
        if kind == "deadline" and row["state"] == "failed" and identity not in replay.began:
            yield f"submission {identity} counts as tried; worker {replay.worker.id} had not begun it"
        if kind == "deadline" and identity in replay.began:
            lasted = row["ended_at"] - datetime.fromtimestamp(replay.began[identity], UTC)
            if lasted.total_seconds() < evidence.deadline_seconds - _CLOCKS:
                yield f"submission {identity} met its deadline after {lasted.total_seconds():.1f} s"


def _is_forgotten(row: Row) -> bool:
    error = row["error"] or {}
    return error.get("class") == FORGOTTEN or HAS_FORGOTTEN in error.get("message", "")


def no_worker_holds_what_is_given_up(evidence: Evidence) -> Iterator[str]:
    """It would run for nobody."""
    for replay in _replays(evidence):
        running = replay.began.keys() if replay.is_stuck else set[str]()
        for identity in sorted(replay.held - evidence.foreign - running):
            yield f"worker {replay.worker.id} still holds {identity}"


def no_job_has_failed(evidence: Evidence) -> Iterator[str]:
    """Whatever is away is waited for: a handler that gives up leaves its work to the next sweep. Orders are put back
    by it, and what follows them is looked for by it too.
    """
    for job in evidence.tables["failed_jobs"]:
        if job["entrypoint"] in ("generate", "pilot"):
            yield f"job {job['dedupe_key']} has failed"


def nothing_is_left_open(evidence: Evidence) -> Iterator[str]:
    for row in evidence.tables["submissions"]:
        if row["state"] not in SUBMISSION_ENDS or row["ended_at"] is None:
            yield f"submission {row['id']} is still {row['state']}"
    for job in evidence.tables["jobs"]:
        yield f"job {job['dedupe_key']} is still {job['status']}"
    for lease in evidence.tables["leases"]:
        yield f"batch {lease['batch_id']} is still leased"
    for pilot in evidence.tables["pilots"]:
        if pilot["state"] == "running":
            yield f"pilot {pilot['id']} still runs"
    for row in evidence.tables["tasks"]:
        if row["state"] not in ("DRAFT", "FROZEN", "DONE", "FAILED"):
            yield f"task {row['id']} is still {row['state']}"
