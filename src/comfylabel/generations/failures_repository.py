"""SQL on how often submissions of a task failed, by kind."""

from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.generations.failures import FailureKind, TaskFailure

# Before anything else of the transaction: counting refers to the task and the worker, and whoever has those locked, to
# cancel or to drain, waits for the submissions and images that this transaction holds.
_LOCK_TASK = "select true from tasks where id = $1 for key share"
_LOCK_WORKER = "select true from workers where id = $1 for key share"


async def lock(connection: Connection, task_id: UUID, worker_id: UUID) -> None:
    """Let `count` be the last statement of this transaction, and this the first."""
    await connection.execute(_LOCK_TASK, task_id)
    await connection.execute(_LOCK_WORKER, worker_id)


_COUNT = """
insert into task_failures (task_id, kind, failures, last_message, last_worker_id) values ($1, $2, 1, $3, $4)
on conflict (task_id, kind) do update set failures = task_failures.failures + 1,
  last_message = excluded.last_message, last_worker_id = excluded.last_worker_id, last_at = now()
"""


async def count(connection: Connection, task_id: UUID, kind: FailureKind, message: str, worker_id: UUID) -> None:
    """In the transaction that ends the submission, once it has: so each is counted once, or not at all."""
    await connection.execute(_COUNT, task_id, kind.value, message, worker_id)


_OF_TASK = """
select kind, failures, last_message, last_at from task_failures where task_id = $1 order by failures desc, kind
"""


async def of_task(connection: Connection, task_id: UUID) -> list[TaskFailure]:
    """The most frequent first."""
    return [TaskFailure(*row) for row in await connection.fetch(_OF_TASK, task_id)]
