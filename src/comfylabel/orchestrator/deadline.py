"""When a submission has taken too long. Pure: the caller brings what the worker shows, and a clock that never jumps.

What counts is the time since the worker began it. Before that, the time in which its queue stood still: a long queue
of others' work is no fault, a queue that does not move is a worker whose only thread has died.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Deadline:
    """`since`: of the clock that all `now` are of."""

    seconds: float
    since: float
    is_running: bool = False
    ahead: tuple[str, ...] | None = None

    def begun(self, now: float) -> None:
        """The worker runs it."""
        if not self.is_running:
            self.is_running, self.since = True, now

    def waits_behind(self, ahead: tuple[str, ...], now: float) -> None:
        """`ahead`: what the worker will run before it, in order."""
        if ahead != self.ahead:
            self.ahead, self.since = ahead, now

    def has_passed(self, now: float) -> bool:
        return now - self.since >= self.seconds

    @property
    def words(self) -> str:
        if self.is_only_waiting:
            return f"The worker's queue did not move for {self.seconds:.0f} s."
        return f"Not done after {self.seconds:.0f} s."

    @property
    def is_only_waiting(self) -> bool:
        """It was seen behind others, and never to run."""
        return self.ahead is not None and not self.is_running
