"""The life of one submission on its worker: reserved, sent, accepted, and the worker's own record of its end.

A 500, a time-out or a crash proves nothing: what is not known is looked up, in /queue and then in /history, before
the same id is ever sent again. Truth is /history; the websocket only shortens the wait for the next look.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from comfylabel.comfy.client import ComfyClient, Timeouts
from comfylabel.comfy.errors import SubmissionRefused, SubmissionUnclear, WorkerError, WorkerMisbehaved
from comfylabel.comfy.graph import Graph
from comfylabel.comfy.schemas import HistoryEntry, QueueSnapshot
from comfylabel.db.pool import Database
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import queue_gate, repository
from comfylabel.orchestrator.activity import Recorder
from comfylabel.orchestrator.cancelling import withdraw_from_worker
from comfylabel.orchestrator.deadline import Deadline
from comfylabel.orchestrator.dispatcher import Dispatcher
from comfylabel.orchestrator.fault_points import reached
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.retry_policy import Failure, FailureKind
from comfylabel.orchestrator.schemas import Plan, Submission, SubmissionFailed

log = structlog.get_logger()

# Seconds between two looks at /history while nothing is heard: quick jobs are seen soon, long ones cost little.
_LOOKS = (0.5, 0.5, 1.0, 1.0, 2.0)
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


class Superseded(Exception):
    """Another owner, or a cancel, has decided about this submission: read the rows again."""


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


class SubmissionLife:
    """Carries one plan through one submission. What it did is in the rows before the next step: any may be the last."""

    def __init__(
        self, database: Database, fleet: Fleet, dispatcher: Dispatcher, patience: Patience, recorder: Recorder
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._patience = patience
        self._recorder = recorder

    async def run(
        self,
        plan: Plan,
        begun: Submission | None,
        *,
        attempt: int,
        batch_id: UUID | None = None,
        only_worker: UUID | None = None,
    ) -> tuple[Submission, HistoryEntry]:
        """Send the plan, or follow what was `begun`; return once the worker has ended it with success.

        Raises SubmissionFailed (whose submission is `.submission`) or Superseded.
        """
        if begun is not None and begun.state is SubmissionState.RESERVED:
            await queue_gate.withdraw(self._database, begun.id)  # its owner died before anything was sent
            begun = None
        waiting_since = None if begun else asyncio.get_running_loop().time()
        submission = begun or await self._send(plan, attempt, batch_id, only_worker)
        try:
            if submission.state is SubmissionState.SENT:
                submission = await self._settle(plan, submission)
            entry = await self._follow(submission)
            if await self._note_end(submission):
                self._recorder.ended(plan, submission.worker_id, entry, waiting_since=waiting_since)
            _raise_if_failed(entry)
        except SubmissionFailed as failed:
            failed.submission = submission
            raise
        finally:
            self._fleet.forget(submission.worker_id, submission.id)
        return submission, entry

    # ------------------------------------------------------------------------------------------------------ send

    async def _send(self, plan: Plan, attempt: int, batch_id: UUID | None, only_worker: UUID | None) -> Submission:
        admission = await self._dispatcher.admission(plan, attempt=attempt, only_worker=only_worker)
        submission = admission.submission
        try:
            async with self._database.transaction() as connection:
                sent_at = await repository.mark_sent(
                    connection,
                    submission,
                    batch_id=batch_id,
                    chunk=plan.chunk,
                    queue_length=admission.queue_length,
                )
                if sent_at is None:
                    raise Superseded  # noqa: TRY301 - it rolls the transaction back
        except Superseded:
            await queue_gate.withdraw(self._database, submission.id)
            raise
        submission = replace(submission, state=SubmissionState.SENT, sent_at=sent_at)
        self._recorder.sent(submission.worker_id, plan.task_id)
        await reached("before_post")
        try:
            return await self._post(submission, admission.graph)
        except SubmissionFailed as failed:
            failed.submission = submission
            self._fleet.forget(submission.worker_id, submission.id)
            raise

    async def _post(self, submission: Submission, graph: Graph) -> Submission:
        client = await self._fleet.client_of(submission.worker_id)
        listener = self._fleet.listener(submission.worker_id)
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
        async with self._database.transaction() as connection:
            if not await repository.mark_accepted(connection, submission.id):
                raise Superseded
        return replace(submission, state=SubmissionState.ACCEPTED, accepted_at=datetime.now(UTC))

    # ---------------------------------------------------------------------------------------------------- settle

    async def _settle(self, plan: Plan, submission: Submission) -> Submission:
        """Find out whether the worker has what was POSTed; send the same id again only when it has not."""
        posts = 1
        while submission.state is SubmissionState.SENT:
            assert submission.sent_at is not None
            await asyncio.sleep(self._patience.post - _age(submission.sent_at))
            if await self._is_known(submission):
                return await self._accepted(submission)
            if posts == _POSTS:
                await self._fleet.found_dead(submission.worker_id, _NEVER_TAKES)
                raise SubmissionFailed(Failure(FailureKind.NOT_TAKEN, _NEVER_TAKES))
            posts += 1
            async with self._database.transaction() as connection:
                sent_at = await repository.mark_sent_again(connection, submission)
            if sent_at is None:
                raise Superseded
            submission = replace(submission, sent_at=sent_at)
            submission = await self._post(submission, queue_gate.graph_to_send(plan, submission.id))
        return submission

    async def _is_known(self, submission: Submission) -> bool:
        client = await self._fleet.client_of(submission.worker_id)
        silence = _Silence(self._patience.worker_lost)
        absences = 0
        while absences < _ABSENCES:
            try:
                if await _look(client, str(submission.id)):
                    return True
                absences += 1
                silence.broken()
            except WorkerError as error:
                silence.goes_on(error)
            await asyncio.sleep(self._patience.settle)
        return False

    # ---------------------------------------------------------------------------------------------------- follow

    async def _follow(self, submission: Submission) -> HistoryEntry:
        client = await self._fleet.client_of(submission.worker_id)
        listener = self._fleet.listener(submission.worker_id)
        identity = str(submission.id)
        silence = _Silence(self._patience.worker_lost)
        clock = asyncio.get_running_loop().time
        deadline = Deadline(self._patience.deadline, since=clock())
        absences = looks = 0
        is_waiting = False  # behind others, when the queue was last asked

        def was_running() -> bool:
            """Waiting is what has to be seen: a prompt that kills its worker at once may never be seen to run."""
            return not is_waiting or listener.has_begun(identity)

        while True:
            try:
                # The queue first, then the history: the other way round misses what moves in between (seen 27 of 153).
                asks_queue = looks % _LOOKS_PER_QUEUE == _LOOKS_PER_QUEUE - 1 or absences > 0 or is_waiting
                queue = await client.queue() if asks_queue else None
                entry = await client.history(identity)
                if entry is not None:
                    return entry
                silence.broken()
                absences = absences + 1 if queue and identity not in queue.ids else 0
                if queue and identity in queue.ids:
                    is_waiting = identity in queue.pending
                if absences >= _ABSENCES:
                    raise _lost(FailureKind.WORKER_RESTARTED, _FORGOTTEN, was_running=was_running())
                _note_place(deadline, queue, identity, has_begun=listener.has_begun(identity), now=clock())
            except WorkerError as error:
                silence.goes_on(error, was_running=was_running())
            if deadline.has_passed(clock()):
                await withdraw_from_worker(client, [identity])
                was_tried = not deadline.is_only_waiting
                raise SubmissionFailed(Failure(FailureKind.DEADLINE, deadline.words, was_running=was_tried))
            await listener.wait(identity, self._patience.settle if absences else _LOOKS[min(looks, len(_LOOKS) - 1)])
            looks += 1

    async def _note_end(self, submission: Submission) -> bool:
        """False: it was noted before a restart of ours."""
        if submission.state is SubmissionState.GENERATED:
            return False
        async with self._database.transaction() as connection:
            if not await repository.mark_generated(connection, submission):
                raise Superseded
        self._dispatcher.wake(submission.worker_id)
        await reached("after_history")
        return True


class _Silence:
    """How long a worker has not answered."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: float | None = None

    def broken(self) -> None:
        self._since = None

    def goes_on(self, error: WorkerError, *, was_running: bool = True) -> None:
        now = asyncio.get_running_loop().time()
        self._since = self._since or now
        if now - self._since >= self._limit:
            message = f"The worker was silent for {self._limit:.0f} s: {error.message}"
            kind = FailureKind.PROXY_AUTH if kind_of(error) is FailureKind.PROXY_AUTH else FailureKind.WORKER_LOST
            raise _lost(kind, message, was_running=was_running) from error


def _lost(kind: FailureKind, message: str, *, was_running: bool) -> SubmissionFailed:
    return SubmissionFailed(Failure(kind, message, was_running=was_running))


def kind_of(error: WorkerError) -> FailureKind:
    """Of a request that failed, whatever it was for."""
    is_proxy = isinstance(error, WorkerMisbehaved) and error.kind == "proxy_auth"
    return FailureKind.PROXY_AUTH if is_proxy else FailureKind.NETWORK


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


def _age(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
