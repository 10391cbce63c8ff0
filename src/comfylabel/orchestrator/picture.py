"""The workers and who holds their slots, as this process believes: so that a free slot is seen without asking.

Read from the database at most twice a second and when somebody says that it is out of date; what this process itself
takes and gives back is known at once. It only proposes: the reservation counts the rows under a lock.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from comfylabel.db.pool import Connection, Database
from comfylabel.orchestrator import workers_repository
from comfylabel.orchestrator.clock import clock
from comfylabel.orchestrator.pairing import Seat
from comfylabel.orchestrator.workers_repository import Slot
from comfylabel.orchestrator.yielding import Elsewhere
from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import is_selectable

Refused = Callable[[Worker, Collection[UUID]], Awaitable[frozenset[UUID]]]

# Between two readings however often it is called out of date, so that a storm of events does not become one of reads.
_SHORTEST = 0.02


async def nothing_refused(_worker: Worker, _workflow_ids: Collection[UUID]) -> frozenset[UUID]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class TaskNow:
    """What may change while its submissions wait."""

    priority: int
    is_wanted: bool


class Picture:
    """`refresh` reads, `took` and `gave_back` tell it what happened since, `seats` says where is room."""

    def __init__(self, database: Database, refused: Refused, *, max_age: float, process_id: UUID | None = None) -> None:
        self.enabled: frozenset[UUID] = frozenset()
        # What waits in other processes, and goes before something that waits here.
        self.elsewhere: list[Elsewhere] = []
        self._process_id = process_id
        self._database = database
        self._refused = refused
        self._max_age = max_age
        self._read_at = float("-inf")
        self._is_doubted = False
        self._workers: list[Worker] = []
        self._refusals: dict[UUID, frozenset[UUID]] = {}
        self._workflows: frozenset[UUID] = frozenset()
        self._mine: dict[UUID, Slot] = {}
        self._given_back: set[UUID] = set()
        self._workers_of_others: frozenset[UUID] = frozenset()
        self._foreign: dict[UUID, int] = {}
        self._by_worker: Counter[UUID] = Counter()
        self._by_task: Counter[UUID] = Counter()

    def doubt(self) -> None:
        """Something has changed that this process does not see by itself."""
        self._is_doubted = True

    def knows(self, workflow_id: UUID) -> bool:
        """Who refuses it was asked: one that came after the last reading waits for the next."""
        return workflow_id in self._workflows

    def seconds_to_refresh(self, workflows: Collection[UUID]) -> float:
        """0: now. A workflow that nobody has asked about yet needs it at once."""
        age = clock() - self._read_at
        if age >= self._max_age or not self._workflows.issuperset(workflows):
            return 0.0
        return max(_SHORTEST - age, 0.0) if self._is_doubted else self._max_age - age

    async def refresh(self, workflows: Collection[UUID], tasks: Collection[UUID]) -> Mapping[UUID, TaskNow]:
        """Read everything anew; returns how those tasks stand now."""
        self._is_doubted = False
        self._given_back.clear()
        known_before = set(self._mine)
        async with self._database.connection() as connection:
            workers, now = await workers_repository.enabled_workers(connection)
            slots = await workers_repository.slots(connection)
            refusals = await workers_repository.refusals(connection)
            priorities = await workers_repository.tasks_now(connection, list(tasks)) if tasks else {}
            self.elsewhere = await self._read_elsewhere(connection, priorities)
        self.enabled = frozenset(worker.id for worker in workers)
        self._workers = [worker for worker in workers if is_selectable(worker, now)]
        self._workflows = frozenset(workflows)
        self._refusals = {
            worker.id: refusals.get(worker.id, frozenset()) | await self._refused(worker, workflows)
            for worker in self._workers
        }
        self._count(slots, known_before)
        self._read_at = clock()
        return {task_id: TaskNow(*task) for task_id, task in priorities.items()}

    async def _read_elsewhere(
        self, connection: Connection, priorities: Mapping[UUID, tuple[int, bool]]
    ) -> list[Elsewhere]:
        if self._process_id is None or not priorities:
            return []
        lowest = min(priority for priority, _ in priorities.values())
        return await workers_repository.waiting_elsewhere(connection, self._process_id, lowest)

    def _count(self, slots: Mapping[UUID, Slot], known_before: set[UUID]) -> None:
        """Of what this process took before the reading began, what is not there any more was ended by somebody else."""
        for submission_id in known_before - slots.keys():
            self._mine.pop(submission_id, None)
        others = [
            slot
            for submission_id, slot in slots.items()
            if submission_id not in self._mine and submission_id not in self._given_back
        ]
        held = [*others, *self._mine.values()]
        self._workers_of_others = frozenset(slot.worker_id for slot in others)
        self._by_worker = Counter(slot.worker_id for slot in held)
        self._by_task = Counter(slot.task_id for slot in held)
        self._foreign = {
            worker.id: max(worker.current_queue_len - self._by_worker[worker.id], 0) for worker in self._workers
        }

    def took(self, submission_id: UUID, slot: Slot) -> None:
        self._mine[submission_id] = slot
        self._by_worker[slot.worker_id] += 1
        self._by_task[slot.task_id] += 1

    def gave_back(self, submission_id: UUID) -> None:
        """Its row has ended, or holds no slot any more."""
        self._given_back.add(submission_id)
        slot = self._mine.pop(submission_id, None)
        if slot is not None:
            self._by_worker[slot.worker_id] -= 1
            self._by_task[slot.task_id] -= 1

    def others_hold(self, worker_id: UUID) -> bool:
        """Another process has submissions there, whose end is heard here without a name."""
        return worker_id in self._workers_of_others

    @property
    def held(self) -> Mapping[UUID, int]:
        """Slots that each task holds."""
        return self._by_task

    def seats(self, is_full: Callable[[UUID], bool]) -> list[Seat]:
        return [self._seat(worker, is_full) for worker in self._workers]

    def _seat(self, worker: Worker, is_full: Callable[[UUID], bool]) -> Seat:
        held = self._by_worker[worker.id]
        free = worker.max_concurrent_jobs - held
        if free <= 0 or is_full(worker.id):
            return Seat(worker, 0, self._refusals[worker.id])
        busy = self._foreign[worker.id] + held
        seen = worker if busy == worker.current_queue_len else replace(worker, current_queue_len=busy)
        return Seat(seen, free, self._refusals[worker.id])
