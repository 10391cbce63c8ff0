"""What one process remembers so that it need not look again: where a person's next free batch may stand, and how
many batches of a task are open. Hints: losing one costs time, never a batch.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

# A place in one level of the index batches_free.
Place = tuple[datetime, UUID]
BEFORE_ALL: Place = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
AFTER_ALL: Place = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))

# Others may free a batch behind a mark without this process hearing of it.
MARK_SECONDS = 10
# What is expensive to learn is believed for longer, so that learning it takes at most so much of the time.
LOOKING_SHARE = 0.01
RETRY_SHARE = 0.05
COUNTING_SHARE = 0.02
# Below, a level is looked through in less time than any mark is worth.
CHEAP_SECONDS = 0.005
# Marks are 200 bytes each; beyond so many, whoever comes next looks from the start once.
MOST_MARKS = 20_000
# So few are counted anew for every answer: a thousand entries of an index cost 0.2 ms. Unless they stand behind the
# dead entries of a long task, which nobody could sweep up yet.
COUNTED_ALWAYS = 1000
COUNTED_QUICKLY = 0.025


@dataclass(frozen=True, slots=True)
class Mark:
    """Nothing before `place` is free for this person, as of a walk that took `cost` seconds."""

    place: Place
    walked_at: float
    cost: float


@dataclass(frozen=True, slots=True)
class Walk:
    """One look for free batches: where it started in each level (the highest first), and what it found there, in
    order; `short` when that was less than it looked for.
    """

    began: float
    took: float
    levels: Sequence[int]
    started: Sequence[Place]
    found: dict[int, list[Place]]
    short: bool


class Marks:
    """Low-water marks per task, person and level."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._tasks: dict[UUID, dict[tuple[UUID, int], Mark]] = {}
        self._forgotten: dict[UUID, float] = {}

    def starts(self, task_id: UUID, user_id: UUID, levels: Sequence[int]) -> list[Place]:
        """Where to look from, level by level."""
        marks, now = self._tasks.get(task_id, {}), self.clock()
        for level in levels:
            mark = marks.get((user_id, level))
            if mark and now >= mark.walked_at + max(MARK_SECONDS, mark.cost / LOOKING_SHARE):
                del marks[user_id, level]
        return [marks[user_id, level].place if (user_id, level) in marks else BEFORE_ALL for level in levels]

    def drop(self, task_id: UUID, user_id: UUID, levels: Sequence[int], *, whatever_it_costs: bool) -> bool:
        """After a look that found too little: whether looking from the start may find more.

        What was expensive to learn is learned again only after a while, or by somebody who has nothing at all.
        """
        marks, now = self._tasks.get(task_id, {}), self.clock()
        old = [
            (user_id, level)
            for level in levels
            if (mark := marks.get((user_id, level)))
            and (whatever_it_costs or now >= mark.walked_at + mark.cost / RETRY_SHARE)
        ]
        for key in old:
            del marks[key]
        return bool(old)

    def learn(self, task_id: UUID, user_id: UUID, walks: Iterable[Walk]) -> None:
        """Once what was found is committed."""
        if sum(map(len, self._tasks.values())) > MOST_MARKS:
            self._tasks.clear()
        for walk in walks:
            if walk.began > self._forgotten.get(task_id, 0):
                self._learn(self._tasks.setdefault(task_id, {}), user_id, walk)

    def _learn(self, marks: dict[tuple[UUID, int], Mark], user_id: UUID, walk: Walk) -> None:
        """Levels are walked in order and the last one with a find may hold more; those before it were seen whole."""
        last = min(walk.found, default=-1)
        for level, start in zip(walk.levels, walk.started, strict=True):
            key = (user_id, level)
            if (walk.short or level > last) and walk.took > CHEAP_SECONDS:
                place = AFTER_ALL
            elif walk.short:
                marks.pop(key, None)  # nothing is left: the next look is from the start, and cheap
                continue
            elif level in walk.found:
                place = walk.found[level][-1]
            else:
                continue
            before = marks.get(key) if start != BEFORE_ALL else None
            marks[key] = Mark(place, before.walked_at, before.cost) if before else Mark(place, walk.began, walk.took)

    def forget(self, task_id: UUID) -> None:
        """Something of this task is free again: anywhere."""
        self._tasks.pop(task_id, None)
        if len(self._forgotten) > MOST_MARKS:
            self._forgotten.clear()
            self._tasks.clear()
        self._forgotten[task_id] = self.clock()


@dataclass(slots=True)
class _Count:
    batches: int
    until: float


class OpenCounts:
    """Open batches per task: exact when they are few, else as of a moment ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._counts: dict[UUID, _Count] = {}

    def recent(self, task_id: UUID) -> int | None:
        """None: count."""
        count = self._counts.get(task_id)
        return count.batches if count and self.clock() < count.until else None

    def learn(self, task_id: UUID, batches: int, active: int, took: float, most: int) -> None:
        """`most`: how many one person may hold. A share must be exact before it is smaller than that."""
        if batches <= max(COUNTED_ALWAYS, 2 * most * active) and took < COUNTED_QUICKLY:
            self._counts.pop(task_id, None)
            return
        if len(self._counts) > COUNTED_ALWAYS:
            self._counts.clear()
        self._counts[task_id] = _Count(batches, self.clock() + took / COUNTING_SHARE)
