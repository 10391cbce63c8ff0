"""SQL on how fast workers make images of a workflow at a size, and the size under which that is kept."""

from uuid import UUID

from comfylabel.comfy.graph import Bindings, Graph, native_size
from comfylabel.db.pool import Connection

_LONGEST_SIDE = 2**31 - 1


def size_of(graph: Graph, bindings: Bindings, width: int | None, height: int | None) -> tuple[int, int]:
    """What is asked for: that of the graph where `width` and `height` do not lower it; the images may come out larger.

    0 where the workflow does not say a side, or no honest one.
    """
    native_width, native_height = native_size(graph, bindings)
    return _side(width or native_width), _side(height or native_height)


def _side(pixels: int | None) -> int:
    return pixels if pixels is not None and 0 < pixels <= _LONGEST_SIDE else 0


_OF_WORKFLOW = """
select p.worker_id, p.seconds_per_image from paces p join workers w on w.id = p.worker_id
where w.removed_at is null and p.workflow_id = $1 and p.width = $2 and p.height = $3
"""


async def of_workflow(connection: Connection, workflow_id: UUID, size: tuple[int, int]) -> dict[UUID, float]:
    """Worker id -> its own seconds for such an image, the last fifty counting most."""
    rows = await connection.fetch(_OF_WORKFLOW, workflow_id, *size)
    return {row["worker_id"]: row["seconds_per_image"] for row in rows}
