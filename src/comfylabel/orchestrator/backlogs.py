"""Rule: when people are told that strangers' jobs hold up a worker which our work waits for. Once a change. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from comfylabel.workers.schemas import Worker

# A queue may be long for a moment: two looks in a row make it a backlog.
_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Told:
    """`begins`: it holds work up from now on; else no longer."""

    worker: Worker
    begins: bool


class Backlogs:
    """What was said, of whom."""

    def __init__(self) -> None:
        self._looks: dict[UUID, int] = {}

    def look(self, workers: Iterable[Worker], held: Mapping[UUID, int], *, work_waits: bool) -> list[Told]:
        """What there is to say now. `held`: how many of the entries of each queue are ours."""
        told, looks = [], {}
        for worker in workers:
            before = self._looks.get(worker.id, 0)
            strangers = worker.current_queue_len - held.get(worker.id, 0)
            is_full = worker.status == "HEALTHY" and strangers >= worker.max_concurrent_jobs
            now = min(before + 1, _LOOKS) if is_full and (work_waits or before == _LOOKS) else 0
            if (now == _LOOKS) != (before == _LOOKS):
                told.append(Told(worker, begins=now == _LOOKS))
            looks[worker.id] = now
        self._looks = looks
        return told
