"""Rule: when a running task will be done, seen together with the tasks that are made before it. Pure.

Before it comes who has a higher priority, images that wait, and a worker that could as well make those of the task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from comfylabel.generations.progress import Counts
from comfylabel.tasks.eta import Ahead, Evidence, Minute, Range, behind, images_per_second, remaining


@dataclass(frozen=True, slots=True)
class Run:
    """A task that runs. `able`: the workers that can make its images now, none while it is paused."""

    priority: int
    counts: Counts
    able: frozenset[UUID]
    minutes: Sequence[Minute] = ()
    forecast: Range | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """None: nothing is known, or nothing is being made. `eta_note`: what of others is in `eta`, in a sentence."""

    images_per_second: float | None
    eta: Range | None
    eta_note: str | None = None

    def to_json(self) -> dict[str, Any]:
        pace = self.images_per_second
        return {
            "images_per_second": None if pace is None else float(f"{pace:.3g}"),
            "eta_seconds": self.eta,
            "eta_note": self.eta_note,
        }


NOTHING = Speed(None, None)


def speed(run: Run, others: Sequence[Run]) -> Speed:
    """`others`: runs that may come before it."""
    pace = images_per_second(run.minutes)
    if not run.able:
        return Speed(pace, None)
    before = _before(run, others)
    ahead = [Ahead(_alone(other, _before(other, others)), other.able >= run.able) for other in before]
    eta = behind(_alone(run, before), ahead)
    return Speed(pace, eta, _in_words(len(before), eta))


def _before(run: Run, others: Sequence[Run]) -> list[Run]:
    if not run.counts.pending:
        return []
    return [
        other
        for other in others
        if other.priority > run.priority and other.counts.pending and not other.able.isdisjoint(run.able)
    ]


def _alone(run: Run, before: Sequence[Run]) -> Range | None:
    """How long it would take if all those before it were done."""
    return remaining(
        Evidence(
            left=run.counts.pending + run.counts.running,
            running=run.counts.running,
            total=run.counts.total,
            minutes=run.minutes,
            forecast=run.forecast,
            is_held_back=bool(before),
        )
    )


def _in_words(before: int, eta: Range | None) -> str | None:
    if before == 0:
        return None
    who = "A task of higher priority is" if before == 1 else f"{before} tasks of higher priority are"
    return f"{who} made first: " + (
        "the time that this may take is counted in." if eta else "nobody knows yet how long all of it takes."
    )
