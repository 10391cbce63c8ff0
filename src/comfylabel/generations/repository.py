"""SQL on generations and their batches that more than one concept needs."""

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
                      where enabled and removed_at is null), 0) as window_size,
       (select count(*) from pgqueuer
        where entrypoint = 'generate' and status in ('queued', 'picked')
        and starts_with(dedupe_key, $1::uuid::text || ':')) as taken
from tasks t where t.id = $1 and t.state = 'RUNNING' and t.paused_at is null
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


async def top_up(connection: Connection, task_id: UUID, *, ending: int = 0) -> int:
    """Give the first pending chunks of a running task a job each, up to its window; returns how many were added.

    `ending`: how many of the jobs taken are just about to end, the caller's own one.
    """
    window = await connection.fetchrow(_WINDOW, task_id, WINDOW_PER_SLOT)
    if window is None:
        return 0
    taken: int = window["taken"]
    room = max(window["window_size"], SMALLEST_WINDOW) - taken + ending
    if room <= 0:
        return 0
    chunks = await connection.fetch(_WAITING_CHUNKS, task_id, taken + room, room)
    return await enqueue(
        connection,
        [generate_job(task_id, row["prompt_id"], row["chunk"], window["priority"]) for row in chunks],
    )
