"""SQL on generations and their batches that more than one concept needs."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.jobs import enqueue, generate_job
from comfylabel.db.pool import Connection

# A window, not the whole task: pause, cancel and priority act at once, and the queue stays small.
WINDOW_PER_SLOT = 2
# Without a worker the jobs wait for one.
SMALLEST_WINDOW = 4

_WINDOW = """
select t.priority,
       $2 * coalesce((select sum(max_concurrent_jobs) from workers
                      where enabled and removed_at is null), 0) as window_size, j.taken, j.at_work
from tasks t, lateral (
  select count(*) as taken,
         count(*) filter (where dedupe_key <> all ($3::text[]) and not (status = 'queued' and execute_after > now()))
           as at_work
  from pgqueuer
  where entrypoint = 'generate' and status in ('queued', 'picked')
  and starts_with(dedupe_key, t.id::text || ':')) j
where t.id = $1 and t.state = 'RUNNING' and t.paused_at is null
"""

# In the order of the prompts, so that whole batches become ready early. A batch in front whose chunks all have jobs
# accounts for at least one of the jobs taken: `taken + room` batches always hold what is looked for.
_WAITING_CHUNKS = """
select distinct on (b.position, g.chunk) g.prompt_id, g.chunk
from (select id, position from batches
      where task_id = $1 and done + failed + running < total order by task_id, position limit $2) b
join generations g on g.batch_id = b.id and g.state = 'pending'
where not exists (
  select from pgqueuer j where j.status in ('queued', 'picked')
  and j.dedupe_key = $1::uuid::text || ':' || g.prompt_id::text || ':' || g.chunk::text)
order by b.position, g.chunk
limit $3
"""


@dataclass(frozen=True, slots=True)
class Refill:
    """`added` jobs of a window of that size; `is_dry`: every pending chunk has a job, or the task gets none."""

    added: int = 0
    window: int = SMALLEST_WINDOW
    is_dry: bool = True


async def refill(connection: Connection, task_id: UUID, past: Collection[str] = ()) -> Refill:
    """Give the first pending chunks of a running task a job each, up to its window.

    `past`: keys of jobs that no worker has to do with any more; they take no place of the window, and neither do those
    that have failed and wait for another try: or a few that always fail would keep out all that come after them.
    """
    window = await connection.fetchrow(_WINDOW, task_id, WINDOW_PER_SLOT, list(past))
    if window is None:
        return Refill()
    size = max(window["window_size"], SMALLEST_WINDOW)
    room = size - window["at_work"]
    if room <= 0:
        return Refill(window=size, is_dry=False)
    chunks = await connection.fetch(_WAITING_CHUNKS, task_id, window["taken"] + room, room)
    added = await enqueue(
        connection,
        [generate_job(task_id, row["prompt_id"], row["chunk"], window["priority"]) for row in chunks],
    )
    return Refill(added, size, is_dry=len(chunks) < room)


async def top_up(connection: Connection, task_id: UUID) -> int:
    """As `refill`; returns how many jobs were added."""
    return (await refill(connection, task_id)).added
