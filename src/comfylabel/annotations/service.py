"""Rules of labelling: what may be judged, which answer counts, and what an annotator sees."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal, Role
from comfylabel.annotations import (
    answers_repository,
    batches_repository,
    first_answer_repository,
    leases_repository,
    repository,
)
from comfylabel.annotations.answer import Answer, Kind, check_slot_order, read_answer
from comfylabel.annotations.answers_repository import Filled, Turn
from comfylabel.annotations.batches import Page, Position, SignUrl, cut_page
from comfylabel.annotations.deal import deal
from comfylabel.annotations.overlap import Settled, Standing, settle
from comfylabel.annotations.schemas import Held, LabelledBatch, NewAnnotation, Stored, StoredAnnotation, Undo
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database, Record
from comfylabel.errors import Conflict, Forbidden, InvalidInput, NotFound, WrongState

# Images arrive in RUNNING and stay after the end, however it came about.
LABELLED_STATES = frozenset({"RUNNING", "DONE", "FAILED"})

# Candidates of a batch that was not looked at yet: an index beyond its own names no image of it.
_MANY = 2**31

_SHOWN_AS_ADDRESS = {"thumbnail": "thumbnail_uri", "preview": "preview_uri", "fullres": "image_uri"}
_HIDDEN_WHEN_BLIND = ("seed", "batch_index", "batch_size", "worker_id", "worker", "submission_id", "metadata")


class AnnotationService:
    """`came_back` hears of each task in which a place may have fallen free."""

    def __init__(
        self,
        database: Database,
        ab_tests: AbTestService,
        sign: SignUrl,
        came_back: Callable[[UUID], object] = lambda _task_id: None,
    ) -> None:
        self._database = database
        self._ab_tests = ab_tests
        self._came_back = came_back
        self.sign = sign

    async def submit(self, principal: Principal, given: NewAnnotation | Undo) -> Stored:
        """Store one answer, take one back, or neither: whatever is refused leaves every row as it was."""
        if given.user_id not in (None, principal.user_id):
            raise Forbidden("This answer was given by somebody else: only they can send it.", code="other_user")
        try:
            if ordinary := await self._store_ordinary(principal.user_id, given):
                return ordinary
            async with self._database.transaction() as connection:
                if isinstance(given, Undo):
                    task_id, stored = await _undo(connection, principal.user_id, given)
                else:
                    task_id, stored = given.task_id, await self._store(connection, principal.user_id, given)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != "annotations_client":
                raise
            raise _client_id_reused(given) from error
        if stored.frees:
            self._came_back(task_id)
        return stored

    async def _store_ordinary(self, user_id: UUID, given: NewAnnotation | Undo) -> Stored | None:
        """Nearly every answer; None where there is more to weigh, and nothing is stored."""
        answer = _ordinary(given, user_id)
        if answer is None:
            return None
        assert isinstance(given, NewAnnotation)
        annotation_id = uuid7()
        async with self._database.connection() as connection:
            stored = await first_answer_repository.store(
                connection, annotation_id, user_id, given=given, answer=answer, labelled_states=LABELLED_STATES
            )
        return Stored(annotation_id, "stored", surplus=False) if stored else None

    async def _store(self, connection: Connection, user_id: UUID, given: NewAnnotation) -> Stored:
        held = await answers_repository.hold(
            connection,
            task_id=given.task_id,
            batch_id=given.batch_id,
            user_id=user_id,
            client_id=given.client_id,
            images=(given.chosen_index, given.rejected_index),
        )
        held, batch = _judged(held, given)
        if earlier := _sent_before(held, given):
            return earlier

        answer = _read(given, batch, user_id)
        chosen, rejected = _judged_images(answer, held)
        mine = next((stored for stored in held.answers if stored.user_id == user_id), None)
        annotation_id = mine.id if mine else uuid7()
        settled = settle(_standings(held.answers, annotation_id, answer.kind), held.task.overlap)
        surplus = answer.kind is not Kind.SKIP and annotation_id not in settled.counted
        variant = await self._variant(connection, held, user_id)
        filled = Filled(answer, chosen, rejected, surplus, given.slot_order, variant, given.client_id, given.elapsed_ms)
        turn = _turn(held, batch, user_id, settled)
        if mine:
            await answers_repository.replace(connection, turn, mine.id, uuid7(), filled)
        else:
            await answers_repository.insert(connection, turn, annotation_id, filled)
        await _promote(connection, held.answers, settled, but=annotation_id)
        frees = answer.kind is Kind.SKIP or turn.counted < 0 or (batch.closed and not turn.closed)
        return Stored(annotation_id, "stored", surplus, frees)

    async def _variant(self, connection: Connection, held: Held, user_id: UUID) -> str | None:
        """Of the task's A/B test; assigned by the person's first answer, if not before."""
        if held.variant is not None or held.task.ab_test_id is None:
            return held.variant
        # The person's row before their assignment, as `next` takes them: the other order would be a deadlock.
        await leases_repository.enter(connection, held.task.id, user_id, LABELLED_STATES)
        return await self._ab_tests.variant_of(connection, held.task.ab_test_id, user_id)

    async def browse(self, principal: Principal, task_id: UUID, cursor: str | None, limit: int) -> tuple[Page, bool]:
        """A page, and whether its seeds are hidden from this person."""
        position = Position.from_cursor(cursor)
        async with self._database.connection() as connection:
            task = await repository.task(connection, task_id)
            if task is None:
                raise NotFound(f"There is no task {task_id}.")
            rows = await batches_repository.page(connection, task_id, principal.user_id, position, limit + 1)
        return cut_page(rows, position, limit), hides(principal, blind=task.blind)

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
        if hides(principal, blind=shown.pop("blind")):
            shown.update(dict.fromkeys(_HIDDEN_WHEN_BLIND))
        return shown


def _labelling_item(principal: Principal, row: Record) -> dict[str, Any]:
    item = dict(row)
    if hides(principal, blind=row["blind"]):
        item["workflow"] = None
    return item


def hides(principal: Principal, *, blind: bool) -> bool:
    return blind and principal.role is Role.ANNOTATOR


def _ordinary(given: NewAnnotation | Undo, user_id: UUID) -> Answer | None:
    """A choice or a tie in which nothing is wrong, as far as that can be said without the batch."""
    if isinstance(given, Undo):
        return None
    try:
        answer = _answer(given, _MANY)
    except InvalidInput:
        return None
    order = given.slot_order
    was_dealt = order is None or order == deal(given.batch_id, user_id, len(order))
    return answer if answer.kind in (Kind.CHOICE, Kind.TIE) and was_dealt else None


def _judged(held: Held | None, given: NewAnnotation) -> tuple[Held, LabelledBatch]:
    if held is None:
        raise NotFound(f"There is no task {given.task_id}.")
    if held.task.state not in LABELLED_STATES:
        raise WrongState(f"This task is {held.task.state}: nothing in it can be judged before it runs.")
    if held.batch is None:
        raise NotFound(f"There is no batch {given.batch_id}.")
    if held.batch.task_id != held.task.id:
        raise InvalidInput(f"batch_id {held.batch.id} is a batch of another task.", code="not_in_task")
    return held, held.batch


def _sent_before(held: Held, given: NewAnnotation) -> Stored | None:
    """What became of this answer when it came before; it may have been replaced or undone since."""
    for use in held.uses:
        if use.undo or use.batch_id != given.batch_id:
            raise _client_id_reused(given)
        surplus = any(stored.surplus for stored in held.answers if stored.id == use.annotation_id)
        return Stored(use.annotation_id, "repeated", surplus)
    return None


def _client_id_reused(given: NewAnnotation | Undo) -> Conflict:
    return Conflict(
        f"client_id {given.client_id} was used before, for something else; give each answer and each undo its own.",
        code="client_id_reused",
    )


def _read(given: NewAnnotation, batch: LabelledBatch, user_id: UUID) -> Answer:
    if batch.candidates is None:
        raise Conflict("This batch is not ready: its images are still being made.", code="batch_not_ready")
    answer = _answer(given, batch.candidates)
    check_slot_order(given.slot_order, deal(batch.id, user_id, batch.candidates))
    return answer


def _answer(given: NewAnnotation, candidates: int) -> Answer:
    return read_answer(
        kind=given.kind,
        chosen_index=given.chosen_index,
        rejected_index=given.rejected_index,
        spam=given.spam,
        candidates=candidates,
    )


def _judged_images(answer: Answer, held: Held) -> tuple[UUID | None, UUID | None]:
    """The answer names images, not places in a list: that is what an export reads."""
    for index in (answer.chosen_index, answer.rejected_index):
        if index is not None and index not in held.images:
            raise Conflict(f"Image {index} of this batch is missing: it cannot be judged.", code="batch_not_ready")
    images = {None: None} | held.images
    return images[answer.chosen_index], images[answer.rejected_index]


def _standings(stored: Sequence[StoredAnnotation], annotation_id: UUID, kind: Kind) -> list[Standing]:
    """The answers as they will stand, the new one with them; it waits behind all others."""
    counted_before = any(answer.counts for answer in stored if answer.id == annotation_id)
    return [*_others(stored, annotation_id), Standing(annotation_id, kind, counted_before)]


def _others(stored: Sequence[StoredAnnotation], annotation_id: UUID) -> list[Standing]:
    return [Standing(answer.id, answer.kind, answer.counts) for answer in stored if answer.id != annotation_id]


def _turn(held: Held, batch: LabelledBatch, user_id: UUID, settled: Settled) -> Turn:
    counted_before = sum(answer.counts for answer in held.answers)
    return Turn(batch, user_id, counted=len(settled.counted) - counted_before, closed=settled.spam)


async def _promote(connection: Connection, stored: Sequence[StoredAnnotation], settled: Settled, *, but: UUID) -> None:
    """The answers of others that waited and count now: mostly none."""
    promoted = [answer.id for answer in stored if answer.surplus and answer.id in settled.counted and answer.id != but]
    if promoted:
        await answers_repository.count_now(connection, promoted)


async def _undo(connection: Connection, user_id: UUID, given: Undo) -> tuple[UUID, Stored]:
    """The person's place goes to whoever has waited longest for it; where nobody has, they hold the batch again."""
    past = await answers_repository.find(connection, user_id, given.undo_of)
    if past is None:
        raise NotFound(f"You have given no answer {given.undo_of}.", code="nothing_to_undo")
    held = await answers_repository.hold(
        connection, task_id=past.task_id, batch_id=past.batch_id, user_id=user_id, client_id=given.client_id
    )
    assert held is not None, "foreign keys hold the task and the batch of an answer"
    assert held.batch is not None
    if any(not use.undo or use.client_id != given.undo_of for use in held.uses):
        raise _client_id_reused(given)
    mine = next((a for a in held.answers if (a.user_id, a.client_id) == (user_id, given.undo_of)), None)
    if mine is None:
        return past.task_id, await _undone_before(connection, user_id, given)

    settled = settle(_others(held.answers, mine.id), held.task.overlap)
    turn = _turn(held, held.batch, user_id, settled)
    place_is_free = not turn.closed and held.batch.taken + turn.counted < held.task.overlap
    await answers_repository.withdraw(
        connection, turn, mine.id, uuid7(), undone_by=given.client_id, lease=place_is_free
    )
    await _promote(connection, held.answers, settled, but=mine.id)
    return past.task_id, Stored(mine.id, "stored", surplus=False, frees=True)


async def _undone_before(connection: Connection, user_id: UUID, given: Undo) -> Stored:
    past = await answers_repository.find(connection, user_id, given.undo_of)
    if past is None or not past.undone:
        raise NotFound(
            f"The answer {given.undo_of} was replaced by a later one: that is the one to undo.",
            code="nothing_to_undo",
        )
    return Stored(past.annotation_id, "repeated", surplus=False)
