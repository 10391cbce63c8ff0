"""The steps of submissions as they are written down: one at a time while little happens, many together under load."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comfylabel.db.coalescing import Coalescer
from comfylabel.db.pool import Database
from comfylabel.orchestrator import repository, steps_repository
from comfylabel.orchestrator.schemas import Chunk
from comfylabel.orchestrator.steps_repository import Ended, Image, Sending

# No GPU waits for these two to be written.
_ACCEPTED_PAUSE = 0.02
_IMAGES_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Counted:
    """`is_ours`: the image counts, its submission was not superseded; `has_ended`: that was all of it."""

    is_ours: bool
    has_ended: bool


class Steps:
    """Each call returns once its own row is committed, or raises and has changed nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.chunk: Coalescer[tuple[UUID, int], Chunk | None] = Coalescer(self._chunks)
        self.sent: Coalescer[Sending, datetime | None] = Coalescer(self._sent)
        self.accepted: Coalescer[UUID, bool] = Coalescer(self._accepted, pause=_ACCEPTED_PAUSE)
        self.generated: Coalescer[Ended, bool] = Coalescer(self._generated)
        self.image_done: Coalescer[Image, Counted] = Coalescer(self._images_done, pause=_IMAGES_PAUSE)

    async def _chunks(self, keys: list[tuple[UUID, int]]) -> list[Chunk | None]:
        async with self._database.connection() as connection:
            return await repository.load_chunks(connection, keys)

    async def _sent(self, sendings: list[Sending]) -> list[datetime | None]:
        async with self._database.transaction() as connection:
            return await steps_repository.mark_sent(connection, sendings)

    async def _accepted(self, submission_ids: list[UUID]) -> list[bool]:
        async with self._database.connection() as connection:
            return await steps_repository.mark_accepted(connection, submission_ids)

    async def _generated(self, ended: list[Ended]) -> list[bool]:
        async with self._database.transaction() as connection:
            return await steps_repository.mark_generated(connection, ended)

    async def _images_done(self, images: list[Image]) -> list[Counted]:
        """The last image of a submission ends it, the last one of a batch makes it ready."""
        async with self._database.transaction() as connection:
            done, complete = await steps_repository.images_done(connection, images)
            await repository.make_ready(connection, complete)
            ended = await steps_repository.end_ingested(connection, [image.submission_id for image in images])
        return [Counted(is_ours, image.submission_id in ended) for image, is_ours in zip(images, done, strict=True)]
