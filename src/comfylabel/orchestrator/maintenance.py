"""What nobody waits for: health, the sweep that puts lost jobs back, partitions, and tidying workers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import aiohttp
import structlog

from comfylabel.comfy.errors import WorkerError
from comfylabel.db.jobs import enqueue, generate_job, pilot_job
from comfylabel.db.partitions import count_strays, ensure_partitions
from comfylabel.db.pool import AWAY, Database
from comfylabel.generations.repository import top_up
from comfylabel.orchestrator import activity_repository, upkeep_repository, workers_repository
from comfylabel.orchestrator.backlogs import Backlogs
from comfylabel.orchestrator.cancelling import Canceller, withdraw_from_worker
from comfylabel.orchestrator.dispatcher import Dispatcher
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.tasks.readiness import Readiness, nobody_can
from comfylabel.tasks.repository import finish_task_if_complete
from comfylabel.workers import health
from comfylabel.workers.inventories import Inventories
from comfylabel.workers.schemas import Worker
from comfylabel.workers.selection import is_selectable
from comfylabel.workers.service import WorkerService

log = structlog.get_logger()

PARTITIONS_SECONDS = 24 * 3600.0
INVENTORIES_SECONDS = 3600.0
ACTIVITY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Maintenance:
    database: Database
    fleet: Fleet
    service: WorkerService
    session: aiohttp.ClientSession
    dispatcher: Dispatcher
    canceller: Canceller
    readiness: Readiness
    inventories: Inventories
    backlogs: Backlogs = field(default_factory=Backlogs)

    async def check_health(self) -> None:
        """Every enabled worker, side by side; a slow one holds nobody back."""
        checked = await health.check_all(self.database, self.service, self.session)
        self.fleet.keep(checked)
        self.dispatcher.wake()
        async with self.database.connection() as connection:
            waiting = await upkeep_repository.waiting_tasks(connection)
            slots = await workers_repository.slots(connection)
        held = Counter(slot.worker_id for slot in slots.values())
        self._tell_of_backlogs(checked, held, work_waits=bool(waiting))
        if waiting and not any(worker.status == "HEALTHY" for worker in checked):
            log.error("runs_wait_for_a_worker", tasks=len(waiting), cure="bring a worker back, or add one")

    async def check_the_unwell(self) -> None:
        """While something waits: a worker that is back is used within seconds, not at the next round of checks."""
        if not self.dispatcher.has_waiting:
            return
        async with self.database.connection() as connection:
            workers, _ = await workers_repository.enabled_workers(connection)
        unwell = [worker for worker in workers if worker.status == "UNHEALTHY"]
        checks = (health.check(self.database, self.service, worker, self.session) for worker in unwell)
        if any(worker.status == "HEALTHY" for worker in await asyncio.gather(*checks)):
            self.dispatcher.wake()

    def _tell_of_backlogs(self, checked: Sequence[Worker], held: Mapping[UUID, int], *, work_waits: bool) -> None:
        """Once when it begins and once when it is over."""
        for told in self.backlogs.look(checked, held, work_waits=work_waits):
            worker = told.worker
            facts = {"worker": worker.name, "queue": worker.current_queue_len, "limit": worker.max_concurrent_jobs}
            if told.begins:
                log.warning("queue_backlog", **facts, cure="others use this worker: wait, or raise its limit")
            else:
                log.info("queue_backlog_over", **facts)

    async def tell_who_waits(self) -> None:
        """A task that no worker can run says so for as long as it waits. Whoever lacks something for it is asked again
        what it has: the task goes on by itself once the model is there.
        """
        async with self.database.connection() as connection:
            tasks = await upkeep_repository.waiting_tasks(connection)
        for workflow_id in dict.fromkeys(workflow for _, workflow in tasks):
            abilities = await self.readiness.of_workflow(workflow_id, asking=False)
            if any(one.able for one in abilities) or not any(one.well for one in abilities):
                continue  # that no worker is healthy is said by the health check
            await self.inventories.doubt([one.worker.id for one in abilities if one.well])
            log.error(
                "tasks_wait_for_an_able_worker",
                tasks=[str(task) for task, workflow in tasks if workflow == workflow_id],
                reason=nobody_can(abilities),
                cure="put there what is missing, or add a worker that has it",
            )

    async def forget_activity(self) -> None:
        async with self.database.transaction() as connection:
            await activity_repository.forget_old_minutes(connection)

    async def forget_inventories(self) -> None:
        await self.inventories.forget_unused()

    async def sweep(self) -> None:
        """Rows without a job get one, finished tasks end, and what no process follows any more is taken up."""
        async with self.database.transaction() as connection:
            await upkeep_repository.drop_stale_reservations(connection)
            await upkeep_repository.drop_failed_jobs(connection)
            orphans = await upkeep_repository.open_submissions_without_job(connection)
            await enqueue(connection, [generate_job(*orphan) for orphan in orphans])
            pilots = await upkeep_repository.running_pilots(connection)
            abandoned = await upkeep_repository.ended_pilots_at_work(connection)
            await enqueue(connection, [pilot_job(pilot) for pilot in pilots])
            running = await upkeep_repository.running_tasks(connection)
            await enqueue(connection, await upkeep_repository.take_failed_orders(connection))
        for pilot_id in abandoned:
            await self.canceller.cancel_pilot(pilot_id)
        for task_id in running:
            await self.top_up(task_id)
            async with self.database.transaction() as connection:
                await finish_task_if_complete(connection, task_id)

    async def top_up(self, task_id: UUID) -> None:
        """Pending chunks without a job get one."""
        async with self.database.transaction() as connection:
            await top_up(connection, task_id)

    async def tidy_workers(self) -> None:
        """A worker that comes back may hold submissions that were given up: they would run for nobody."""
        async with self.database.connection() as connection:
            workers, now = await workers_repository.enabled_workers(connection)
        for worker in (worker for worker in workers if is_selectable(worker, now)):
            client = self.fleet.client(worker)
            try:
                held = (await client.queue()).ids
            except WorkerError:
                continue
            async with self.database.connection() as connection:
                superseded = await upkeep_repository.ended_without_images(connection, worker.id, held)
            if superseded:
                await withdraw_from_worker(client, superseded)

    async def make_partitions(self) -> None:
        async with self.database.transaction() as connection:
            await ensure_partitions(connection, datetime.now(UTC))
            strays = await count_strays(connection)
        if strays:
            log.error("stray_generations", rows=strays, cure="comfylabel partitions repair")


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Run `step` now and then again and again; an absent database or worker only delays it, a fault is told."""
    while True:
        try:
            await step()
        except AWAY as error:
            log.warning("maintenance_delayed", step=step.__name__, reason=str(error))
        except Exception:  # one fault must not end the steps beside it, nor the work under way
            log.exception("maintenance_failed", step=step.__name__)
        await asyncio.sleep(seconds)
