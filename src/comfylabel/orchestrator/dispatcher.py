"""Places waiting submissions on workers: one loop that wakes when something may have changed.

A completion heard on a websocket, a new request, or 0.5 s: then every waiting request is paired with a free worker
and sent through the gate, side by side, so that a slow worker never holds back a fast one.
"""

import asyncio
import itertools
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import structlog

from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import ComfyLabelError
from comfylabel.orchestrator import queue_gate, workers_repository
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.pairing import Seat, pair
from comfylabel.orchestrator.queue_gate import Admission
from comfylabel.orchestrator.schemas import Plan
from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import is_selectable

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Request:
    """One planned submission that wants a slot."""

    plan: Plan
    attempt: int
    arrival: int
    only_worker: UUID | None = None
    admitted: "asyncio.Future[Admission]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_trying: bool = False

    @property
    def order(self) -> tuple[int, int]:
        return (-self.plan.priority, self.arrival)

    @property
    def workflow_id(self) -> UUID:
        return self.plan.workflow_id


class WorkerGone(ComfyLabelError):
    """The one worker that may take it was disabled or removed."""

    status = 422
    code = "worker_gone"


class Dispatcher:
    """`admission` waits for a slot; `wake` says that one may be free."""

    def __init__(self, database: Database, fleet: Fleet, *, poll_seconds: float) -> None:
        self._database = database
        self._fleet = fleet
        self._poll_seconds = poll_seconds
        self._waiting: set[Request] = set()
        self._trying: Counter[UUID] = Counter()
        self._full_until: dict[UUID, float] = {}
        self._arrivals = itertools.count()
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()

    async def admission(self, plan: Plan, *, attempt: int, only_worker: UUID | None = None) -> Admission:
        """Wait until a worker has taken the reservation. Cancelling the wait takes the request back."""
        request = Request(plan, attempt, next(self._arrivals), only_worker)
        self._waiting.add(request)
        self._wake.set()
        try:
            return await request.admitted
        finally:
            self._waiting.discard(request)

    def wake(self, worker_id: UUID | None = None) -> None:
        """A completion was heard: that worker is not full any more."""
        if worker_id is not None:
            self._full_until.pop(worker_id, None)
        self._wake.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):  # wait_for forgets a cancel that meets the wake
                    await self._wake.wait()
            self._wake.clear()
            idle = [request for request in self._waiting if not request.is_trying]
            if idle:
                try:
                    await self._place(idle)
                except AWAY as error:
                    log.warning("dispatch_paused", reason=f"the database does not answer: {error}")
                except Exception:  # without this loop nothing is ever sent again
                    log.exception("dispatch_failed")

    async def _place(self, idle: list[Request]) -> None:
        async with self._database.connection() as connection:
            loads = await workers_repository.loads(connection)
            refusals = await workers_repository.refusals(connection)
        _refuse_vain(idle, {load.worker.id for load in loads})
        now, moment = datetime.now(UTC), time.monotonic()
        seats = [
            Seat(
                load.worker,
                load.worker.max_concurrent_jobs - load.held - self._trying[load.worker.id],
                refusals.get(load.worker.id, frozenset()),
            )
            for load in loads
            if is_selectable(load.worker, now) and self._full_until.get(load.worker.id, 0) <= moment
        ]
        for request, worker in pair(idle, seats):
            request.is_trying = True
            self._trying[worker.id] += 1
            task = asyncio.create_task(self._try(request, worker))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _try(self, request: Request, worker: Worker) -> None:
        try:
            admission = await queue_gate.admit(
                self._database, self._fleet.client(worker), worker, request.plan, attempt=request.attempt
            )
        except ComfyLabelError as error:
            log.info("worker_did_not_answer", worker=worker.name, reason=error.message)
            await self._fleet.check(worker)
            admission = None
        except AWAY:
            admission = None
        except Exception as error:  # noqa: BLE001 - it would fail on every worker, for ever: whoever waits shall know
            if not request.admitted.done():
                request.admitted.set_exception(error)
            return
        finally:
            self._trying[worker.id] -= 1
            request.is_trying = False
        if admission is None:
            self._full_until[worker.id] = time.monotonic() + self._poll_seconds
        elif request.admitted.done():  # nobody waits for it any more
            await queue_gate.withdraw(self._database, admission.submission.id)
        else:
            request.admitted.set_result(admission)
        self._wake.set()


def _refuse_vain(idle: list[Request], enabled: set[UUID]) -> None:
    for request in idle:
        if request.only_worker not in {None, *enabled} and not request.admitted.done():
            request.admitted.set_exception(WorkerGone("The worker that it runs on was disabled or removed meanwhile."))
