"""The life of one submission on its worker: reserved, sent, accepted, and the worker's own record of its end.

A 500, a time-out or a crash proves nothing: what is not known is looked up, in /queue and then in /history, before
the same id is ever sent again. Truth is /history; the websocket only shortens the wait for the next look.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog

from comfylabel.comfy.client import ComfyClient, Timeouts
from comfylabel.comfy.errors import SubmissionRefused, SubmissionUnclear, WorkerError, WorkerMisbehaved
from comfylabel.comfy.graph import Graph
from comfylabel.comfy.schemas import HistoryEntry, QueueSnapshot
from comfylabel.db.pool import Database
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import queue_gate, repository, workers_repository
from comfylabel.orchestrator.activity import Recorder
from comfylabel.orchestrator.cancelling import withdraw_from_worker
from comfylabel.orchestrator.clock import clock
from comfylabel.orchestrator.deadline import Deadline
from comfylabel.orchestrator.dispatcher import Dispatcher
from comfylabel.orchestrator.fault_points import reached
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.listening import WorkerListener
from comfylabel.orchestrator.retry_policy import Failure, FailureKind
from comfylabel.orchestrator.schemas import Plan, Submission, SubmissionFailed, Superseded
from comfylabel.orchestrator.silence import Silence, kind_of, lost
from comfylabel.orchestrator.steps import Steps
from comfylabel.orchestrator.steps_repository import Ended, Sending

log = structlog.get_logger()

# Seconds between two looks at /history while nothing is heard: quick jobs are seen soon, long ones cost little.
_LOOKS = (0.5, 0.5, 1.0, 1.0, 2.0)
# While its worker tells of it on the websocket, which may still miss its end.
_LOOKS_HEARING = 2.0
# Every so many looks the queue is asked too: it holds whole graphs, so it is the dearer question.
_LOOKS_PER_QUEUE = 3
# "Absent" twice in a row, in /queue and then in /history, is what makes a submission lost.
_ABSENCES = 2
# A worker that answers all but POSTs, or a graph at which it stumbles: the prompt's retries decide between them.
_POSTS = 3
_NEVER_TAKES = f"The worker did not take it in {_POSTS} tries, and did not say why."

_FORGOTTEN = "The worker was restarted, or somebody emptied its queue: it has forgotten it."

_REFUSALS = {
    "missing_node": FailureKind.MISSING_NODE,
    "missing_model": FailureKind.MISSING_MODEL,
    "validation": FailureKind.VALIDATION,
    "bad_id": FailureKind.VALIDATION,
}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `post`: how long a POST may be under way, as the client enforces it; `settle`: between two looks for
    a submission whose POST had no answer; `worker_lost`: a worker silent for so long is given up; `deadline`: the
    longest that a live worker may take.
    """

    post: float = Timeouts().submit
    settle: float = 2.0
    worker_lost: float = 60.0
    deadline: float = 1800.0

    @property
    def latest_post(self) -> float:
        """A POST begins within this time of what the rows say, or does not begin at all."""
        return self.post / 2


