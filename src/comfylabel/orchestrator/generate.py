"""`generate`: the life of one planned submission of a frozen task, from the job to images that can be labelled.

It reads the rows first, whatever happened before: killed anywhere and begun again, it goes on from what is written.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.graph import Bindings
from comfylabel.comfy.schemas import HistoryEntry, OutputImage
from comfylabel.db.ids import uuid7_time
from comfylabel.db.pool import AWAY, Database
from comfylabel.generations import failures_repository
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import repository
from comfylabel.orchestrator.activity import Recorder
from comfylabel.orchestrator.fault_points import reached
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.ingest import BrokenImage, Ingester, StoredImage
from comfylabel.orchestrator.recipes import Recipe, Recipes
from comfylabel.orchestrator.refills import Refills
from comfylabel.orchestrator.retry_policy import Failure, FailureKind, decide
from comfylabel.orchestrator.schemas import Chunk, MissingImage, Plan, Submission, SubmissionFailed, Superseded
from comfylabel.orchestrator.silence import kind_of
from comfylabel.orchestrator.steps import Counted, Steps
from comfylabel.orchestrator.steps_repository import Image
from comfylabel.orchestrator.submission_life import SubmissionLife
from comfylabel.storage.keys import image_key
from comfylabel.storage.store import StoreUnavailable

log = structlog.get_logger()

# The image is still on the worker: fetching it again is cheap, making it again is not.
FETCHES = 3
_PAUSE_AWAY = 1.0
_PAUSE_STORE = 5.0


@dataclass(frozen=True, slots=True)
class Generator:
    """What `generate` works with."""

    database: Database
    steps: Steps
    refills: Refills
    life: SubmissionLife
    fleet: Fleet
    ingester: Ingester
    recipes: Recipes
    recorder: Recorder
    # Called with a worker that refused what it was thought to have: it is asked again what it has.
    doubt: Callable[[UUID], None] = lambda _: None

    async def generate(self, task_id: UUID, prompt_id: UUID, number: int) -> None:
        """Bring the images of chunk `number`; returns when they are done, given up, or not wanted any more."""
        while (chunk := await self._wanted(prompt_id, number)) is not None:
            try:
                if await self._bring(chunk):
                    break
            except SubmissionFailed as failed:
                self.refills.made_in_vain(task_id, prompt_id, number)
                await self._note_failure(chunk, failed)
                self.life.gave_back(failed.ended)
            except Superseded:
                continue
            except AWAY as error:
                log.warning("generate_paused", reason=f"the database does not answer: {error}")
                await asyncio.sleep(_PAUSE_AWAY)
        await reached("before_job_end")
        await self.refills.ended(task_id, prompt_id, number)

    async def _bring(self, chunk: Chunk) -> bool:
        """One submission of it; whether all its images are there."""
        plan = await self._plan(chunk)
        submission, entry = await self.life.run(
            plan, chunk.submission, attempt=chunk.attempts + 1, batch_id=chunk.batch_id, avoid=chunk.avoid
        )
        self.refills.made(chunk.task_id, chunk.prompt_id, chunk.number)
        return await self._ingest(chunk, submission, entry)

    async def _wanted(self, prompt_id: UUID, number: int) -> Chunk | None:
        """The chunk as it stands, or None when nothing is left to do for it."""
        while True:
            try:
                chunk = await self.steps.chunk((prompt_id, number))
                break
            except AWAY:
                await asyncio.sleep(_PAUSE_AWAY)
        if chunk is None:
            return None
        if chunk.submission is not None:
            return chunk  # whatever became of the task, what runs is followed to its end
        is_running = chunk.task_state == "RUNNING" and not chunk.is_paused
        return chunk if chunk.missing and is_running else None

    async def _plan(self, chunk: Chunk) -> Plan:
        recipe = await self.recipes.of(chunk.task_id)
        return Plan(
            task_id=chunk.task_id,
            prompt_id=chunk.prompt_id,
            chunk=chunk.number,
            pilot_id=None,
            workflow_id=chunk.workflow_id,
            priority=chunk.priority,
            graph=recipe.graph,
            bindings=recipe.bindings,
            text=chunk.text,
            seed=chunk.seed,
            batch_size=chunk.batch_size,
            width=recipe.width,
            height=recipe.height,
        )

    # ---------------------------------------------------------------------------------------------------- ingest

    async def _ingest(self, chunk: Chunk, submission: Submission, entry: HistoryEntry) -> bool:
        """Fetch, check and store what is missing, image by image; one broken image does not hold back the others.
        Returns whether that was the end of the submission.
        """
        if not chunk.missing:
            await self._end(submission)
            return True
        recipe = await self.recipes.of(chunk.task_id)
        images = kept_images(entry, recipe.bindings)
        if len(images) != chunk.batch_size:
            message = f"The workflow made {len(images)} of {chunk.batch_size} images."
            raise _failed(submission, FailureKind.BROKEN_IMAGE, message)
        with self.ingester.owing(len(chunk.missing)):
            outcomes = await asyncio.gather(
                *(self._ingest_one(chunk, submission, recipe, one, images[one.batch_index]) for one in chunk.missing),
                return_exceptions=True,
            )
        broken = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in sorted(broken, key=lambda error: isinstance(error, BrokenImage)):
            if isinstance(error, BrokenImage):
                raise _failed(submission, FailureKind.BROKEN_IMAGE, str(error)) from error
            if isinstance(error, WorkerError):
                raise _failed(submission, kind_of(error), error.message) from error
            raise error
        return any(isinstance(outcome, Counted) and outcome.has_ended for outcome in outcomes)

    async def _ingest_one(
        self, chunk: Chunk, submission: Submission, recipe: Recipe, missing: MissingImage, output: OutputImage
    ) -> Counted:
        stored = await self._store(chunk, submission, missing, output)
        metadata = {**recipe.metadata, "resolution": f"{stored.width}x{stored.height}"}
        counted = await self.steps.image_done(Image(missing.generation_id, submission.id, columns(stored), metadata))
        if not counted.is_ours:
            raise Superseded
        return counted

    async def _store(
        self, chunk: Chunk, submission: Submission, missing: MissingImage, output: OutputImage
    ) -> StoredImage:
        client = await self.fleet.client_of(submission.worker_id)
        day = uuid7_time(missing.generation_id).date()
        fetches = 0
        while True:
            try:
                return await self.ingester.ingest(client, output, partial(image_key, chunk.task_id, day))
            except StoreUnavailable as error:
                log.warning("store_unavailable", reason=error.message)
                await asyncio.sleep(_PAUSE_STORE)
            except (BrokenImage, WorkerError):
                fetches += 1
                if fetches >= FETCHES:
                    raise
                await asyncio.sleep(_PAUSE_AWAY)

    # ------------------------------------------------------------------------------------------------------- end

    async def _end(self, submission: Submission) -> None:
        async with self.database.transaction() as connection:
            await repository.end_submission(connection, submission.id, SubmissionState.INGESTED)

    async def _note_failure(self, chunk: Chunk, failed: SubmissionFailed) -> None:
        failure, submission = failed.failure, failed.ended
        log.info("submission_failed", submission=str(submission.id), kind=failure.kind, reason=failure.message)
        state = SubmissionState.LOST if failure.is_loss else SubmissionState.FAILED
        async with self.database.transaction() as connection:
            error = {"class": failure.kind.value, "message": failure.message}
            await failures_repository.lock(connection, chunk.task_id, submission.worker_id)
            if not await repository.end_submission(connection, submission.id, state, error):
                return  # cancelled meanwhile: its images are pending already
            retries_used, losses = await repository.lock_budget(connection, submission.id, chunk.batch_id, chunk.number)
            decision = decide(failure, retries_used=retries_used, losses=losses)
            await repository.give_back(
                connection,
                submission.id,
                batch_id=chunk.batch_id,
                chunk=chunk.number,
                give_up=decision.give_up,
                retry=decision.retry,
                loss=decision.loss,
                reason=failure.message,
            )
            if failure.is_workers_fault:
                await repository.note_ineligible(connection, submission.worker_id, chunk.workflow_id, failure.message)
            await failures_repository.count(
                connection, chunk.task_id, failure.kind, failure.message, submission.worker_id
            )
        self.recorder.failed(submission.worker_id, chunk.task_id, failure.kind)
        if failure.kind in (FailureKind.MISSING_MODEL, FailureKind.MISSING_NODE):
            self.doubt(submission.worker_id)


def kept_images(entry: HistoryEntry, bindings: Bindings) -> list[OutputImage]:
    """The images of the kept nodes in the order of the bindings; save nodes that share a file list it twice."""
    images = [image for node in bindings.images for image in entry.images.get(node, [])]
    return list(dict.fromkeys(images))


def columns(image: StoredImage) -> Sequence[object]:
    """As `steps_repository.images_done` takes them."""
    return (
        image.key,
        image.thumbnail_key,
        image.tile_key,
        image.preview_key,
        image.sha256,
        image.bytes,
        image.width,
        image.height,
    )


def _failed(submission: Submission, kind: FailureKind, message: str) -> SubmissionFailed:
    failed = SubmissionFailed(Failure(kind, message, was_running=True))
    failed.submission = submission
    return failed
