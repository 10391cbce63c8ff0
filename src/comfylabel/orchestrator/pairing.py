"""Which waiting submission goes to which worker now. Pure.

The order of those that wait: pilots, then the higher priority of the task, then the task that holds the fewest slots,
then arrival. The worker: of those that can run it and have a free slot by priority, then by current_queue_len, then by
name. Nothing else decides.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import ranked


class Waiting(Protocol):
    """Something that wants a slot. `avoid`: workers on which it has run out of memory."""

    @property
    def task_id(self) -> UUID: ...
    @property
    def is_pilot(self) -> bool: ...
    @property
    def priority(self) -> float: ...
    @property
    def arrival(self) -> int: ...
    @property
    def workflow_id(self) -> UUID: ...
    @property
    def only_worker(self) -> UUID | None: ...
    @property
    def avoid(self) -> frozenset[UUID]: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """A selectable worker with `free` slots, maybe none; `refuses` are workflows that it cannot run."""

    worker: Worker
    free: int
    refuses: frozenset[UUID] = field(default_factory=frozenset)


W = TypeVar("W", bound=Waiting)


def pair(waiting: Iterable[W], seats: Sequence[Seat], held: Mapping[UUID, int] | None = None) -> list[tuple[W, Worker]]:
    """Never more than a seat's free slots, never a worker that cannot run it. `held`: slots of each task by now."""
    left: dict[UUID, Seat] = {seat.worker.id: seat for seat in seats if seat.free > 0}
    pairs: list[tuple[W, Worker]] = []
    turns = _Turns(waiting, held or {})
    while left and (request := turns.next()) is not None:
        worker = _first(request, left, seats)
        if worker is not None:
            pairs.append((request, worker))
            turns.placed(request)
            _occupy(left, worker)
    return pairs


class _Turns(Generic[W]):
    """Hands out those that wait in their order, which changes with every one that is placed."""

    def __init__(self, waiting: Iterable[W], held: Mapping[UUID, int]) -> None:
        self._lines: defaultdict[tuple[bool, float, UUID], deque[W]] = defaultdict(deque)
        for request in sorted(waiting, key=lambda request: request.arrival):
            self._lines[not request.is_pilot, -request.priority, request.task_id].append(request)
        self._held = Counter(held)
        self._heap = [self._entry(line) for line in self._lines]
        heapq.heapify(self._heap)

    def next(self) -> W | None:
        while self._heap:
            entry = heapq.heappop(self._heap)
            line = (entry[0], entry[1], entry[4])
            now = self._entry(line)
            if now != entry:  # its task was given a slot since, be it in another line
                heapq.heappush(self._heap, now)
                continue
            request = self._lines[line].popleft()
            if self._lines[line]:
                heapq.heappush(self._heap, self._entry(line))
            return request
        return None

    def placed(self, request: W) -> None:
        self._held[request.task_id] += 1

    def _entry(self, line: tuple[bool, float, UUID]) -> tuple[bool, float, int, int, UUID]:
        is_mass, priority, task_id = line
        return is_mass, priority, self._held[task_id], self._lines[line][0].arrival, task_id


def _first(request: Waiting, left: Mapping[UUID, Seat], seats: Sequence[Seat]) -> Worker | None:
    able = [seat.worker for seat in left.values() if _may_run(seat, request)]
    # Where it has run out of memory it goes only when there is nowhere else, be that busy now or not.
    if request.avoid and any(_may_run(seat, request) and seat.worker.id not in request.avoid for seat in seats):
        able = [worker for worker in able if worker.id not in request.avoid]
    return ranked(able)[0] if able else None


def _may_run(seat: Seat, request: Waiting) -> bool:
    return request.workflow_id not in seat.refuses and request.only_worker in (None, seat.worker.id)


def _occupy(left: dict[UUID, Seat], worker: Worker) -> None:
    seat = left[worker.id]
    if seat.free == 1:
        del left[worker.id]
        return
    busier = replace(seat.worker, current_queue_len=seat.worker.current_queue_len + 1)
    left[worker.id] = replace(seat, worker=busier, free=seat.free - 1)
