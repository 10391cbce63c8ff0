"""Rule: which free slots this process leaves to another one, where submissions of a higher priority wait. Pure.

A process sees the end of its own submissions before anybody else does: without this rule a pilot, or a task of a higher
priority, whose job another process has would wait until all that waits here is done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from comfylabel.orchestrator.pairing import Seat, Waiting, pair
from comfylabel.workers.schemas import Worker

# The other one looks twice a second. It may be unable to use the slot for a reason that is not seen from here.
LONGEST = 1.0
# After a slot that was left in vain: whatever keeps the other one from it (images that it has to fetch first, a worker
# that a submission avoids) is seldom over sooner, and every second of it a GPU would stand still. A pilot is left
# every slot all the same: it wants one at a time, and a person waits for it.
IN_VAIN = 10.0
# Without a question for so long what was left then is forgotten.
_STALE = 30.0

W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One that waits in another process. Of two that are equal the one here goes first, in both processes: so they
    never leave the same slot to each other.
    """

    task_id: UUID
    workflow_id: UUID
    task_priority: int
    is_pilot: bool = False
    only_worker: UUID | None = None
    avoid: frozenset[UUID] = frozenset()
    arrival: int = 0

    @property
    def priority(self) -> float:
        return float("-inf") if self.is_pilot else self.task_priority - 0.5


class Yielding:
    """`pairs` of those here, without the slots that are left to others; each of those for `LONGEST` at most."""

    def __init__(self) -> None:
        self._left_since: dict[UUID, float] = {}
        self._asked_at = self._in_vain_until = float("-inf")

    def pairs(
        self,
        waiting: Sequence[W],
        elsewhere: Sequence[Elsewhere],
        seats: Sequence[Seat],
        held: Mapping[UUID, int],
        now: float,
    ) -> list[tuple[W, Worker]]:
        if now - self._asked_at > _STALE:
            self._left_since.clear()
        self._asked_at = now
        is_in_vain = now < self._in_vain_until
        both: list[W | Elsewhere] = [*waiting, *(one for one in elsewhere if one.is_pilot or not is_in_vain)]
        ours: list[tuple[W, Worker]] = []
        left = set()
        for request, worker in pair(both, seats, held):
            if isinstance(request, Elsewhere):
                left.add(worker.id)
            else:
                ours.append((request, worker))
        self._left_since = {worker: self._left_since.get(worker, now) for worker in left}
        if any(now - since >= LONGEST for since in self._left_since.values()):
            self._left_since.clear()
            self._in_vain_until = now + IN_VAIN
            return pair(waiting, seats, held)
        return ours