class SubmissionLife:
    """Carries one plan through one submission. What it did is in the rows before the next step: any may be the last."""

    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        dispatcher: Dispatcher,
        *,
        steps: Steps,
        patience: Patience,
        recorder: Recorder,
    ) -> None:
        self._database = database
        self._steps = steps
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._patience = patience
        self._recorder = recorder
        # Whose end is to be recorded: also when the answer of the database gets lost that it was written.
        self._unrecorded: set[UUID] = set()

    async def run(
        self,
        plan: Plan,
        begun: Submission | None,
        *,
        attempt: int,
        batch_id: UUID | None = None,
        only_worker: UUID | None = None,
        avoid: frozenset[UUID] = frozenset(),
    ) -> tuple[Submission, HistoryEntry]:
        """Send the plan, or follow what was `begun`; return once the worker has ended it with success.

        Raises SubmissionFailed (whose submission is `.submission`) or Superseded.
        """
        if begun is not None and begun.state is SubmissionState.RESERVED:
            await queue_gate.withdraw(self._database, begun.id)  # its owner died before anything was sent
            begun = None
        waiting_since = None if begun else asyncio.get_running_loop().time()
        submission = begun or await self._send(plan, attempt, batch_id, only_worker, avoid)
        if submission.state is not SubmissionState.GENERATED:
            self._unrecorded.add(submission.id)
        try:
            is_fresh = submission is not begun and submission.state is SubmissionState.ACCEPTED
            if submission.state is SubmissionState.SENT:
                submission = await self._settle(plan, submission)
            entry = await self._follow(submission, is_fresh=is_fresh)
            await self._note_end(submission, entry)
            if submission.id in self._unrecorded:
                self._unrecorded.discard(submission.id)
                self._recorder.ended(plan, submission.worker_id, entry, waiting_since=waiting_since)
            _raise_if_failed(entry)
        except SubmissionFailed as failed:
            self._unrecorded.discard(submission.id)
            failed.submission = submission
            raise
        except Superseded:
            self._unrecorded.discard(submission.id)
            self._dispatcher.gave_back(submission)  # whoever decided about it has ended its row
            raise
        finally:
            self._fleet.forget(submission.worker_id, submission.id)
        return submission, entry

    def gave_back(self, submission: Submission) -> None:
        """Its failure stands in the rows: the slot is free."""
        self._dispatcher.gave_back(submission)

    # ------------------------------------------------------------------------------------------------------ send

    async def _send(
        self, plan: Plan, attempt: int, batch_id: UUID | None, only_worker: UUID | None, avoid: frozenset[UUID]
    ) -> Submission:
        admission = await self._dispatcher.admission(plan, attempt=attempt, only_worker=only_worker, avoid=avoid)
        submission = admission.submission
        graph, graph_digest = await queue_gate.graph_to_send(plan, submission.id)
        sent_since = clock()
        sent_at = await self._mark_sent(plan, submission, batch_id, admission.queue_length, graph_digest)
        if sent_at is None:
            await queue_gate.withdraw(self._database, submission.id)
            self._dispatcher.gave_back(submission)
            raise Superseded
        submission = replace(submission, state=SubmissionState.SENT, sent_at=sent_at, sent_since=sent_since)
        self._recorder.sent(submission.worker_id, plan.task_id)
        await reached("before_post")
        try:
            return await self._post(submission, graph)
        except SubmissionFailed as failed:
            failed.submission = submission
            self._fleet.forget(submission.worker_id, submission.id)
            raise

    async def _mark_sent(
        self, plan: Plan, submission: Submission, batch_id: UUID | None, queue_length: int, graph_digest: str
    ) -> datetime | None:
        """None: it must not be sent."""
        if batch_id is not None:
            return await self._steps.sent(
                Sending(
                    submission.id, plan.task_id, submission.worker_id, batch_id, plan.chunk, queue_length, graph_digest
                )
            )
        with suppress(Superseded):
            async with self._database.transaction() as connection:
                sent_at = await repository.mark_pilot_sent(
                    connection, submission, plan, queue_length=queue_length, graph_digest=graph_digest
                )
                if sent_at is None:
                    raise Superseded  # it rolls the transaction back
                return sent_at
        return None

    async def _post(self, submission: Submission, graph: Graph) -> Submission:
        client = await self._fleet.client_of(submission.worker_id)
        listener = self._fleet.listener(submission.worker_id)
        if clock() - submission.sent_since > self._patience.latest_post:
            return submission  # this process was frozen: its job has a new owner, who may have sent it
        listener.expect(str(submission.id))
        try:
            await client.submit(graph, str(submission.id), client_id=listener.client_id)
        except SubmissionUnclear as error:
            log.info("submission_unclear", submission=str(submission.id), reason=error.message)
            return submission
        except SubmissionRefused as error:
            raise SubmissionFailed(Failure(_REFUSALS[error.reason], error.message)) from error
        except WorkerError as error:
            raise SubmissionFailed(await self._not_sent(submission, error)) from error
        await reached("after_answer")
        return await self._accepted(submission)

    async def _not_sent(self, submission: Submission, error: WorkerError) -> Failure:
        """Why nothing was queued. A proxy may let us look, and not send: every check of such a worker passes."""
        client = await self._fleet.client_of(submission.worker_id)
        if isinstance(error, WorkerMisbehaved) and error.http_status is not None:
            with suppress(WorkerError):
                await client.queue()
                message = (
                    f"It answers GET /queue, but to POST /prompt {error.http_status}: the proxy refuses only POST."
                )
                return Failure(FailureKind.PROXY_AUTH, message)
        await self._fleet.found_dead(submission.worker_id, error.message)
        return Failure(kind_of(error), error.message)

    async def _accepted(self, submission: Submission) -> Submission:
        if not await self._steps.accepted(submission.id):
            await self._withdraw_if_ended(submission)
            raise Superseded
        return replace(submission, state=SubmissionState.ACCEPTED)

    async def _withdraw_if_ended(self, submission: Submission) -> None:
        """It was cancelled while it was under way: on the worker it would run for nobody."""
        if not await self._is_open(submission):
            client = await self._fleet.client_of(submission.worker_id)
            await withdraw_from_worker(client, [str(submission.id)])

    # ---------------------------------------------------------------------------------------------------- settle

    async def _settle(self, plan: Plan, submission: Submission) -> Submission:
        """Find out whether the worker has what was POSTed; send the same id again only when it has not."""
        posts = 1
        while submission.state is SubmissionState.SENT:
            if await self._is_known(submission):
                return await self._accepted(submission)
            if posts == _POSTS:
                await self._fleet.found_dead(submission.worker_id, _NEVER_TAKES)
                raise SubmissionFailed(Failure(FailureKind.NOT_TAKEN, _NEVER_TAKES))
            posts += 1
            sent_since = clock()
            async with self._database.transaction() as connection:
                sent_at = await repository.mark_sent_again(connection, submission)
            if sent_at is None:
                raise Superseded
            submission = replace(submission, sent_at=sent_at, sent_since=sent_since)
            graph, _ = await queue_gate.graph_to_send(plan, submission.id)
            submission = await self._post(submission, graph)
        return submission

    async def _is_known(self, submission: Submission) -> bool:
        """What is seen there is known at once. What is not counts as absent only when the POST must have ended."""
        client = await self._fleet.client_of(submission.worker_id)
        silence = Silence(self._patience.worker_lost)
        over_at = submission.sent_since + self._patience.latest_post + self._patience.post
        absences = 0
        while absences < _ABSENCES:
            is_over = clock() >= over_at
            try:
                if await _look(client, str(submission.id)):
                    return True
                absences += is_over
                silence.broken()
            except WorkerError as error:
                silence.goes_on(error)
            rest = self._patience.settle if is_over else max(over_at - clock(), 0.0)
            await asyncio.sleep(min(self._patience.settle, rest))
        return False

    # ---------------------------------------------------------------------------------------------------- follow

    async def _follow(self, submission: Submission, *, is_fresh: bool) -> HistoryEntry:
        """`is_fresh`: it was taken just now, so that there is nothing to be seen yet."""
        client, listener = await self._line(submission.worker_id)
        identity = str(submission.id)
        silence = Silence(self._patience.worker_lost)
        deadline = Deadline(self._patience.deadline, since=clock())
        absences = looks = 0
        is_waiting = False  # behind others, when the queue was last asked

        def was_running() -> bool:
            """Waiting is what has to be seen: a prompt that kills its worker at once may never be seen to run."""
            return not is_waiting or listener.has_begun(identity)

        if is_fresh:
            await listener.wait(identity, _pause(looks, hears=listener.hears(identity)))
            looks += 1
        while True:
            try:
                # The queue first, then the history: the other way round misses what moves in between (seen 27 of 153).
                is_late = deadline.has_passed(clock())
                is_due = looks % _LOOKS_PER_QUEUE == _LOOKS_PER_QUEUE - 1
                asks_queue = is_due or absences > 0 or is_waiting or is_late
                queue = await client.queue() if asks_queue else None
                entry = await client.history(identity)
                if entry is not None:
                    return entry
                silence.broken()
                absences = absences + 1 if queue and identity not in queue.ids else 0
                if queue and identity in queue.ids:
                    is_waiting = identity in queue.pending
                if absences >= _ABSENCES:
                    # A drained worker has it no more because we took it back, and died before we could write it down.
                    blamed = was_running() and await self._is_enabled(submission.worker_id)
                    raise lost(FailureKind.WORKER_RESTARTED, _FORGOTTEN, was_running=blamed)
                _note_place(deadline, queue, identity, has_begun=listener.has_begun(identity), now=clock())
                if is_late and deadline.has_passed(clock()):  # also by what the queue says of it now
                    raise await self._too_late(client, identity, deadline)
            except WorkerError as error:
                silence.goes_on(error, was_running=was_running())
            if absences == 1 and not await self._is_open(submission):
                raise Superseded  # it was cancelled, or its worker drained
            pause = self._patience.settle if absences else _pause(looks, hears=listener.hears(identity))
            await listener.wait(identity, pause)
            looks += 1
            client, listener = await self._line(submission.worker_id)  # its key may have been changed meanwhile

    async def _line(self, worker_id: UUID) -> tuple[ComfyClient, WorkerListener]:
        client = await self._fleet.client_of(worker_id)
        return client, self._fleet.listener(worker_id)

    async def _is_open(self, submission: Submission) -> bool:
        async with self._database.connection() as connection:
            return await repository.is_open(connection, submission.id)

    async def _is_enabled(self, worker_id: UUID) -> bool:
        async with self._database.connection() as connection:
            return await workers_repository.is_enabled(connection, worker_id)

    async def _too_late(self, client: ComfyClient, identity: str, deadline: Deadline) -> SubmissionFailed:
        await withdraw_from_worker(client, [identity])
        was_tried = not deadline.is_only_waiting
        return SubmissionFailed(Failure(FailureKind.DEADLINE, deadline.words, was_running=was_tried))

    async def _note_end(self, submission: Submission, entry: HistoryEntry) -> None:
        if submission.state is SubmissionState.GENERATED:
            return
        if not await self._steps.generated(Ended(submission.id, submission.worker_id, entry.seconds)):
            raise Superseded
        self._dispatcher.gave_back(submission)
        await reached("after_history")


def _pause(looks: int, *, hears: bool) -> float:
    return _LOOKS_HEARING if hears else _LOOKS[min(looks, len(_LOOKS) - 1)]


def _note_place(deadline: Deadline, queue: QueueSnapshot | None, identity: str, *, has_begun: bool, now: float) -> None:
    if has_begun or (queue is not None and identity in queue.running):
        deadline.begun(now)
    elif queue is not None and identity in queue.pending:
        deadline.waits_behind((*queue.running, *queue.pending[: queue.pending.index(identity)]), now)


async def _look(client: ComfyClient, identity: str) -> bool:
    if identity in (await client.queue()).ids:
        return True
    return await client.history(identity) is not None


def _raise_if_failed(entry: HistoryEntry) -> None:
    if entry.outcome == "success":
        return
    if entry.outcome == "interrupted":
        raise SubmissionFailed(Failure(FailureKind.INTERRUPTED, "It was interrupted on the worker.", was_running=True))
    is_memory = entry.error is not None and entry.error.out_of_memory
    kind = FailureKind.OUT_OF_MEMORY if is_memory else FailureKind.EXECUTION_ERROR
    raise SubmissionFailed(Failure(kind, str(entry.error), was_running=True))
