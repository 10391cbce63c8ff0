"""Which worker can run which workflow, as the dispatcher needs it: answered from memory, at once.

Beside that, workers are asked what they have when something may have changed it: side by side, each for itself.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog

from comfylabel.comfy.errors import WorkerError
from comfylabel.db.pool import AWAY, Database
from comfylabel.tasks.lacking import Lacking
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.schemas import Worker

log = structlog.get_logger()

# An answer holds some 10 MB while it is read.
_ASKED_AT_ONCE = 16
# A worker whose /object_info fails is well otherwise; 0.5 s of its time each.
_PAUSE_AFTER_FAILURE = 60.0


class Abilities:
    """`on_known()` is called when more is known than before: whoever was held back may be able."""

    on_known: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, database: Database, inventories: Inventories, *, look_seconds: float = 5.0) -> None:
        self._inventories = inventories
        self._look_seconds = look_seconds
        self._lacking = Lacking(database, inventories.object_info)
        self._digests: dict[UUID, str] = {}
        self._being_worked_out: set[tuple[str, UUID]] = set()
        self._being_asked: set[UUID] = set()
        self._not_before: dict[UUID, float] = {}
        self._doubted: set[UUID] = set()
        self._look = asyncio.Event()
        self._places = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._aside: set[asyncio.Task[None]] = set()

    async def refused(self, worker: Worker, workflow_ids: Collection[UUID]) -> frozenset[UUID]:
        """Those that it cannot run. One that is still being worked out counts as refused for that moment; of a worker
        that was never asked nothing is refused: it says so itself, and that costs a round trip.
        """
        digest = self._digests.get(worker.id)
        if digest is None:
            return frozenset()
        return frozenset(one for one in workflow_ids if not self._is_able(digest, one))

    def doubt(self, worker_id: UUID) -> None:
        """It was restarted perhaps, or refused what it was thought to have: ask it soon."""
        self._doubted.add(worker_id)
        self._look.set()

    async def run(self) -> None:
        """Keep what is known up to date, until cancelled."""
        try:
            while True:
                try:
                    await self.refresh()
                except AWAY as error:
                    log.warning("inventories_paused", reason=f"the database does not answer: {error}")
                except Exception:  # work goes on with what is known
                    log.exception("inventories_failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look_seconds):
                        await self._look.wait()
                self._look.clear()
        finally:
            for task in self._aside:
                task.cancel()

    async def refresh(self) -> None:
        """Read what is known, and begin to ask whoever has to be asked."""
        doubted, self._doubted = self._doubted, set()
        if doubted:
            await self._inventories.doubt(doubted)
        digests = {worker_id: known.digest for worker_id, known in (await self._inventories.known()).items()}
        if digests != self._digests:
            self._digests = digests
            self.on_known()
        now = time.monotonic()
        for worker in await self._inventories.due():
            if worker.id not in self._being_asked and self._not_before.get(worker.id, 0) <= now:
                self._being_asked.add(worker.id)
                self._begin(self._ask(worker))

    async def _ask(self, worker: Worker) -> None:
        try:
            async with self._places:
                digest = await self._inventories.ask(worker)
        except WorkerError as error:
            log.info("inventory_not_told", worker=worker.name, reason=error.message)
            self._not_before[worker.id] = time.monotonic() + _PAUSE_AFTER_FAILURE
        except AWAY:
            pass  # it is due still
        else:
            self._digests[worker.id] = digest
            self.on_known()
        finally:
            self._being_asked.discard(worker.id)

    def _is_able(self, digest: str, workflow_id: UUID) -> bool:
        missing = self._lacking.known(digest, workflow_id)
        if missing is not None:
            return not missing
        if (digest, workflow_id) not in self._being_worked_out:
            self._being_worked_out.add((digest, workflow_id))
            self._begin(self._work_out(digest, workflow_id))
        return False

    async def _work_out(self, digest: str, workflow_id: UUID) -> None:
        try:
            await self._lacking.of(digest, workflow_id)
        except AWAY:
            return  # the next who asks begins again
        finally:
            self._being_worked_out.discard((digest, workflow_id))
        self.on_known()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._aside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("inventories_failed", exc_info=error)
