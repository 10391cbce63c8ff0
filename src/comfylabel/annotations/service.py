"""Rules of labelling: what may be judged, which answer counts, and what an annotator sees."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal, Role
from comfylabel.annotations import batches_repository, repository
from comfylabel.annotations.answer import Answer, Kind, check_slot_order, read_answer
from comfylabel.annotations.batches import Page, Position, SignUrl, cut_page
from comfylabel.annotations.overlap import Settled, Standing, settle
from comfylabel.annotations.schemas import (
    LabelledTask,
    NewAnnotation,
    ReadyBatch,
    Stored,
    StoredAnnotation,
)
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database, Record
from comfylabel.errors import Conflict, InvalidInput, NotFound, WrongState

# Images arrive in RUNNING and stay after the end, however it came about.
LABELLED_STATES = frozenset({"RUNNING", "DONE", "FAILED"})

_SHOWN_AS_ADDRESS = {"thumbnail": "thumbnail_uri", "preview": "preview_uri", "fullres": "image_uri"}
_HIDDEN_WHEN_BLIND = ("seed", "batch_index", "batch_size", "worker_id", "worker", "submission_id", "metadata")


class AnnotationService:
    def __init__(self, database: Database, ab_tests: AbTestService, sign: SignUrl) -> None:
        self._database = database
        self._ab_tests = ab_tests
        self.sign = sign

    async def submit(self, principal: Principal, given: NewAnnotation) -> Stored:
        """Store one answer, or nothing: whatever is refused leaves every row as it was."""
        try:
            async with self._database.transaction() as connection:
                return await self._submit(connection, principal.user_id, given)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != "annotations_client":
                raise
            raise _client_id_reused(given) from error

    async def _submit(self, connection: Connection, user_id: UUID, given: NewAnnotation) -> Stored:
        task, batch = await _lock(connection, given)
        stored = await repository.answers_of(connection, batch.id)
        mine = next((answer for answer in stored if answer.user_id == user_id), None)
        if await _is_repeated(connection, user_id, mine, given):
            assert mine is not None
            return Stored(mine.id, "repeated", mine.surplus)

        answer = _read(given, batch)
        chosen, rejected = await _judged_images(connection, batch, answer)
        annotation_id = mine.id if mine else uuid7()
        settled = settle(_standings(stored, annotation_id, answer.kind), task.overlap)
        surplus = answer.kind is not Kind.SKIP and annotation_id not in settled.counted
        variant = await self._ab_tests.variant_of(connection, task.ab_test_id, user_id) if task.ab_test_id else None
        filled = repository.Filled(
            answer, chosen, rejected, surplus, given.slot_order, variant, given.client_id, given.elapsed_ms
        )
        if mine:
            await repository.replace(connection, uuid7(), mine.id, filled)
        else:
            await repository.insert(connection, annotation_id, batch, user_id, filled)
        await _apply(connection, batch, stored, settled, annotation_id)
        return Stored(annotation_id, "stored", surplus)

    async def browse(self, principal: Principal, task_id: UUID, cursor: str | None, limit: int) -> tuple[Page, bool]:
        """A page, and whether its seeds are hidden from this person."""
        position = Position.from_cursor(cursor)
        async with self._database.connection() as connection:
            task = await repository.task(connection, task_id)
            if task is None:
                raise NotFound(f"There is no task {task_id}.")
            rows = await batches_repository.page(connection, task_id, principal.user_id, position, limit + 1)
        return cut_page(rows, position, limit), _hides(principal, blind=task.blind)

    async def labelling_tasks(
        self, principal: Principal, position: tuple[datetime, UUID] | None, limit: int
    ) -> list[dict[str, Any]]:
        async with self._database.connection() as connection:
            rows = await repository.labelling_tasks(connection, principal.user_id, position, limit)
        return [_labelling_item(principal, row) for row in rows]

    async def labelling_task(self, principal: Principal, task_id: UUID) -> dict[str, Any]:
        async with self._database.connection() as connection:
            row = await repository.labelling_task(connection, principal.user_id, task_id)
        if row is None:
            raise NotFound(f"There is no task {task_id}.")
        return _labelling_item(principal, row)

    async def generation(self, principal: Principal, generation_id: UUID) -> dict[str, Any]:
        async with self._database.connection() as connection:
            row = await repository.generation(connection, generation_id)
        if row is None:
            raise NotFound(f"There is no generation {generation_id}.")
        shown = dict(row)
        for name, column in _SHOWN_AS_ADDRESS.items():
            key = shown.pop(column)
            shown[name] = self.sign(key) if key else None
        if _hides(principal, blind=shown.pop("blind")):
            shown.update(dict.fromkeys(_HIDDEN_WHEN_BLIND))
        return shown


def _labelling_item(principal: Principal, row: Record) -> dict[str, Any]:
    item = dict(row)
    if _hides(principal, blind=row["blind"]):
        item["workflow"] = None
    return item


def _hides(principal: Principal, *, blind: bool) -> bool:
    return blind and principal.role is Role.ANNOTATOR


async def _lock(connection: Connection, given: NewAnnotation) -> tuple[LabelledTask, ReadyBatch]:
    task = await repository.hold_task(connection, given.task_id)
    if task is None:
        raise NotFound(f"There is no task {given.task_id}.")
    if task.state not in LABELLED_STATES:
        raise WrongState(f"This task is {task.state}: nothing in it can be judged before it runs.")
    batch = await repository.lock_batch(connection, given.batch_id)
    if batch is None:
        raise NotFound(f"There is no batch {given.batch_id}.")
    if batch.task_id != task.id:
        raise InvalidInput(f"batch_id {batch.id} is a batch of another task.", code="not_in_task")
    return task, batch


async def _is_repeated(
    connection: Connection, user_id: UUID, mine: StoredAnnotation | None, given: NewAnnotation
) -> bool:
    if given.client_id is None:
        return False
    if mine and mine.client_id == given.client_id:
        return True
    if mine and await repository.client_id_replaced(connection, mine.id, given.client_id):
        return True
    if await repository.client_id_used_elsewhere(connection, user_id, given.client_id, given.batch_id):
        raise _client_id_reused(given)
    return False


def _client_id_reused(given: NewAnnotation) -> Conflict:
    return Conflict(
        f"client_id {given.client_id} was the answer to another batch; give each answer its own.",
        code="client_id_reused",
    )


def _read(given: NewAnnotation, batch: ReadyBatch) -> Answer:
    if batch.candidates is None:
        raise Conflict("This batch is not ready: its images are still being made.", code="batch_not_ready")
    answer = read_answer(
        kind=given.kind,
        chosen_index=given.chosen_index,
        rejected_index=given.rejected_index,
        spam=given.spam,
        candidates=batch.candidates,
    )
    check_slot_order(given.slot_order, batch.candidates)
    return answer


async def _judged_images(connection: Connection, batch: ReadyBatch, answer: Answer) -> tuple[UUID | None, UUID | None]:
    """The answer names images, not places in a list: that is what an export reads."""
    indexes = [index for index in (answer.chosen_index, answer.rejected_index) if index is not None]
    if not indexes:
        return None, None
    found = await repository.candidates(connection, batch.id, indexes)
    for index in indexes:
        if index not in found:
            raise Conflict(f"Image {index} of this batch is missing: it cannot be judged.", code="batch_not_ready")
    return found[indexes[0]], found[indexes[1]] if len(indexes) > 1 else None


def _standings(stored: Sequence[StoredAnnotation], annotation_id: UUID, kind: Kind) -> list[Standing]:
    """The answers as they will stand, the new one with them; it waits behind all others."""
    mine = next((answer for answer in stored if answer.id == annotation_id), None)
    counted_before = mine is not None and mine.kind is not Kind.SKIP and not mine.surplus
    others = [Standing(a.id, a.kind, not a.surplus) for a in stored if a.id != annotation_id]
    return [*others, Standing(annotation_id, kind, counted_before)]


async def _apply(
    connection: Connection,
    batch: ReadyBatch,
    stored: Sequence[StoredAnnotation],
    settled: Settled,
    annotation_id: UUID,
) -> None:
    """What the new answer changed for the other answers and for the batch: mostly nothing."""
    promoted = [a.id for a in stored if a.surplus and a.id in settled.counted and a.id != annotation_id]
    if promoted:
        await repository.count_now(connection, promoted)
    if settled.spam != batch.closed:
        await repository.set_closed(connection, batch.id, closed=settled.spam)
