"""How long a worker stood still between two jobs while work was waiting for it. Pure.

By the worker's own clock, from the end of one of our submissions to the start of the next. A worker numbers what it is
sent, so two numbers in a row prove that nobody else's job lay between them. What cannot be known is left out: a clock
that was set, a restart, a submission that nobody was waiting to send when the one before it ended.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

# A few are held, because their ends may be noted in another order than they ran.
_MOST_HELD = 8
# How much later than it happened an end may be noted: two looks at /history lie at most 2 s apart.
_NOTED_LATE = 3.0


@dataclass(frozen=True, slots=True)
class Run:
    """`began_at`, `ended_at`: by the worker's clock; `waiting_since`, `noted_at`: by ours, which is never set."""

    number: float
    began_at: float
    ended_at: float
    waiting_since: float | None
    noted_at: float


class Gaps:
    """The last runs of each worker."""

    def __init__(self) -> None:
        self._runs: defaultdict[Hashable, dict[float, Run]] = defaultdict(dict)

    def ended(self, worker: Hashable, run: Run) -> list[float]:
        """The gaps in seconds that this run makes known: the one before it, the one after it, both or none."""
        runs = self._runs[worker]
        pairs = ((runs.get(run.number - 1), run), (run, runs.get(run.number + 1)))
        runs[run.number] = run
        while len(runs) > _MOST_HELD:
            del runs[next(iter(runs))]
        return [gap for before, after in pairs if (gap := between(before, after)) is not None]

    def forget(self, workers: Iterable[Hashable]) -> None:
        """They may not work now: what passes until they may again is no gap."""
        for worker in workers:
            self._runs.pop(worker, None)


def between(before: Run | None, after: Run | None) -> float | None:
    if before is None or after is None or after.waiting_since is None or after.waiting_since > before.noted_at:
        return None
    gap = after.began_at - before.ended_at
    longest = after.noted_at - before.noted_at + _NOTED_LATE
    return gap if 0 <= gap <= longest else None
