"""SQL on how many tasks there are, and how fast they are made: what an orchestrator noted minute by minute, and what a
pilot foretold.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.tasks.eta import MOST_MINUTES, RECENT_MINUTES, Minute, Range


@dataclass(frozen=True, slots=True)
class Seen:
    minutes: list[Minute] = field(default_factory=list)
    forecast: Range | None = None


# A worker that may go on: of the others nothing more will come.
_ABLE = """
w.enabled and w.removed_at is null and w.status = 'HEALTHY' and w.last_checked_at > now() - interval '90 seconds'
"""
# `seconds`: how much of the minute the task has run, at least one. A run that was begun again begins its first minute.
_MINUTES = f"""
select m.task_id, (extract(epoch from date_trunc('minute', now()) - m.minute) / 60)::int as ago,
  greatest(1, extract(epoch from least(now(), m.minute + interval '1 minute')
    - greatest(m.minute, least(t.started_at, now()))))::float8 as seconds,
  sum(m.images)::bigint as images, coalesce(sum(m.images) filter (where {_ABLE}), 0)::bigint as able_images,
  coalesce(sum(m.submissions) filter (where {_ABLE}), 0)::bigint as able_submissions,
  sum(m.busy_seconds) as busy
from worker_minutes m join workers w on w.id = m.worker_id join tasks t on t.id = m.task_id
where m.task_id = any($1) and m.minute >= date_trunc('minute', now()) - make_interval(mins => $2)
  and m.minute >= date_trunc('minute', t.started_at)
group by m.task_id, m.minute, t.started_at order by m.minute
"""
_FORECASTS = """
select distinct on (p.task_id) p.task_id, p.forecast -> 'eta_seconds' as eta from pilots p
join tasks t on t.id = p.task_id and t.edits = p.edits
where p.task_id = any($1) and p.state = 'done' order by p.task_id, p.id desc
"""


async def seen(connection: Connection, task_ids: Sequence[UUID]) -> dict[UUID, Seen]:
    """Of running tasks."""
    if not task_ids:
        return {}
    minutes: defaultdict[UUID, list[Minute]] = defaultdict(list)
    for task_id, *values in await connection.fetch(_MINUTES, task_ids, MOST_MINUTES):
        minutes[task_id].append(Minute(*values))
    forecasts = {row["task_id"]: row["eta"] for row in await connection.fetch(_FORECASTS, task_ids)}
    return {task: Seen(minutes[task], _range(forecasts.get(task))) for task in task_ids}


_MADE_LATELY = """
select worker_id, (extract(epoch from date_trunc('minute', now()) - minute) / 60)::int as ago, images
from worker_minutes
where task_id = $1 and minute >= date_trunc('minute', now()) - make_interval(mins => $2) and images > 0
"""


async def made_lately(connection: Connection, task_id: UUID) -> dict[UUID, dict[int, int]]:
    """Worker id -> minutes ago -> images of the task."""
    made: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
    for worker_id, ago, images in await connection.fetch(_MADE_LATELY, task_id, RECENT_MINUTES):
        made[worker_id][ago] = images
    return dict(made)


_BY_STATE = "select state, count(*) as tasks from tasks group by state"


async def count_by_state(connection: Connection) -> dict[str, int]:
    return {row["state"]: row["tasks"] for row in await connection.fetch(_BY_STATE)}


def _range(eta: dict[str, int] | None) -> Range | None:
    return Range(eta["low"], eta["high"]) if eta else None
