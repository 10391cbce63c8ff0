"""SQL on the images of a pilot: rows that are in no batch, no counter and no export."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection
from comfylabel.orchestrator.schemas import Submission
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


# Nobody sleeps longer than a day and goes on; one that is done has a row for every key that it can have.
_ENDED_IN_VAIN = """
select id from pilots where state in ('failed', 'cancelled') and ended_at > now() - interval '1 day' order by id
"""


async def ended_in_vain(connection: Connection) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(_ENDED_IN_VAIN)]


async def kept_keys(connection: Connection, pilot_id: UUID) -> set[str]:
    return {row["key"] for row in await connection.fetch(_KEPT, pilot_id)}
