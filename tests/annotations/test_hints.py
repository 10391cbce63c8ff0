"""What a process remembers of a walk, told in times and places alone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from comfylabel.annotations.hints import (
    AFTER_ALL,
    BEFORE_ALL,
    COUNTED_ALWAYS,
    COUNTING_SHARE,
    LOOKING_SHARE,
    MARK_SECONDS,
    MOST_MARKS,
    RETRY_SHARE,
    Marks,
    OpenCounts,
    Place,
    Walk,
)

TASK, ANN, BEN = uuid4(), uuid4(), uuid4()
QUICK, SLOW = 0.001, 0.5


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def place(number: int) -> Place:
    return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=number), UUID(int=number)


class Remembering:
    def __init__(self) -> None:
        self.clock = Clock()
        self.marks = Marks(self.clock)

    def walk(self, found: dict[int, list[int]], *, levels=(0,), short=False, took=QUICK, who=ANN) -> None:
        starts = self.starts(levels, who)
        places = {level: [place(number) for number in numbers] for level, numbers in found.items()}
        self.marks.learn(TASK, who, [Walk(self.clock(), took, levels, starts, places, short)])

    def starts(self, levels=(0,), who=ANN) -> list[Place]:
        return self.marks.starts(TASK, who, levels)

    def drop(self, *, whatever_it_costs=False) -> bool:
        return self.marks.drop(TASK, ANN, (0,), whatever_it_costs=whatever_it_costs)


@pytest.fixture
def remembering() -> Remembering:
    return Remembering()


def test_the_next_walk_begins_where_the_last_one_ended(remembering):
    remembering.walk({0: [3, 4]})
    assert remembering.starts() == [place(4)]
    remembering.walk({0: [7]})
    assert remembering.starts() == [place(7)]


def test_what_one_person_found_says_nothing_about_another(remembering):
    remembering.walk({0: [3]})
    assert remembering.starts(who=BEN) == [BEFORE_ALL]
    assert remembering.marks.starts(uuid4(), ANN, [0]) == [BEFORE_ALL]


def test_a_mark_lives_for_seconds_however_often_it_moves(remembering):
    remembering.walk({0: [3]})
    remembering.clock.now += MARK_SECONDS - 1
    remembering.walk({0: [4]})
    assert remembering.starts() == [place(4)]
    remembering.clock.now += 1
    assert remembering.starts() == [BEFORE_ALL]


def test_a_mark_that_was_expensive_lives_longer(remembering):
    remembering.walk({0: [3]}, took=SLOW)
    remembering.clock.now += SLOW / LOOKING_SHARE - 1
    assert remembering.starts() == [place(3)]
    remembering.clock.now += 1
    assert remembering.starts() == [BEFORE_ALL]


def test_a_cheap_walk_that_found_too_little_leaves_no_mark(remembering):
    remembering.walk({0: [3]})
    remembering.walk({0: [4]}, short=True)
    assert remembering.starts() == [BEFORE_ALL]


def test_an_expensive_walk_to_the_end_is_not_repeated_at_once(remembering):
    remembering.walk({}, short=True, took=SLOW)
    assert remembering.starts() == [AFTER_ALL]
    assert not remembering.drop()
    remembering.clock.now += SLOW / RETRY_SHARE
    assert remembering.drop()
    assert remembering.starts() == [BEFORE_ALL]


def test_but_for_who_has_nothing(remembering):
    remembering.walk({}, short=True, took=SLOW)
    assert remembering.drop(whatever_it_costs=True)
    assert remembering.starts() == [BEFORE_ALL]


def test_a_walk_without_marks_need_not_be_repeated(remembering):
    assert not remembering.drop()
    assert not remembering.drop(whatever_it_costs=True)


def test_levels_before_the_last_find_were_seen_whole_and_later_ones_not_at_all(remembering):
    remembering.walk({1: [5, 6]}, levels=(2, 1, 0), took=SLOW)
    assert remembering.starts((2, 1, 0)) == [AFTER_ALL, place(6), BEFORE_ALL]


def test_a_cheap_level_without_a_find_is_looked_through_again(remembering):
    remembering.walk({0: [5]}, levels=(1, 0))
    assert remembering.starts((1, 0)) == [BEFORE_ALL, place(5)]


def test_whatever_comes_back_may_lie_anywhere(remembering):
    remembering.walk({0: [3]})
    remembering.walk({0: [3]}, who=BEN)
    remembering.clock.now += 1
    remembering.marks.forget(TASK)
    assert remembering.starts() == remembering.starts(who=BEN) == [BEFORE_ALL]


def test_a_walk_from_before_something_came_back_says_nothing(remembering):
    began = remembering.clock()
    remembering.clock.now += 1
    remembering.marks.forget(TASK)
    remembering.marks.learn(TASK, ANN, [Walk(began, QUICK, (0,), [BEFORE_ALL], {0: [place(3)]}, short=False)])
    assert remembering.starts() == [BEFORE_ALL]


def test_memory_is_bounded(remembering):
    for number in range(MOST_MARKS + 2):
        remembering.walk({0: [3]}, who=UUID(int=number))
    assert sum(len(marks) for marks in remembering.marks._tasks.values()) <= MOST_MARKS
    for _ in range(MOST_MARKS + 2):
        remembering.marks.forget(uuid4())
    assert len(remembering.marks._forgotten) <= MOST_MARKS + 1


# --- counts


def test_few_are_counted_every_time():
    counts = OpenCounts(Clock())
    counts.learn(TASK, COUNTED_ALWAYS, 1, QUICK, 20)
    assert counts.recent(TASK) is None


def test_many_are_counted_again_after_a_time_that_grows_with_the_cost():
    clock = Clock()
    counts = OpenCounts(clock)
    counts.learn(TASK, 50_000, 8, SLOW, 20)
    clock.now += SLOW / COUNTING_SHARE - 1
    assert counts.recent(TASK) == 50_000
    clock.now += 1
    assert counts.recent(TASK) is None


def test_a_count_is_exact_before_it_makes_a_share_smaller():
    counts = OpenCounts(Clock())
    counts.learn(TASK, 3000, 80, QUICK, 20)  # 3000 / 80 is more than 20, and will not be for long
    assert counts.recent(TASK) is None


def test_few_behind_many_dead_entries_are_counted_now_and_then():
    counts = OpenCounts(Clock())
    counts.learn(TASK, 10, 1, SLOW, 20)
    assert counts.recent(TASK) == 10


def test_counts_of_old_tasks_are_forgotten():
    counts = OpenCounts(Clock())
    for _ in range(COUNTED_ALWAYS + 5):
        counts.learn(uuid4(), 50_000, 1, SLOW, 20)
    assert len(counts._counts) <= COUNTED_ALWAYS + 1
