"""SQL on what workers have done, as the orchestrators noted it, and what they do now."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.workers.gap_histogram import BOUNDS_MS

GAP_COLUMNS = tuple(f"gaps_{bound}" for bound in (*BOUNDS_MS, "more"))


@dataclass(frozen=True, slots=True)
class Activity:
    """`window`: seconds that were looked at, since the worker is known; `active`: those since it first did something
    in them; `busy`: how many of them it computed. `failures` and `gaps` are of all times.
    """

    id: UUID
    name: str
    status: str
    enabled: bool
    reason: str | None
    current_queue_len: int
    max_concurrent_jobs: int
    held: int
    submissions: int
    images: int
    busy: float
    window: float
    active: float
    gap_seconds: float
    gaps: tuple[int, ...]
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def utilisation(self) -> float | None:
        """The share of the time that it computed; None where it does not say how long it did."""
        if self.submissions and not self.busy:
            return None
        return min(1.0, self.busy / self.window)

    @property
    def images_per_second(self) -> float | None:
        return self.images / self.active if self.images else None


# What runs now is work too, long before it ends: since it was accepted, or since the last minute of which something
# is known, whichever is later. Of a worker that does not answer nobody knows. What is older than two hours is kept by
# the hour (`forget_old_minutes`), so a longer time begins with a full one.
_ALL = f"""
with since as (
  select greatest($2::timestamptz, date_trunc(
    case when $1::int > 120 then 'hour' else 'minute' end, now() - make_interval(mins => $1::int))) as moment
)
select w.id, w.name, w.enabled, w.reason, w.current_queue_len, w.max_concurrent_jobs,
  case when w.last_checked_at > now() - interval '90 seconds' then w.status else 'UNHEALTHY' end as status,
  coalesce(h.held, 0) as held, coalesce(m.submissions, 0) as submissions, coalesce(m.images, 0) as images,
  coalesce(m.busy, 0) + case when w.status = 'HEALTHY' and h.running_since is not null
    then extract(epoch from now() - greatest(h.running_since, m.last, since.moment)) else 0 end::float8 as busy,
  greatest(1, extract(epoch from now() - greatest(since.moment, w.created_at)))::float8 as window,
  greatest(1, extract(epoch from now() - greatest(since.moment, m.first, w.created_at)))::float8 as active,
  coalesce(t.gap_seconds, 0) as gap_seconds,
  {", ".join(f"coalesce(t.{column}, 0) as {column}" for column in GAP_COLUMNS)}
from workers w cross join since
left join worker_totals t on t.worker_id = w.id
left join (
  select worker_id, count(*)::int as held, min(accepted_at) filter (where state = 'accepted') as running_since
  from submissions where ended_at is null group by worker_id
) h on h.worker_id = w.id
left join lateral (
  select sum(submissions)::bigint as submissions, sum(images)::bigint as images,
    sum(case when minute >= since.moment then busy_seconds  -- of the first minute no more than lies in the window
      else least(busy_seconds, 60 - extract(epoch from since.moment - minute)) end) as busy,
    min(minute) as first, max(minute) as last
  from worker_minutes where worker_id = w.id and minute >= date_trunc('minute', since.moment)
) m on true
where w.removed_at is null order by w.name
"""
_FAILURES = "select worker_id, kind, failures from worker_failures order by worker_id, failures desc, kind"


async def of_all(connection: Connection, minutes: int, not_before: datetime | None = None) -> list[Activity]:
    """Of every worker, by name, in the last so many minutes, or since a later moment."""
    failures = await _failures(connection)
    return [_activity(dict(row), failures[row["id"]]) for row in await connection.fetch(_ALL, minutes, not_before)]


async def _failures(connection: Connection) -> defaultdict[UUID, dict[str, int]]:
    """By worker and kind, of all times."""
    found: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in await connection.fetch(_FAILURES):
        found[row["worker_id"]][row["kind"]] = row["failures"]
    return found


def _activity(values: dict[str, Any], failures: dict[str, int]) -> Activity:
    gaps = tuple(values.pop(column) for column in GAP_COLUMNS)
    return Activity(**values, gaps=gaps, failures=failures)


@dataclass(frozen=True, slots=True)
class TaskWork:
    """What one worker did for one task."""

    images: int
    failures: int


_OF_TASK = """
select worker_id, sum(images)::bigint as images, sum(failures)::bigint as failures
from worker_minutes where task_id = $1 group by worker_id
"""


async def of_task(connection: Connection, task_id: UUID) -> dict[UUID, TaskWork]:
    """By worker; of the last seven days."""
    rows = await connection.fetch(_OF_TASK, task_id)
    return {row["worker_id"]: TaskWork(row["images"], row["failures"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a worker since it was added, and `up`, `held` and `queue` as they are now: what Prometheus asks for."""

    name: str
    up: bool
    held: int
    queue: int
    submissions: int
    images: int
    busy: float
    gap_seconds: float
    gaps: tuple[int, ...]
    failures: dict[str, int]


_TOTALS = f"""
select w.id, w.name, w.enabled and w.status = 'HEALTHY' and w.last_checked_at > now() - interval '90 seconds' as up,
  coalesce(h.held, 0) as held, w.current_queue_len as queue,
  coalesce(t.submissions, 0) as submissions, coalesce(t.images, 0) as images,
  coalesce(t.busy_seconds, 0) as busy, coalesce(t.gap_seconds, 0) as gap_seconds,
  {", ".join(f"coalesce(t.{column}, 0) as {column}" for column in GAP_COLUMNS)}
from workers w left join worker_totals t on t.worker_id = w.id
left join (
  select worker_id, count(*)::int as held from submissions where ended_at is null group by worker_id
) h on h.worker_id = w.id
where w.removed_at is null order by w.name
"""


async def totals(connection: Connection) -> list[Totals]:
    failures = await _failures(connection)
    found = []
    for row in await connection.fetch(_TOTALS):
        values: dict[str, Any] = dict(row)
        gaps = tuple(values.pop(column) for column in GAP_COLUMNS)
        found.append(Totals(gaps=gaps, failures=failures[values.pop("id")], **values))
    return found
