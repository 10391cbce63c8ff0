"""Places waiting submissions on workers: one loop that wakes when something may have changed.

A completion heard on a websocket, a new request, or 0.5 s: then every waiting request is paired with a free worker,
all pairs are reserved in one transaction, and sent through the gate side by side, so that a slow worker never holds
back a fast one.
"""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import ComfyLabelError
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import queue_gate, steps_repository
from comfylabel.orchestrator.clock import clock
from comfylabel.orchestrator.fault_points import reached
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.picture import Picture, Refused, TaskNow, nothing_refused
from comfylabel.orchestrator.queue_gate import Admission
from comfylabel.orchestrator.schemas import Plan, Submission, Superseded
from comfylabel.orchestrator.steps_repository import Taken, Wanted
from comfylabel.orchestrator.workers_repository import Slot
from comfylabel.orchestrator.yielding import Yielding
from comfylabel.workers.schemas import Worker

log = structlog.get_logger()

# Whoever is told to stop has some seconds for everything.
_STOP_SECONDS = 1.0
# What is heard of another process's submission is written down by that process some 10 ms later.
_NOTED_AFTER = 0.1


@dataclass(eq=False, slots=True)
class Request:
    """One planned submission that wants a slot. `priority` is that of its task now."""

    plan: Plan
    attempt: int
    arrival: int
    priority: int
    only_worker: UUID | None = None
    avoid: frozenset[UUID] = frozenset()
    admitted: "asyncio.Future[Admission]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_trying: bool = False

    @property
    def task_id(self) -> UUID:
        return self.plan.task_id

    @property
    def is_pilot(self) -> bool:
        return self.plan.pilot_id is not None

    @property
    def workflow_id(self) -> UUID:
        return self.plan.workflow_id

    def refuse(self, error: Exception) -> None:
        if not self.admitted.done():
            self.admitted.set_exception(error)


class WorkerGone(ComfyLabelError):
    """The one worker that may take it was disabled or removed."""

    status = 422
    code = "worker_gone"


