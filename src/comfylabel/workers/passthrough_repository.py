"""SQL that tells our own submissions on a worker from a stranger's."""

from collections.abc import Iterable
from uuid import UUID

from comfylabel.db.pool import Connection

_OURS = "select id, task_id from submissions where worker_id = $1 and id = any($2)"


async def ours(connection: Connection, worker_id: UUID, identities: Iterable[str]) -> dict[str, UUID]:
    """Id -> task, of those that we have sent to that worker."""
    ids = [UUID(identity) for identity in identities if _is_canonical(identity)]
    if not ids:
        return {}
    return {str(row["id"]): row["task_id"] for row in await connection.fetch(_OURS, worker_id, ids)}


def _is_canonical(text: str) -> bool:
    """As we write them; a stranger's may be any text."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
