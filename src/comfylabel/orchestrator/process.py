"""One orchestrator process: any number of them work on one database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import structlog

from comfylabel.accounts.secret_key import secret_key
from comfylabel.comfy.client import worker_session
from comfylabel.db.jobs import Entrypoint, Handler, JobConsumer
from comfylabel.db.pool import AWAY, Database
from comfylabel.orchestrator.abilities import Abilities
from comfylabel.orchestrator.activity import Recorder
from comfylabel.orchestrator.cancelling import Canceller
from comfylabel.orchestrator.dispatcher import Dispatcher
from comfylabel.orchestrator.draining import Drainer
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.generate import Generator
from comfylabel.orchestrator.ingest import Ingester, IngestLimits
from comfylabel.orchestrator.maintenance import (
    ACTIVITY_SECONDS,
    INVENTORIES_SECONDS,
    PARTITIONS_SECONDS,
    Maintenance,
    every,
)
from comfylabel.orchestrator.pilot_run import PilotRunner
from comfylabel.orchestrator.recipes import Recipes
from comfylabel.orchestrator.refills import Refills
from comfylabel.orchestrator.steps import Steps
from comfylabel.orchestrator.submission_life import Patience, SubmissionLife
from comfylabel.settings import Settings
from comfylabel.storage.store import ObjectStore
from comfylabel.tasks.readiness import Readiness
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.resolver import GuardedResolver
from comfylabel.workers.service import WorkerService

log = structlog.get_logger()

_PAUSE_AWAY = 1.0
# Whoever is told to stop has some seconds for everything.
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`lease`: PgQueuer gives a job of a dead process to another after this; a living one renews it every half of it.
    `sweep_seconds`: between two looks for what was left behind; `inventories_seconds`: for workers to be asked what
    they have; `unwell_seconds`: for those that failed their check to be asked again, while work waits;
    `leftovers_seconds`: for files that no row will ever name.
    """

    lease: timedelta = timedelta(seconds=10)
    sweep_seconds: float = 30.0
    inventories_seconds: float = 5.0
    unwell_seconds: float = 5.0
    leftovers_seconds: float = 3600.0
    patience: Patience = field(default_factory=Patience)


async def run_orchestrator(settings: Settings, database_url: str, *, pace: Pace | None = None) -> None:
    """Work until cancelled. Stopping loses nothing: what is under way on workers is taken up by the next start."""
    async with orchestrator(settings, database_url, pace=pace) as parts:
        await parts.run()


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """The parts, put together."""

    database: Database
    dispatcher: Dispatcher
    generator: Generator
    pilots: PilotRunner
    canceller: Canceller
    drainer: Drainer
    maintenance: Maintenance
    recorder: Recorder
    abilities: Abilities
    database_url: str
    pace: Pace
    health_seconds: float
    process_id: UUID

    async def run(self) -> None:
        """Work until cancelled, and then end within some seconds: also when the database says nothing any more."""
        working = asyncio.create_task(self._work())
        try:
            await asyncio.shield(working)
        finally:
            working.cancel()
            _, waiting = await asyncio.wait({working}, timeout=_STOP_SECONDS)
            if waiting:
                log.warning("stop_forced", reason=f"not ended within {_STOP_SECONDS:g} s")
                self.database.cut()
                await asyncio.wait({working}, timeout=_STOP_SECONDS)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.run())
            group.create_task(every(PARTITIONS_SECONDS, self.maintenance.make_partitions))
            group.create_task(every(self.health_seconds, self.maintenance.check_health))
            group.create_task(every(self.pace.unwell_seconds, self.maintenance.check_the_unwell))
            group.create_task(every(self.pace.sweep_seconds, self.maintenance.sweep))
            group.create_task(every(self.pace.sweep_seconds, self.maintenance.tidy_workers))
            group.create_task(every(self.pace.sweep_seconds, self.maintenance.tell_who_waits))
            group.create_task(every(INVENTORIES_SECONDS, self.maintenance.forget_inventories))
            group.create_task(every(ACTIVITY_SECONDS, self.maintenance.forget_activity))
            group.create_task(every(self.pace.leftovers_seconds, self.pilots.throw_away_leftovers))
            group.create_task(self.abilities.run())
            group.create_task(self.recorder.run())
            group.create_task(self._consume())

    async def _consume(self) -> None:
        """It ends when there is no database to begin with, or by a fault: what was under way is put back then."""
        consumer = JobConsumer(self.database_url, self._handlers(), lease=self.pace.lease, process_id=self.process_id)
        while True:
            try:
                await consumer.run()
            except AWAY as error:
                log.warning("jobs_paused", reason=f"the database does not answer: {error}")
            except Exception:  # the other parts go on
                log.exception("jobs_failed")
            await asyncio.sleep(_PAUSE_AWAY)

    def _handlers(self) -> Mapping[Entrypoint, Handler]:
        async def generate(payload: dict[str, Any]) -> None:
            await self.generator.generate(UUID(payload["task_id"]), UUID(payload["prompt_id"]), payload["chunk"])

        async def pilot(payload: dict[str, Any]) -> None:
            await self.pilots.run(UUID(payload["pilot_id"]))

        async def cancel(payload: dict[str, Any]) -> None:
            await self.canceller.withdraw(UUID(payload["worker_id"]), [UUID(one) for one in payload["submission_ids"]])

        async def drain(payload: dict[str, Any]) -> None:
            await self.drainer.drain(UUID(payload["worker_id"]))

        async def top_up(payload: dict[str, Any]) -> None:
            await self.maintenance.top_up(UUID(payload["task_id"]))

        return {"generate": generate, "pilot": pilot, "cancel": cancel, "drain": drain, "top_up": top_up}


