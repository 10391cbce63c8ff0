"""How busy the workers are and how fast they make what, for people and for Prometheus.

Noted in memory, written once a second, so that it costs the work nothing; a kill -9 costs that second. Nothing that
decides about work is kept here. While the database is away figures are kept, and none is written twice.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from comfylabel.comfy.schemas import HistoryEntry
from comfylabel.db.pool import AWAY, Database
from comfylabel.orchestrator import activity_repository
from comfylabel.orchestrator.figures import Figures
from comfylabel.orchestrator.gaps import Gaps, Run
from comfylabel.orchestrator.schemas import Plan
from comfylabel.workers.paces_repository import size_of

log = structlog.get_logger()

FLUSH_SECONDS = 1.0
# At a stop: the figures of the last second are not worth more patience.
_LAST_FLUSH_SECONDS = 2.0
# What a worker claims beyond a day is its clock being set.
_MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class _Doubt:
    """The connection was lost while these were being committed."""

    transaction: str
    figures: Figures


class Recorder:
    """`sent`, `ended` and `failed` only note; `run` writes until it is cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._figures = Figures()
        self._gaps = Gaps()
        self._doubt: _Doubt | None = None
        self._seen: set[UUID] = set()

    def sent(self, worker_id: UUID, task_id: UUID) -> None:
        """Its counters have changed: whoever watches shall hear of it."""
        self._figures.touch(worker_id, task_id)

    def ended(self, plan: Plan, worker_id: UUID, entry: HistoryEntry, *, waiting_since: float | None) -> None:
        """A worker has ended a submission, well or not. `waiting_since`: by the loop's clock, since when it could have
        been sent; None when another process sent it.
        """
        now = asyncio.get_running_loop().time()
        images = plan.batch_size if entry.outcome == "success" else 0
        seconds = entry.seconds if entry.seconds is not None and entry.seconds < _MOST_SECONDS else None
        is_pilot = plan.pilot_id is not None
        self._figures.ran(worker_id, plan.task_id, images=images, seconds=seconds or 0.0, counts=not is_pilot)
        if images and seconds is not None:
            size = size_of(plan.graph, plan.bindings, plan.width, plan.height)
            self._figures.paced(worker_id, plan.workflow_id, size, images=images, seconds=seconds)
        if entry.number is not None and entry.began_at is not None and entry.ended_at is not None:
            self._seen.add(worker_id)
            run = Run(entry.number, entry.began_at, entry.ended_at, waiting_since, now)
            for gap in self._gaps.ended(worker_id, run):
                self._figures.stood_still(worker_id, gap)

    def failed(self, worker_id: UUID, task_id: UUID, kind: str) -> None:
        self._figures.failed(worker_id, task_id, kind)

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self._flush_patiently()
        finally:
            try:
                async with asyncio.timeout(_LAST_FLUSH_SECONDS):
                    await self._flush_patiently()
            except TimeoutError:
                log.warning("figures_lost", reason="the database does not answer")

    async def _flush_patiently(self) -> None:
        try:
            await self.flush()
        except AWAY as error:
            log.warning("figures_wait", reason=f"the database does not answer: {error}")
        except asyncpg.LockNotAvailableError:  # of a task that is being frozen; the next second comes soon
            log.info("figures_wait", reason="a task or worker is being changed")
        except Exception:  # they are kept and tried again: figures must not end the work that they count
            log.exception("figures_wait")

    async def flush(self) -> None:
        """Write what was noted, whole or not at all; what is not written is kept."""
        await self._settle_doubt()
        if self._seen:
            async with self._database.connection() as connection:
                self._gaps.forget(await activity_repository.resting(connection, list(self._seen)))
        figures, self._figures = self._figures, Figures()
        if not figures:
            return
        transaction = None
        try:
            async with self._database.transaction() as connection:
                transaction = await activity_repository.transaction_id(connection)
                await activity_repository.add(connection, figures)
        except BaseException:
            if transaction is None:
                self._figures.add(figures)
            else:
                self._doubt = _Doubt(transaction, figures)
            raise

    async def _settle_doubt(self) -> None:
        """Raises what the database raises, so that nothing else is written before this is known."""
        if self._doubt is None:
            return
        async with self._database.connection() as connection:
            committed = await activity_repository.was_committed(connection, self._doubt.transaction)
        if committed is None:
            raise ConnectionError("the server still holds the last transaction")
        if not committed:
            self._figures.add(self._doubt.figures)
        self._doubt = None
