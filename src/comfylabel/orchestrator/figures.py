"""What workers have done since it was last written down, added up by worker, task, workflow and size. Pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from uuid import UUID

from comfylabel.workers.gap_histogram import BOUNDS_MS, place

MINUTE = 60.0


@dataclass(slots=True)
class Done:
    submissions: int = 0
    images: int = 0
    failures: int = 0
    busy: float = 0.0
    gap_seconds: float = 0.0
    gaps: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    def add(self, other: "Done") -> None:
        self.submissions += other.submissions
        self.images += other.images
        self.failures += other.failures
        self.busy += other.busy
        self.gap_seconds += other.gap_seconds
        self.gaps = [mine + theirs for mine, theirs in zip(self.gaps, other.gaps, strict=True)]


@dataclass(slots=True)
class Pace:
    images: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Figures:
    """`minutes`: by (worker, task, minutes ago); `paces`: by (worker, workflow, width, height), 0 where the size is
    not known; `failures`: by (worker, kind). `tasks` and `workers` are all that have changed.
    """

    minutes: defaultdict[tuple[UUID, UUID, int], Done] = field(default_factory=lambda: defaultdict(Done))
    totals: defaultdict[UUID, Done] = field(default_factory=lambda: defaultdict(Done))
    paces: defaultdict[tuple[UUID, UUID, int, int], Pace] = field(default_factory=lambda: defaultdict(Pace))
    failures: Counter[tuple[UUID, str]] = field(default_factory=Counter)
    tasks: set[UUID] = field(default_factory=set)
    workers: set[UUID] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.tasks or self.workers)

    def touch(self, worker: UUID, task: UUID) -> None:
        self.tasks.add(task)
        self.workers.add(worker)

    def ran(self, worker: UUID, task: UUID, *, images: int, seconds: float, counts: bool) -> None:
        """A submission ended now and took so long. `counts=False`: it made nothing of what the task plans."""
        self.touch(worker, task)
        self.totals[worker].add(Done(submissions=1, images=images, busy=seconds))
        if counts:
            self.minutes[worker, task, 0].add(Done(submissions=1, images=images))
        for ago, busy in enumerate(by_minute(seconds)):
            self.minutes[worker, task, ago].busy += busy

    def paced(self, worker: UUID, workflow: UUID, size: tuple[int, int], *, images: int, seconds: float) -> None:
        pace = self.paces[worker, workflow, *size]
        pace.images += images
        pace.seconds += seconds

    def stood_still(self, worker: UUID, gap: float) -> None:
        self.workers.add(worker)
        total = self.totals[worker]
        total.gap_seconds += gap
        total.gaps[place(gap)] += 1

    def failed(self, worker: UUID, task: UUID, kind: str) -> None:
        self.touch(worker, task)
        self.minutes[worker, task, 0].failures += 1
        self.failures[worker, kind] += 1

    def add(self, other: "Figures") -> None:
        """What could not be written is written with what follows."""
        for minute, done in other.minutes.items():
            self.minutes[minute].add(done)
        for worker, done in other.totals.items():
            self.totals[worker].add(done)
        for key, pace in other.paces.items():
            self.paces[key].images += pace.images
            self.paces[key].seconds += pace.seconds
        self.failures.update(other.failures)
        self.tasks |= other.tasks
        self.workers |= other.workers


def by_minute(seconds: float) -> list[float]:
    """The last minute first: a job of an hour was work in each of its minutes, not sixty minutes' work in one."""
    whole, rest = divmod(seconds, MINUTE)
    return [MINUTE] * int(whole) + ([rest] if rest else [])
