"""SQL on the images of a pilot: rows that are in no batch, no counter and no export."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection
from comfylabel.orchestrator.schemas import Submission
from comfylabel.tasks.forecast import OtherWorker
from comfylabel.tasks.pilot import Sample

_INSERT = """
insert into generations (id, task_id, prompt_id, seed_id, worker_id, submission_id, pilot_id, pilot, state, position,
  chunk, seed_value, batch_index, batch_size, image_uri, thumbnail_uri, tile_uri, preview_uri,
  checksum, bytes, width, height, metadata)
values ($1, $2, $3, $4, $5, $6, $7, true, 'done', $8, $8, $9, 0, 1, $10, $11, $12, $13, $14, $15, $16, $17, $18)
"""


async def insert_image(
    connection: Connection,
    *,
    task_id: UUID,
    pilot_id: UUID,
    sample: Sample,
    submission: Submission,
    image: Sequence[object],
    metadata: dict[str, Any],
) -> None:
    """`image`: keys of image, thumbnail, tile and preview, sha256, bytes, width, height."""
    await connection.execute(
        _INSERT, uuid7(), task_id, sample.prompt.id, sample.seed_id, submission.worker_id, submission.id, pilot_id,
        sample.number - 1, sample.seed, *image, metadata,
    )  # fmt: skip


_FORGET = "delete from generations where pilot_id = $1 and task_id = $2 and pilot"


async def forget_images(connection: Connection, pilot_id: UUID, task_id: UUID) -> None:
    """Of a run that died half-way: the pilot begins again."""
    await connection.execute(_FORGET, pilot_id, task_id)


_ENDED = "select task_id from pilots where id = $1 and state <> 'running'"
_KEPT = """
select key from generations g cross join unnest(array[image_uri, thumbnail_uri, tile_uri, preview_uri]) key
where pilot_id = $1 and pilot
"""


async def task_of_ended(connection: Connection, pilot_id: UUID) -> UUID | None:
    """None while it runs, whoever runs it."""
    task_id: UUID | None = await connection.fetchval(_ENDED, pilot_id)
    return task_id


async def kept_keys(connection: Connection, pilot_id: UUID) -> set[str]:
    return {row["key"] for row in await connection.fetch(_KEPT, pilot_id)}


_PACES = """
select w.id, p.seconds_per_image, w.status = 'HEALTHY' and not exists (
    select from ineligible_workers i where i.worker_id = w.id and i.workflow_id = $1) as is_able
from workers w
left join paces p on p.worker_id = w.id and p.workflow_id = $1 and p.width = $2 and p.height = $3
where w.enabled and w.removed_at is null
order by w.priority desc, w.name
"""


async def paces(connection: Connection, workflow_id: UUID, size: tuple[int, int]) -> list[OtherWorker]:
    """Of the enabled workers, for images of this workflow and of this width and height."""
    return [OtherWorker(*row) for row in await connection.fetch(_PACES, workflow_id, *size)]
