"""Who gets which worker: pilots, priority, fair share, arrival; a worker by priority, queue and name, within its free
slots, never one that cannot run it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.pairing import Seat, pair
from comfylabel.workers.schemas import Worker

WORKFLOWS = [uuid4() for _ in range(3)]
TASKS = [uuid4() for _ in range(4)]
WORKERS = [uuid4() for _ in range(5)]


@dataclass(frozen=True)
class Wanted:
    arrival: int
    priority: int = 0
    task_id: UUID = TASKS[0]
    workflow_id: UUID = WORKFLOWS[0]
    is_pilot: bool = False
    only_worker: UUID | None = None
    avoid: frozenset[UUID] = field(default_factory=frozenset)


def worker(name: str, *, priority: int = 0, queue: int = 0, worker_id: UUID | None = None) -> Worker:
    now = datetime.now(UTC)
    return Worker(
        id=worker_id or uuid4(), name=name, base_url=f"http://{name}", api_key=None, enabled=True, status="HEALTHY",
        priority=priority,
        max_concurrent_jobs=9, current_queue_len=queue, failed_checks=0, reason=None, comfyui_version=None,
        last_checked_at=now, removed_at=None, tags=(), created_at=now,
    )  # fmt: skip


seats = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=3),
        st.integers(-2, 2),
        st.integers(0, 3),
        st.integers(-1, 3),
        st.sets(st.sampled_from(WORKFLOWS), max_size=2),
    ),
    max_size=len(WORKERS),
).map(
    lambda rows: [
        Seat(worker(name, priority=priority, queue=queue, worker_id=WORKERS[number]), free, frozenset(refuses))
        for number, (name, priority, queue, free, refuses) in enumerate(rows)
    ]
)
# A task has one priority and one workflow.
priorities = st.lists(st.integers(-2, 2), min_size=len(TASKS), max_size=len(TASKS))
plain = st.lists(st.tuples(st.sampled_from(range(len(TASKS))), st.booleans()), max_size=14)
held_now = st.dictionaries(st.sampled_from(TASKS), st.integers(0, 4))


@st.composite
def crowds(draw, *, picky: bool = False):
    rank = draw(priorities)
    only = st.one_of(st.none(), st.none(), st.sampled_from(WORKERS)) if picky else st.none()
    avoid = st.frozensets(st.sampled_from(WORKERS), max_size=3) if picky else st.just(frozenset())
    return [
        Wanted(arrival, rank[task], TASKS[task], WORKFLOWS[task % len(WORKFLOWS)], is_pilot, draw(only), draw(avoid))
        for arrival, (task, is_pilot) in enumerate(draw(plain))
    ]


def may_run(seat: Seat, request: Wanted) -> bool:
    return request.workflow_id not in seat.refuses and request.only_worker in (None, seat.worker.id)


@given(crowds(picky=True), seats, held_now)
def test_no_worker_gets_more_than_its_free_slots_nor_what_it_cannot_run(waiting, seats, held):
    by_id = {seat.worker.id: seat for seat in seats}
    pairs = pair(waiting, seats, held)
    given_out = Counter(chosen.id for _, chosen in pairs)
    assert all(count <= by_id[worker_id].free for worker_id, count in given_out.items())
    assert all(may_run(by_id[chosen.id], request) for request, chosen in pairs)
    assert len({request.arrival for request, _ in pairs}) == len(pairs)


@given(crowds(picky=True), seats, held_now)
def test_nobody_waits_while_a_worker_could_take_it(waiting, seats, held):
    pairs = pair(waiting, seats, held)
    given_out = Counter(chosen.id for _, chosen in pairs)
    placed = {request.arrival for request, _ in pairs}
    for request in waiting:
        if request.arrival not in placed:
            able = [seat for seat in seats if may_run(seat, request)]
            elsewhere = [seat for seat in able if seat.worker.id not in request.avoid]
            assert all(seat.free <= given_out[seat.worker.id] for seat in elsewhere or able)


@given(crowds(picky=True), seats, held_now)
def test_where_it_ran_out_of_memory_it_goes_only_when_there_is_no_elsewhere(waiting, seats, held):
    for request, chosen in pair(waiting, seats, held):
        if chosen.id in request.avoid:
            assert all(seat.worker.id in request.avoid for seat in seats if may_run(seat, request))


@given(crowds(), seats, held_now)
def test_a_lower_rank_never_takes_a_place_that_a_higher_one_could_have(waiting, seats, held):
    pairs = pair(waiting, seats, held)
    placed = {request.arrival for request, _ in pairs}
    by_id = {seat.worker.id: seat for seat in seats}
    for loser in waiting:
        if loser.arrival in placed:
            continue
        for winner, chosen in pairs:
            if may_run(by_id[chosen.id], loser):
                assert (not winner.is_pilot, -winner.priority) <= (not loser.is_pilot, -loser.priority)


@given(crowds(), seats, held_now)
def test_a_later_request_never_takes_the_place_of_an_earlier_one_of_its_task(waiting, seats, held):
    placed = {request.arrival for request, _ in pair(waiting, seats, held)}
    for task in TASKS:
        for is_pilot in (True, False):
            own = [
                request.arrival in placed
                for request in waiting
                if (request.task_id, request.is_pilot) == (task, is_pilot)
            ]
            assert own == sorted(own, reverse=True)


@given(st.lists(st.sampled_from(TASKS), max_size=20), st.integers(0, 12), held_now)
def test_inside_a_priority_slots_are_shared_so_that_no_task_falls_behind(tasks, free, held):
    """Whoever still waits holds at most one slot less than anyone who was given one."""
    waiting = [Wanted(arrival, 0, task) for arrival, task in enumerate(tasks)]
    pairs = pair(waiting, [Seat(worker("one"), free)], held)
    after = Counter(held)
    after.update(request.task_id for request, _ in pairs)
    placed = {request.arrival for request, _ in pairs}
    for hungry in {request.task_id for request in waiting if request.arrival not in placed}:
        for request, _ in pairs:
            assert after[request.task_id] <= after[hungry] + 1


@given(crowds(), seats, held_now)
def test_the_order_in_which_they_are_named_changes_nothing(waiting, seats, held):
    assert pair(waiting, seats, held) == pair(waiting[::-1], seats, held)


def test_priority_then_queue_length_then_name_decide():
    low, busy, second, first = (
        worker("a-low", priority=1),
        worker("b-busy", priority=2, queue=2),
        worker("d-second", priority=2, queue=1),
        worker("c-first", priority=2, queue=1),
    )
    wanted = [Wanted(arrival) for arrival in range(4)]
    chosen = [winner.name for _, winner in pair(wanted, [Seat(one, 1) for one in (low, busy, second, first)])]
    assert chosen == ["c-first", "d-second", "b-busy", "a-low"]


def test_equal_workers_take_turns():
    left, right = worker("left"), worker("right")
    wanted = [Wanted(arrival) for arrival in range(4)]
    chosen = [winner.name for _, winner in pair(wanted, [Seat(left, 2), Seat(right, 2)])]
    assert chosen == ["left", "right", "left", "right"]


def test_a_pilot_stays_on_its_worker():
    left, right = worker("left", priority=5), worker("right")
    request = Wanted(0, is_pilot=True, only_worker=right.id)
    assert [winner.name for _, winner in pair([request], [Seat(left, 1), Seat(right, 1)])] == ["right"]
    assert pair([request], [Seat(right, 0), Seat(left, 3)]) == []


def test_a_thousand_that_wait_do_not_keep_out_the_one_that_matters():
    crowd = [Wanted(arrival, priority=0, task_id=TASKS[0]) for arrival in range(1000)]
    urgent = Wanted(1000, priority=1, task_id=TASKS[1])
    assert [request for request, _ in pair([*crowd, urgent], [Seat(worker("one"), 1)])] == [urgent]
