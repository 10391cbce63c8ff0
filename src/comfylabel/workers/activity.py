"""What workers have done lately: for people, for the API and for live pages."""

from typing import Any

from comfylabel.db.pool import Database
from comfylabel.workers import activity_repository
from comfylabel.workers.activity_repository import Activity
from comfylabel.workers.gap_histogram import BOUNDS_MS, quantile_ms

# As the task list and its estimate: long enough for slow images, short enough to be now.
MINUTES = 10


class WorkerActivity:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_all(self, minutes: int = MINUTES) -> list[Activity]:
        async with self._database.connection() as connection:
            return await activity_repository.of_all(connection, minutes)


def answer(of: Activity) -> dict[str, Any]:
    return {
        "worker_id": of.id,
        "name": of.name,
        "utilisation": short(of.utilisation),
        "images_per_second": short(of.images_per_second),
        "submissions": of.submissions,
        "images": of.images,
        "failures": of.failures,
        "gap": {
            "p50_ms": quantile_ms(of.gaps, 0.5),
            "p95_ms": quantile_ms(of.gaps, 0.95),
            "histogram": [
                {"le_ms": bound, "count": count} for bound, count in zip((*BOUNDS_MS, None), of.gaps, strict=True)
            ],
        },
    }


def event(of: Activity) -> dict[str, Any]:
    """As a live page gets it when something has changed."""
    return {
        "id": of.id,
        "name": of.name,
        "status": of.status,
        "enabled": of.enabled,
        "held": of.held,
        "current_queue_len": of.current_queue_len,
        "utilisation": short(of.utilisation),
        "images_per_second": short(of.images_per_second),
        "reason": of.reason,
        "removed": False,
    }


def short(number: float | None) -> float | None:
    """Three digits: more would only change without meaning."""
    return None if number is None else float(f"{number:.3g}")
