"""A slot is left to another process where something of a higher priority waits, and for a second at most."""

from collections.abc import Mapping
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.pairing import Seat, pair
from comfylabel.orchestrator.yielding import IN_VAIN, LONGEST, Elsewhere, Yielding
from tests.orchestrator.test_pairing import TASKS, WORKFLOWS, Wanted, held_now, seats, worker

NOBODY: Mapping[UUID, int] = {}


def elsewhere(priority: int = 0, *, is_pilot: bool = False) -> Elsewhere:
    return Elsewhere(TASKS[1], WORKFLOWS[0], priority, is_pilot=is_pilot)


def takes(ours: Wanted, other: Elsewhere) -> bool:
    """Whether the one slot is used here."""
    return bool(Yielding().pairs([ours], [other], [Seat(worker("gpu-1"), 1)], NOBODY, 0.0))


def test_only_what_is_higher_is_given_way_to():
    assert takes(Wanted(0, priority=1), elsewhere(0))
    assert takes(Wanted(0, priority=1), elsewhere(1))
    assert not takes(Wanted(0, priority=1), elsewhere(2))
    assert not takes(Wanted(0, priority=9), elsewhere(0, is_pilot=True))
    assert takes(Wanted(0, is_pilot=True), elsewhere(9, is_pilot=True))
    assert takes(Wanted(0, is_pilot=True), elsewhere(9))


def test_what_the_other_cannot_use_is_taken_here():
    refuses = Seat(worker("gpu-1"), 1, frozenset({WORKFLOWS[1]}))
    other = Elsewhere(TASKS[1], WORKFLOWS[1], 5)
    assert Yielding().pairs([Wanted(0)], [other], [refuses], NOBODY, 0.0)


def test_a_slot_that_is_not_taken_there_is_used_here_after_a_second():
    yielding, seat = Yielding(), Seat(worker("gpu-1", worker_id=uuid4()), 1)

    def is_used(now: float, other: Elsewhere) -> bool:
        return bool(yielding.pairs([Wanted(0)], [other], [seat], NOBODY, now))

    assert [is_used(now, elsewhere(1)) for now in (7.0, 7.5, 7.0 + LONGEST)] == [False, False, True]
    assert is_used(8.5, elsewhere(1))  # it would be left in vain again
    assert not is_used(9.0, elsewhere(is_pilot=True))
    assert is_used(9.5, elsewhere(1))
    assert not is_used(8.0 + IN_VAIN, elsewhere(1))


def test_what_was_left_long_ago_is_forgotten():
    """Nothing has waited here since: the pilot that comes now is a new one."""
    yielding, seat = Yielding(), Seat(worker("gpu-1", worker_id=uuid4()), 1)
    for now in (0.0, 600.0):
        assert not yielding.pairs([Wanted(0)], [elsewhere(is_pilot=True)], [seat], NOBODY, now)


wanted = st.lists(st.tuples(st.sampled_from(TASKS), st.integers(-2, 2), st.booleans()), max_size=8).map(
    lambda rows: [
        Wanted(arrival, priority=priority, task_id=task, is_pilot=is_pilot)
        for arrival, (task, priority, is_pilot) in enumerate(rows)
    ]
)


@given(wanted, wanted, seats, held_now)
def test_two_processes_never_leave_a_slot_to_each_other(here, there, seats, held):
    """Whatever waits where: what goes first of all is placed by the process that has it."""

    def shown(those: list[Wanted]) -> list[Elsewhere]:
        return [Elsewhere(one.task_id, one.workflow_id, one.priority, is_pilot=one.is_pilot) for one in those]

    used = Yielding().pairs(here, shown(there), seats, held, 0.0) + Yielding().pairs(
        there, shown(here), seats, held, 0.0
    )
    assert bool(used) == bool(pair([*here, *there], seats, held))


@given(wanted, wanted, seats, held_now)
def test_every_slot_that_is_used_here_could_be_used_without_the_others(here, there, seats, held):
    others = [Elsewhere(one.task_id, one.workflow_id, one.priority, is_pilot=one.is_pilot) for one in there]
    assert len(Yielding().pairs(here, others, seats, held, 0.0)) <= len(pair(here, seats, held))
