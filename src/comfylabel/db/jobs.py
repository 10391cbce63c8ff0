"""Jobs are PgQueuer's: a wake-up with a lease. The truth about the work stands in our own rows.

`enqueue` joins the caller's transaction, so a job exists exactly if the change that wants it was committed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

import asyncpg
import orjson
import structlog
from pgqueuer import PgQueuer, Queries, RetryRequested
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job, TracebackRecord
from pgqueuer.types import JOB_STATUS, QueueEntrypoint, QueueManagerId

from comfylabel.db.pool import AWAY, Connection, close_pool

log = structlog.get_logger()

Answer = TypeVar("Answer")

Entrypoint = Literal["generate", "pilot", "cancel", "drain", "top_up"]
# What a person has told to happen: done again until it is done.
ORDERS: Sequence[Entrypoint] = ("cancel", "drain")

# Ahead of every task's own priority (an int that people set): somebody is waiting in front of a screen.
PILOT_PRIORITY = 1_000_000

_BATCH = 32
# A handler that waits for a slot is a coroutine of some 10 kB. Were there fewer, the jobs of a task that came first
# would keep out those of one with a higher priority; the windows of the tasks are the bound that matters.
_MOST_PICKED = 20_000
# Between two looks for jobs while more and more of them are added.
_SHORTEST_PAUSE = 0.02
_PAUSE_AWAY = 1.0
# A job whose handler raised waits 1 s, 2 s, 4 s and so on for its next try.
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=5)
# Whoever is told to stop has some seconds for everything.
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """`dedupe_key` names the work: while such a job is queued or picked, another is not added."""

    entrypoint: Entrypoint
    payload: Mapping[str, Any]
    priority: int
    dedupe_key: str
    delay: timedelta = timedelta(0)


def generate_key(task_id: UUID, prompt_id: UUID, chunk: int) -> str:
    return f"{task_id}:{prompt_id}:{chunk}"


def generate_job(task_id: UUID, prompt_id: UUID, chunk: int, priority: int) -> PlannedJob:
    return PlannedJob(
        "generate",
        {"task_id": str(task_id), "prompt_id": str(prompt_id), "chunk": chunk},
        priority,
        generate_key(task_id, prompt_id, chunk),
    )


def pilot_job(pilot_id: UUID) -> PlannedJob:
    return PlannedJob("pilot", {"pilot_id": str(pilot_id)}, PILOT_PRIORITY, f"pilot:{pilot_id}")


# Orders have a key of their own each: one that is just being done may have looked already at what a new one means.


def cancel_job(worker_id: UUID, submission_ids: Sequence[UUID]) -> PlannedJob:
    """Take these, which have ended in the rows, off the worker: named, so that nothing begun meanwhile is meant."""
    payload = {"worker_id": str(worker_id), "submission_ids": [str(submission_id) for submission_id in submission_ids]}
    return PlannedJob("cancel", payload, PILOT_PRIORITY, f"cancel:{uuid4()}")


def drain_job(worker_id: UUID) -> PlannedJob:
    return PlannedJob("drain", {"worker_id": str(worker_id)}, PILOT_PRIORITY, f"drain:{uuid4()}")


# PgQueuer notes the end of a job a moment after its handler has returned.
_UNTIL_ENDINGS_ARE_NOTED = timedelta(seconds=1)


def top_up_job(task_id: UUID) -> PlannedJob:
    """Look again for chunks without a job: those whose job was just ending had none yet when the task went on."""
    delay = _UNTIL_ENDINGS_ARE_NOTED
    return PlannedJob("top_up", {"task_id": str(task_id)}, PILOT_PRIORITY, f"top_up:{uuid4()}", delay)


async def enqueue(connection: Connection, jobs: Sequence[PlannedJob]) -> int:
    """Add the jobs whose work has none yet, in the caller's transaction; returns how many were added."""
    if not jobs:
        return 0
    queries = Queries(_CallersTransaction(connection))  # type: ignore[arg-type]  # a pool's proxy has the same methods
    added = await queries.enqueue(
        [job.entrypoint for job in jobs],
        [orjson.dumps(job.payload) for job in jobs],
        [job.priority for job in jobs],
        execute_after=[job.delay for job in jobs],
        dedupe_key=[job.dedupe_key for job in jobs],
        on_conflict="skip",
    )
    return sum(job_id is not None for job_id in added)


