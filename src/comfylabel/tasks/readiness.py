"""Who can run a workflow right now, or, in words, why nobody can."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from comfylabel.comfy.errors import WorkerError
from comfylabel.db.pool import Database
from comfylabel.errors import NoHealthyWorker
from comfylabel.tasks import readiness_repository as repository
from comfylabel.tasks.lacking import Lacking, Missing
from comfylabel.workers.inventories_repository import Known
from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import ranked, why_not

# Asks the workers about a workflow that none could be asked about when it came; raises a 409 when they refuse it.
Verify = Callable[[UUID], Awaitable[object]]


class Inventories(Protocol):
    """Of `workers.inventories`, what is needed here."""

    async def known(self) -> Mapping[UUID, Known]: ...
    async def ask(self, worker: Worker) -> str: ...
    async def object_info(self, digest: str) -> Mapping[str, Any] | None: ...


# Whoever asks for a run waits no longer for what is most likely as it was. 811 nodes take a worker half a second; the
# question to a frozen one ends after a minute.
_DOUBTED_SECONDS = 5.0

# Asks a worker for a sign of life; why it gave none, in a sentence.
WhySilent = Callable[[Worker], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Able:
    """Who can run a workflow now; `waiting_for`: why nobody can, in a sentence."""

    workers: frozenset[UUID]
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class Ability:
    """What one worker can do for one workflow. `why_not` continues the worker's name; None when it can run it now.

    `missing` is what it lacks, as far as it was ever asked: of a disabled or unhealthy one too, which is not `well`.
    """

    worker: Worker
    missing: Missing
    why_not: str | None
    well: bool = True

    @property
    def able(self) -> bool:
        return self.why_not is None


class Readiness:
    def __init__(self, database: Database, inventories: Inventories, why_silent: WhySilent) -> None:
        self._database = database
        self._inventories = inventories
        self._why_silent = why_silent
        self._lacking = Lacking(database, inventories.object_info)

    async def well(self) -> list[Worker]:
        """Enabled and healthy, in the order of selection."""
        async with self._database.connection() as connection:
            workers, now = await repository.workers(connection)
        return [worker for worker in ranked(workers) if why_not(worker, now) is None]

    async def of_workflow(
        self, workflow_id: UUID, *, asking: bool = True, asking_again: bool = False, believing_refusals: bool = True
    ) -> list[Ability]:
        """Of every worker, in the order of selection. `asking`: whoever was never asked what it has is asked now;
        `asking_again`: everybody is.
        """
        async with self._database.connection() as connection:
            workers, now = await repository.workers(connection)
            refusals = await repository.refusals(connection, workflow_id) if believing_refusals else {}
        known = await self._inventories.known()

        async def ability(worker: Worker) -> Ability:
            reason = why_not(worker, now)
            try:
                may_ask = (asking or asking_again) and reason is None
                digest = await self._digest(worker, known.get(worker.id), may_ask=may_ask, doubts=asking_again)
            except WorkerError as error:
                return Ability(worker, (), f"does not say what it can run: {error.message.rstrip('.')}")
            missing = await self._lacking.of(digest, workflow_id) if digest else ()
            why = reason or _lacks(missing) or _refused(refusals.get(worker.id))
            return Ability(worker, missing, why, well=reason is None)

        return list(await asyncio.gather(*map(ability, ranked(workers))))

    async def able_workers(self, workflow_id: UUID) -> list[Worker]:
        """Enabled, healthy, with every node and model of the graph; in the order of selection, never empty.

        What a worker refused minutes ago may be there by now: somebody asks for another try. The last check of their
        health may be half a minute old, so one of them has to answer now.
        """
        abilities = await self.of_workflow(workflow_id, believing_refusals=False)
        if not any(one.able for one in abilities):
            abilities = await self.of_workflow(workflow_id, asking_again=True, believing_refusals=False)
        able = [one.worker for one in abilities if one.able]
        silent = await self._silent(able)
        if len(silent) == len(able):
            told = [replace(one, why_not=silent.get(one.worker.id, one.why_not)) for one in abilities]
            raise NoHealthyWorker(nobody_can(told))
        return able

    async def able_now(self, workflow_id: UUID) -> Able:
        """For a task that runs. Asks no worker."""
        abilities = await self.of_workflow(workflow_id, asking=False)
        able = frozenset(one.worker.id for one in abilities if one.able)
        return Able(able, None if able else nobody_can(abilities))

    async def _silent(self, workers: Sequence[Worker]) -> dict[UUID, str]:
        """Those that give no sign of life, with why, until one does: nobody waits for the others."""
        silent: dict[UUID, str] = {}

        async def ask(worker: Worker) -> bool:
            if why := await self._why_silent(worker):
                silent[worker.id] = f"is unhealthy: {why.rstrip('.')}"
            return worker.id not in silent

        asking = [asyncio.create_task(ask(worker)) for worker in workers]
        try:
            for answer in asyncio.as_completed(asking):
                if await answer:
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return silent

    async def _digest(self, worker: Worker, known: Known | None, *, may_ask: bool, doubts: bool) -> str | None:
        """Of its inventory; None when it is not known. What is in doubt is believed when it cannot be asked."""
        if not may_ask or (known is not None and not known.in_doubt and not doubts):
            return known.digest if known else None
        if known is None:
            return await self._inventories.ask(worker)
        try:
            async with asyncio.timeout(None if doubts else _DOUBTED_SECONDS):
                return await self._inventories.ask(worker)
        except (WorkerError, TimeoutError):
            return known.digest


def _lacks(missing: Missing) -> str | None:
    return f"lacks {' and '.join(missing)}" if missing else None


def _refused(reason: str | None) -> str | None:
    return f"refused it: {reason.rstrip('.')}" if reason else None


def nobody_can(abilities: Sequence[Ability]) -> str:
    """The sentence that names every worker: "gpu-1 lacks the model sdxl.safetensors, gpu-2 is disabled"."""
    told = ", ".join(f"{one.worker.name} {one.why_not}" for one in abilities)
    return f"No healthy worker can run this workflow: {told or 'none is registered'}."