@asynccontextmanager
async def orchestrator(
    settings: Settings, database_url: str, *, pace: Pace | None = None
) -> AsyncIterator[Orchestrator]:
    pace = pace or Pace(patience=Patience(deadline=settings.submission_deadline_seconds))
    database = await Database.connect(database_url, by_index=True)
    try:
        async with worker_session(GuardedResolver()) as session:
            secret = secret_key(settings.secret_key, settings.data_dir)
            service = WorkerService(database, secret=secret, max_image_bytes=settings.max_image_bytes)
            line = _Line(database, service, Fleet(database, service, session), session)
            try:
                yield _put_together(settings, line, database_url, pace)
            finally:
                await line.fleet.close()
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class _Line:
    """To the database and to the workers."""

    database: Database
    service: WorkerService
    fleet: Fleet
    session: aiohttp.ClientSession


def _put_together(settings: Settings, line: _Line, database_url: str, pace: Pace) -> Orchestrator:
    database, service, fleet, session = line.database, line.service, line.fleet, line.session
    process_id = uuid4()
    inventories = Inventories(database, service, session)
    abilities = Abilities(database, inventories, look_seconds=pace.inventories_seconds)
    ingester = _ingester(settings)
    dispatcher = _dispatcher(settings, line, abilities, ingester, process_id)
    recorder, steps, canceller = Recorder(database), Steps(database), Canceller(database, fleet)
    life = SubmissionLife(database, fleet, dispatcher, steps=steps, patience=pace.patience, recorder=recorder)
    recipes, refills = Recipes(database), Refills(database)
    readiness = Readiness(database, inventories, partial(service.why_silent, session=session))
    return Orchestrator(
        database=database,
        dispatcher=dispatcher,
        generator=Generator(database, steps, refills, life, fleet, ingester, recipes, recorder, abilities.doubt),
        pilots=PilotRunner(database, life, fleet, ingester, canceller, readiness),
        canceller=canceller,
        drainer=Drainer(database, fleet),
        maintenance=Maintenance(database, fleet, service, session, dispatcher, canceller, readiness, inventories),
        recorder=recorder,
        abilities=abilities,
        database_url=database_url,
        pace=pace,
        health_seconds=settings.health_interval_seconds,
        process_id=process_id,
    )


def _ingester(settings: Settings) -> Ingester:
    limits = IngestLimits(
        settings.max_image_bytes, settings.ingest_concurrency, settings.ingest_budget_bytes, settings.ingest_backlog
    )
    return Ingester(ObjectStore.open(settings.object_store_url), settings.data_dir / "spool", limits)


def _dispatcher(
    settings: Settings, line: _Line, abilities: Abilities, ingester: Ingester, process_id: UUID
) -> Dispatcher:
    """Which is woken by whatever may make room, or make a worker able."""
    dispatcher = Dispatcher(
        line.database,
        line.fleet,
        poll_seconds=settings.queue_poll_seconds,
        refused=abilities.refused,
        is_behind=lambda: ingester.is_behind,
        process_id=process_id,
    )
    line.fleet.on_idle = dispatcher.wake
    line.fleet.on_back = abilities.doubt
    abilities.on_known = dispatcher.wake
    ingester.on_room = dispatcher.wake
    return dispatcher