class _CallersTransaction(AsyncpgDriver):
    """Not the pool driver: that would run outside the transaction and survive its rollback."""

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        # PgQueuer binds its last argument, jsonb[] headers, as text; our codec takes values and would quote it again.
        *others, headers = args
        assert isinstance(headers, list)
        return await super().fetch(query, *others, [orjson.loads(text) if text else None for text in headers])


class _PatientDriver(AsyncpgPoolDriver):
    """Asks again when the database did not answer, or could not. PgQueuer would stop looking for jobs, but first wait
    for those that it runs, and a submission may take an hour. Whatever it asks may be asked twice: a job that was
    picked by an answer that got lost is picked again when its lease has run out.
    """

    # Until it is told to stop.
    is_patient = True

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return await self._until_answered(partial(super().fetch, query, *args))

    async def execute(self, query: str, *args: object) -> str:
        try:
            return await self._until_answered(partial(super().execute, query, *args))
        except AWAY as error:  # told to stop: what is not written down is found by others when its lease has run out
            log.warning("jobs_cut", reason=f"the database does not answer: {error}")
            return ""

    async def __aexit__(self, *raised: object) -> None:
        with suppress(*AWAY):  # its listener goes with the pool
            await super().__aexit__(*raised)

    async def _until_answered(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                return await ask()
            except (*AWAY, asyncpg.PostgresError) as error:
                if not self.is_patient:
                    raise
                log.warning("jobs_paused", reason=f"the database does not answer: {error}")
                await asyncio.sleep(_PAUSE_AWAY)

    async def add_listener(self, channel: str, callback: Callable[[str | bytes | bytearray], None]) -> None:
        await super().add_listener(channel, _Bell(callback))


class _Bell:
    """Rings when jobs were added, at once and then at most every 20 ms. PgQueuer would look for jobs at each change of
    its table, be it the end of one, and four statements are a look.
    """

    def __init__(self, ring: Callable[[str | bytes | bytearray], None]) -> None:
        self._ring = ring
        self._is_held = False
        self._missed: str | bytes | bytearray | None = None

    def __call__(self, payload: str | bytes | bytearray) -> None:
        told = orjson.loads(payload)
        if told.get("type") != "table_changed_event":
            self._ring(payload)
        elif told.get("operation") == "insert":
            if self._is_held:
                self._missed = payload
            else:
                self._ring_and_hold(payload)

    def _ring_and_hold(self, payload: str | bytes | bytearray) -> None:
        self._ring(payload)
        self._is_held, self._missed = True, None
        asyncio.get_running_loop().call_later(_SHORTEST_PAUSE, self._let_go)

    def _let_go(self) -> None:
        self._is_held = False
        if self._missed is not None:
            self._ring_and_hold(self._missed)


_PUT_BACK = """
update pgqueuer j set status = 'queued', queue_manager_id = null, updated = now()
from unnest($1::bigint[], $2::uuid[]) as mine (id, owner)
where j.id = mine.id and j.queue_manager_id = mine.owner and j.status = 'picked'
"""


class _Queries(Queries):
    """PgQueuer's own, without the questions whose answers are known here, and without losing what is broken off."""

    _is_dry = False

    async def dequeue(self, batch_size: int, *args: Any, **kwargs: Any) -> list[Job]:
        """After a batch that was not full there is nothing left to ask for; what came meanwhile rings the bell."""
        if self._is_dry:
            self._is_dry = False
            return []
        jobs = await super().dequeue(batch_size, *args, **kwargs)
        self._is_dry = 0 < len(jobs) < batch_size
        return jobs

    async def next_deferred_eta(self, _entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        """What is to be done later is found by the look that comes every two seconds."""
        return None

    async def queued_work(self, _entrypoints: list[QueueEntrypoint]) -> int:
        """Asked only beside the question before, for a job that falls between the two."""
        return 0

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """A job that a stop breaks off is anybody's at once: PgQueuer would delete it, and with it an order to drain.

        No traceback goes with a failed one, for it stands in our log: it may hold a sign that the database refuses, and
        then the ends of all jobs beside it would be refused too, again and again.
        """
        broken_off = [job for job, status, _ in job_status if status == "canceled"]
        if broken_off:
            owners = [job.queue_manager_id for job in broken_off]
            await self.driver.execute(_PUT_BACK, [job.id for job in broken_off], owners)
        ended: list[tuple[Job, JOB_STATUS, TracebackRecord | None]] = [
            (job, status, None) for job, status, _ in job_status if status != "canceled"
        ]
        if ended:
            await super().log_jobs(ended)

    async def retry_job(self, job: Job, delay: timedelta, _traceback: TracebackRecord | None) -> None:
        await super().retry_job(job, delay, None)


Handler = Callable[[dict[str, Any]], Awaitable[None]]


class JobConsumer:
    """Runs handlers for the jobs of one process until it is cancelled.

    A job whose process died is picked up by another after `lease`; keep the lease well above the time-out of a POST
    to a worker. `process_id` stands in the rows of what it has. A job whose handler raised is tried again, later each
    time, and is in nobody's way until then.
    """

    def __init__(
        self, url: str, handlers: Mapping[Entrypoint, Handler], *, lease: timedelta, process_id: UUID | None = None
    ) -> None:
        self._url = url
        self._handlers = handlers
        self._lease = lease
        self._process_id = QueueManagerId(process_id or uuid4())
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        # Its own pool: PgQueuer binds JSON as text and must not meet our codecs. What it writes does not wait for the
        # disk: a job of which the pick or the end was forgotten is picked once more, and our rows say what is to do.
        pool = await asyncpg.create_pool(
            self._url, min_size=2, max_size=4, reset=_leave_as_it_is, server_settings={"synchronous_commit": "off"}
        )
        driver = _PatientDriver(pool)
        try:
            running = asyncio.create_task(self._queuer(driver))
            try:
                await asyncio.shield(running)
            finally:
                driver.is_patient = False
                await self._stop(running, pool)
        finally:
            await close_pool(pool)

    async def _queuer(self, driver: _PatientDriver) -> None:
        queuer = PgQueuer(driver, queries=_Queries(driver))
        queuer.qm.queue_manager_id = self._process_id
        for name, handler in self._handlers.items():
            queuer.entrypoint(name, on_failure="hold")(self._tracked(handler))
        await queuer.run(
            batch_size=_BATCH,
            max_concurrent_tasks=_MOST_PICKED,
            dequeue_timeout=timedelta(seconds=2),
            heartbeat_timeout=self._lease,
        )

    async def _stop(self, running: "asyncio.Task[None]", pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Told to stop, PgQueuer would wait for its handlers, and a submission may take an hour; and then for a
        database that may say nothing. What it could not put back is picked up by another after the lease.
        """
        for task in (*self._under_way, running):
            task.cancel()
        _, waiting = await asyncio.wait({running}, timeout=_STOP_SECONDS)
        if waiting:
            log.warning("jobs_cut", reason=f"not ended within {_STOP_SECONDS:g} s")
            pool.terminate()
            running.cancel()
            await asyncio.wait({running}, timeout=_STOP_SECONDS)

    def _tracked(self, handler: Handler) -> Callable[[Job], Awaitable[None]]:
        async def handle(job: Job) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            try:
                await handler(orjson.loads(job.payload or b"{}"))
            except Exception as error:
                raise _again(job, error) from error

        return handle


def pause_before(tries: int) -> timedelta:
    """The next try of a job that has failed so often."""
    doublings = min(tries - 1, 20)
    return min(_FIRST_PAUSE * (1 << doublings), _LONGEST_PAUSE)


def _again(job: Job, error: Exception) -> RetryRequested:
    tries = job.attempts + 1
    pause = pause_before(tries)
    facts = {"job": job.entrypoint, "work": (job.payload or b"").decode(errors="replace"), "tries": tries}
    if isinstance(error, AWAY):
        log.warning("job_waits", **facts, reason=f"the database does not answer: {error}")
    else:
        log.error("job_failed", **facts, again_in_seconds=pause.total_seconds(), exc_info=error)
    return RetryRequested(pause, type(error).__name__)


async def _leave_as_it_is(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Saves each statement a round trip: PgQueuer changes nothing of a session but what its one listener listens to."""