class Dispatcher:
    """`admission` waits for a slot; `gave_back` and `wake` say that one may be free.

    `is_behind`: the images that were made wait to be fetched; nothing but pilots is sent before that is done.
    `process_id`: under which this process picks jobs.
    """

    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        *,
        poll_seconds: float,
        refused: Refused = nothing_refused,
        is_behind: Callable[[], bool] = lambda: False,
        process_id: UUID | None = None,
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._poll_seconds = poll_seconds
        self._is_behind = is_behind
        self._picture = Picture(database, refused, max_age=poll_seconds, process_id=process_id)
        self._yielding = Yielding()
        self._waiting: dict[Request, None] = {}  # in the order of arrival
        self._full_until: dict[UUID, float] = {}
        self._arrivals = itertools.count()
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        # Reservations that may stand in the rows and that nobody will send: the answer of the database got lost.
        self._unused: set[UUID] = set()

    async def admission(
        self, plan: Plan, *, attempt: int, only_worker: UUID | None = None, avoid: frozenset[UUID] = frozenset()
    ) -> Admission:
        """Wait until a worker has taken the reservation. Cancelling the wait takes the request back. Superseded: the
        task was paused or ended while it waited.
        """
        request = Request(plan, attempt, next(self._arrivals), plan.priority, only_worker, avoid)
        self._waiting[request] = None
        self._wake.set()
        try:
            return await request.admitted
        finally:
            del self._waiting[request]

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def wake(self, worker_id: UUID | None = None) -> None:
        """Something has changed, on that worker or anywhere."""
        if worker_id is None:
            self._picture.doubt()
        elif self._full_until.pop(worker_id, None) is None and not self._picture.others_hold(worker_id):
            return  # what this process has there, it follows itself
        else:
            self._picture.doubt()
            if self._waiting:
                asyncio.get_running_loop().call_later(_NOTED_AFTER, self.wake)
        self._wake.set()

    def gave_back(self, submission: Submission) -> None:
        """It holds its slot no longer: its row says so."""
        self._picture.gave_back(submission.id)
        self._full_until.pop(submission.worker_id, None)
        self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):  # wait_for forgets a cancel that meets the wake
                        await self._wake.wait()
                self._wake.clear()
                await self._place_patiently()
        finally:
            await self._give_all_back()

    async def _place_patiently(self) -> None:
        try:
            await self._drop_unused()
            await self._place()
        except AWAY as error:
            log.warning("dispatch_paused", reason=f"the database does not answer: {error}")
            await asyncio.sleep(self._poll_seconds)
        except Exception:  # without this loop nothing is ever sent again
            log.exception("dispatch_failed")
            await asyncio.sleep(self._poll_seconds)

    async def _give_all_back(self) -> None:
        """Slots that are reserved and not used: another process may use them at once, if the database answers."""
        attempts = list(self._attempts)
        for attempt in attempts:
            attempt.cancel()
        with suppress(TimeoutError, *AWAY):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*attempts, return_exceptions=True)
                await self._drop_unused()

    async def _drop_unused(self) -> None:
        if unused := sorted(self._unused):
            async with self._database.connection() as connection:
                await steps_repository.drop_reservations(connection, unused)
            self._unused.difference_update(unused)
            self._picture.doubt()

    def _patience(self) -> float:
        """Until somebody should look again although nothing was heard."""
        if not self._waiting:
            return self._poll_seconds
        return min(self._poll_seconds, self._picture.seconds_to_refresh(self._workflows()) or self._poll_seconds)

    def _workflows(self) -> set[UUID]:
        elsewhere = {one.workflow_id for one in self._picture.elsewhere}
        return elsewhere | {request.workflow_id for request in self._waiting}

    async def _place(self) -> None:
        if not any(not request.is_trying for request in self._waiting):
            return
        await self._look_again()
        is_behind = self._is_behind()
        idle = [
            request
            for request in self._waiting
            if not (request.is_trying or request.admitted.done())
            and (request.is_pilot or not is_behind)
            and self._picture.knows(request.workflow_id)
        ]
        moment = clock()
        seats = self._picture.seats(lambda worker_id: self._full_until.get(worker_id, 0) > moment)
        elsewhere = [one for one in self._picture.elsewhere if self._picture.knows(one.workflow_id)]
        if pairs := self._yielding.pairs(idle, elsewhere, seats, self._picture.held, moment):
            await self._reserve(pairs)

    async def _look_again(self) -> None:
        """Read what is out of date, and tell it to those who wait."""
        workflows = self._workflows()
        if self._picture.seconds_to_refresh(workflows) > 0:
            return
        tasks = {request.task_id for request in self._waiting if not request.is_pilot}
        now = await self._picture.refresh(workflows, tasks)
        for request in self._waiting:
            if request.only_worker not in {None, *self._picture.enabled}:
                request.refuse(WorkerGone("The worker that it runs on was disabled or removed meanwhile."))
            if not request.is_pilot and request.task_id in tasks:  # others have come while it was read
                _follow_task(request, now.get(request.task_id))

    async def _reserve(self, pairs: Sequence[tuple[Request, Worker]]) -> None:
        wanted = [Wanted(uuid.uuid4(), worker.id, request.plan, request.attempt) for request, worker in pairs]
        try:
            async with self._database.transaction() as connection:
                taken = await steps_repository.reserve(connection, wanted)
        except BaseException:
            self._unused.update(one.submission_id for one in wanted)  # it may have been committed
            raise
        for (request, worker), one in zip(pairs, wanted, strict=True):
            if one.submission_id not in taken:
                self._is_full(worker.id)
                self._picture.doubt()
                continue
            self._picture.took(one.submission_id, Slot(worker.id, request.task_id))
            request.is_trying = True
            task = asyncio.create_task(self._try(request, worker, one, taken[one.submission_id]))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _try(self, request: Request, worker: Worker, wanted: Wanted, taken: Taken) -> None:
        """The slot is ours; whether it may be used says the worker's queue."""
        submission = Submission(wanted.submission_id, worker.id, SubmissionState.RESERVED, wanted.attempt)
        try:
            await reached("after_reserve")
            queue_length = await queue_gate.look(self._fleet.client(worker), taken)
        except ComfyLabelError as error:
            log.info("worker_did_not_answer", worker=worker.name, reason=error.message)
            self._is_full(worker.id)
            await self._take_back(request, submission)
            await self._fleet.check(worker)
        except BaseException as error:
            await self._take_back(request, submission)
            if not isinstance(error, Exception):
                raise
            request.refuse(error)  # it would fail on every worker, for ever: whoever waits shall know
        else:
            if queue_length is None:
                self._is_full(worker.id)
            if queue_length is None or request.admitted.done():  # nobody waits for it any more
                await self._take_back(request, submission)
            else:
                request.admitted.set_result(Admission(submission, queue_length))

    async def _take_back(self, request: Request, submission: Submission) -> None:
        try:
            await queue_gate.withdraw(self._database, submission.id)
        except BaseException as error:
            self._unused.add(submission.id)
            if not isinstance(error, AWAY):
                raise
        finally:
            self._picture.gave_back(submission.id)
            request.is_trying = False
            self._wake.set()

    def _is_full(self, worker_id: UUID) -> None:
        self._full_until[worker_id] = clock() + self._poll_seconds


def _follow_task(request: Request, task: TaskNow | None) -> None:
    if task is None or not task.is_wanted:
        request.refuse(Superseded())
    else:
        request.priority = task.priority
