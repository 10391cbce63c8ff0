"""Which waiting submission goes to which worker now. Pure.

The rule: enabled and HEALTHY workers that can run it and have a free slot, by priority, then by current_queue_len,
then by name; the first one wins. Nothing else decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from uuid import UUID

from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import ranked


class Waiting(Protocol):
    """Something that wants a slot; lower `order` first (negative priority, then arrival)."""

    @property
    def order(self) -> tuple[int, int]: ...
    @property
    def workflow_id(self) -> UUID: ...
    @property
    def only_worker(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """A selectable worker with `free` slots; `refuses` are workflows that it has said it cannot run."""

    worker: Worker
    free: int
    refuses: frozenset[UUID] = field(default_factory=frozenset)


W = TypeVar("W", bound=Waiting)


def pair(waiting: Iterable[W], seats: Sequence[Seat]) -> list[tuple[W, Worker]]:
    """Never more than a seat's free slots, never a worker that refuses the workflow; first come, first placed."""
    left: dict[UUID, Seat] = {seat.worker.id: seat for seat in seats if seat.free > 0}
    pairs: list[tuple[W, Worker]] = []
    for request in sorted(waiting, key=lambda request: request.order):
        if not left:
            break
        worker = _first(request, left)
        if worker is None:
            continue
        pairs.append((request, worker))
        _occupy(left, worker)
    return pairs


def _first(request: Waiting, left: Mapping[UUID, Seat]) -> Worker | None:
    able = [
        seat.worker
        for seat in left.values()
        if request.workflow_id not in seat.refuses and request.only_worker in (None, seat.worker.id)
    ]
    return ranked(able)[0] if able else None


def _occupy(left: dict[UUID, Seat], worker: Worker) -> None:
    seat = left[worker.id]
    if seat.free == 1:
        del left[worker.id]
        return
    busier = replace(seat.worker, current_queue_len=seat.worker.current_queue_len + 1)
    left[worker.id] = replace(seat, worker=busier, free=seat.free - 1)
