"""Tasks and workers as Prometheus counts them, read from the database: every server process says the same.

Counters are those that orchestrators add up for good, so a restart of theirs loses nothing. Labels hold a worker's name
and a running task's id: as many as there are, never one for each image or prompt.
"""

import asyncio
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from comfylabel.db.pool import Connection, Database
from comfylabel.generations import progress_repository
from comfylabel.generations.progress import Counts
from comfylabel.tasks import repository, speed_repository
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.schemas import Task
from comfylabel.workers import activity_repository
from comfylabel.workers.activity_repository import Totals
from comfylabel.workers.gap_histogram import BOUNDS_MS

# Several that scrape at the same moment cost one reading.
FRESH_SECONDS = 1.0


class Measures:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._metrics: Sequence[Metric] = ()

    async def now(self) -> Sequence[Metric]:
        """Not older than a second."""
        clock = asyncio.get_running_loop().time
        async with self._reading:
            if clock() >= self._read_at + FRESH_SECONDS:
                self._metrics = await self._read()
                self._read_at = clock()
            return self._metrics

    async def _read(self) -> Sequence[Metric]:
        async with self._database.connection() as connection:
            workers = await activity_repository.totals(connection)
            states = await speed_repository.count_by_state(connection)
            running = await _running(connection)
        return [*_of_workers(workers), *_of_tasks(states, running)]


async def _running(connection: Connection) -> list[tuple[Task, Counts]]:
    tasks = await repository.running(connection)
    totals = await progress_repository.totals(connection, [task.id for task in tasks])
    return [(task, totals[task.id].counts) for task in tasks if task.id in totals]


def _of_workers(workers: Sequence[Totals]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "comfylabel_worker_up", "Whether it may be given work: enabled and healthy", labels=["worker"]
    )
    held = GaugeMetricFamily("comfylabel_worker_held", "Our submissions there that have not ended", labels=["worker"])
    queue = GaugeMetricFamily("comfylabel_worker_queue", "All entries of its queue, strangers' too", labels=["worker"])
    images = CounterMetricFamily("comfylabel_worker_images", "Images made", labels=["worker"])
    submissions = CounterMetricFamily("comfylabel_worker_submissions", "Submissions that it ended", labels=["worker"])
    busy = CounterMetricFamily(
        "comfylabel_worker_busy_seconds", "Time that it computed, by its clock", labels=["worker"]
    )
    failures = CounterMetricFamily(
        "comfylabel_worker_failures", "Submissions that ended without their images", labels=["worker", "kind"]
    )
    gaps = HistogramMetricFamily(
        "comfylabel_worker_gap_seconds", "Time between two jobs while work was waiting", labels=["worker"]
    )
    for worker in workers:
        name = [worker.name]
        up.add_metric(name, int(worker.up))
        held.add_metric(name, worker.held)
        queue.add_metric(name, worker.queue)
        images.add_metric(name, worker.images)
        submissions.add_metric(name, worker.submissions)
        busy.add_metric(name, worker.busy)
        for kind, count in worker.failures.items():
            failures.add_metric([*name, kind], count)
        gaps.add_metric(name, _buckets(worker.gaps), worker.gap_seconds)
    yield from (up, held, queue, images, submissions, busy, failures, gaps)


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus wants each bucket to hold those before it too."""
    bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    return [(bound, float(sum(counts[: place + 1]))) for place, bound in enumerate(bounds)]


def _of_tasks(states: dict[str, int], running: Sequence[tuple[Task, Counts]]) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("comfylabel_tasks", "Tasks by state", labels=["state"])
    images = GaugeMetricFamily("comfylabel_task_images", "Images of running tasks", labels=["task", "state"])
    backlog = GaugeMetricFamily("comfylabel_queue_backlog", "Images of running tasks that wait for a worker")
    for state in TaskState:
        tasks.add_metric([state.value], states.get(state.value, 0))
    for task, counts in running:
        for of_image, number in counts.to_json().items():
            if of_image != "total":
                images.add_metric([str(task.id), of_image], number)
    backlog.add_metric([], sum(counts.pending for task, counts in running if task.paused_at is None))
    yield from (tasks, images, backlog)
