"""SQL on who may run a workflow."""

from datetime import datetime
from uuid import UUID

from comfylabel.db.pool import Connection
from comfylabel.workers.repository import list_all
from comfylabel.workers.schemas import Worker

# By the clock that wrote when a worker was checked: that of this process may go differently.
_NOW = "select now()"


async def workers(connection: Connection) -> tuple[list[Worker], datetime]:
    """All, and what time it is."""
    now: datetime = await connection.fetchval(_NOW)
    return await list_all(connection), now


# A refusal is believed as long as the dispatcher believes it.
_REFUSALS = """
select worker_id, reason from ineligible_workers where workflow_id = $1 and created_at > now() - interval '5 minutes'
"""


async def refusals(connection: Connection, workflow_id: UUID) -> dict[UUID, str]:
    """Worker id -> what it said when it refused a submission."""
    return {row["worker_id"]: row["reason"] for row in await connection.fetch(_REFUSALS, workflow_id)}
