"""Who gets which worker: priority, queue, name, within the free slots; never one that refuses the workflow."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.pairing import Seat, pair
from comfylabel.workers.schemas import Worker

WORKFLOWS = [uuid4() for _ in range(3)]


@dataclass(frozen=True)
class Wanted:
    order: tuple[int, int]
    workflow_id: UUID
    only_worker: UUID | None = None


def worker(name: str, *, priority: int = 0, queue: int = 0) -> Worker:
    now = datetime.now(UTC)
    return Worker(
        id=uuid4(), name=name, base_url=f"http://{name}", api_key=None, enabled=True, status="HEALTHY",
        priority=priority,
        max_concurrent_jobs=9, current_queue_len=queue, failed_checks=0, reason=None, comfyui_version=None,
        last_checked_at=now, removed_at=None, tags=(), created_at=now,
    )  # fmt: skip


seats = st.lists(
    st.builds(
        lambda name, priority, queue, free, refuses: Seat(
            worker(name, priority=priority, queue=queue), free, frozenset(refuses)
        ),
        st.text("abc", min_size=1, max_size=3),
        st.integers(-2, 2),
        st.integers(0, 3),
        st.integers(-1, 3),
        st.sets(st.sampled_from(WORKFLOWS), max_size=2),
    ),
    max_size=5,
)
requests = st.lists(st.tuples(st.integers(-2, 2), st.sampled_from(WORKFLOWS)), max_size=12).map(
    lambda rows: [Wanted((-priority, arrival), workflow) for arrival, (priority, workflow) in enumerate(rows)]
)


@given(requests, seats)
def test_no_worker_gets_more_than_its_free_slots_nor_what_it_refuses(waiting, seats):
    by_id = {seat.worker.id: seat for seat in seats}
    pairs = pair(waiting, seats)
    given_out = Counter(chosen.id for _, chosen in pairs)
    assert all(count <= by_id[worker_id].free for worker_id, count in given_out.items())
    assert all(request.workflow_id not in by_id[chosen.id].refuses for request, chosen in pairs)
    assert len({request.order for request, _ in pairs}) == len(pairs)


@given(requests, seats)
def test_nobody_waits_while_a_worker_could_take_it(waiting, seats):
    pairs = pair(waiting, seats)
    given_out = Counter(chosen.id for _, chosen in pairs)
    placed = {request.order for request, _ in pairs}
    for request in waiting:
        if request.order not in placed:
            assert all(seat.free <= given_out[seat.worker.id] or request.workflow_id in seat.refuses for seat in seats)


@given(requests, seats)
def test_a_later_request_never_takes_the_place_of_an_earlier_one_of_its_workflow(waiting, seats):
    placed = {request.order for request, _ in pair(waiting, seats)}
    for workflow in WORKFLOWS:
        lucky = [
            request.order in placed
            for request in sorted(waiting, key=lambda r: r.order)
            if request.workflow_id == workflow
        ]
        assert lucky == sorted(lucky, reverse=True)


def test_priority_then_queue_length_then_name_decide():
    low, busy, second, first = (
        worker("a-low", priority=1),
        worker("b-busy", priority=2, queue=2),
        worker("d-second", priority=2, queue=1),
        worker("c-first", priority=2, queue=1),
    )
    wanted = [Wanted((0, arrival), WORKFLOWS[0]) for arrival in range(4)]
    chosen = [winner.name for _, winner in pair(wanted, [Seat(one, 1) for one in (low, busy, second, first)])]
    assert chosen == ["c-first", "d-second", "b-busy", "a-low"]


def test_equal_workers_take_turns():
    left, right = worker("left"), worker("right")
    wanted = [Wanted((0, arrival), WORKFLOWS[0]) for arrival in range(4)]
    chosen = [winner.name for _, winner in pair(wanted, [Seat(left, 2), Seat(right, 2)])]
    assert chosen == ["left", "right", "left", "right"]


def test_a_pilot_stays_on_its_worker():
    left, right = worker("left", priority=5), worker("right")
    request = Wanted((0, 0), WORKFLOWS[0], only_worker=right.id)
    assert [winner.name for _, winner in pair([request], [Seat(left, 1), Seat(right, 1)])] == ["right"]
    assert pair([request], [Seat(replace(right), 0), Seat(left, 3)]) == []
