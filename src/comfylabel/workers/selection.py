"""Which worker gets the next submission. Pure: the caller brings the workers and the time."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from comfylabel.workers.schemas import Worker

# Three missed rounds of the 30 s health loop: whatever it said before says nothing about now.
CHECK_EXPIRES_AFTER = timedelta(seconds=90)


def ranked(workers: Iterable[Worker]) -> list[Worker]:
    """Priority (higher first), then the shorter queue, then the name; nothing else."""
    return sorted(workers, key=lambda worker: (-worker.priority, worker.current_queue_len, worker.name))


def is_selectable(worker: Worker, now: datetime) -> bool:
    return why_not(worker, now) is None


def check_is_fresh(worker: Worker, now: datetime) -> bool:
    return worker.last_checked_at is not None and now - worker.last_checked_at <= CHECK_EXPIRES_AFTER


def why_not(worker: Worker, now: datetime) -> str | None:
    """Why this worker gets nothing, continuing its name ("gpu-1 is disabled"); None when it may."""
    if worker.removed_at is not None:
        return "was removed"
    if not worker.enabled:
        return "is disabled"
    if worker.last_checked_at is None:
        return "has not been checked yet"
    if not check_is_fresh(worker, now):
        return f"has not been checked since {worker.last_checked_at:%H:%M} UTC"
    if worker.status != "HEALTHY":
        return f"is unhealthy: {(worker.reason or 'no reason known').rstrip('.')}"
    return None
