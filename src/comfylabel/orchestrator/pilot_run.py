"""Runs a pilot on one worker, ahead of mass work: does the heaviest prompt fit, does the batch fit, ten samples.

The rules (which rung comes next, which samples) are tasks/pilot.py; this file sends, listens and writes down.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog

from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.schemas import HistoryEntry
from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import ComfyLabelError, PilotOutOfMemory
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import pilot_repository, pilot_subject, repository
from comfylabel.orchestrator.cancelling import Canceller
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.generate import FETCHES, columns, kept_images
from comfylabel.orchestrator.ingest import BrokenImage, Ingester
from comfylabel.orchestrator.pilot_measuring import Findings, was_cached, watching
from comfylabel.orchestrator.pilot_subject import Subject
from comfylabel.orchestrator.retry_policy import Failure, FailureKind
from comfylabel.orchestrator.schemas import Plan, Submission, SubmissionFailed, Superseded
from comfylabel.orchestrator.submission_life import SubmissionLife
from comfylabel.storage.keys import pilot_key, pilot_keys
from comfylabel.storage.store import StoreUnavailable
from comfylabel.tasks import pilot as rules
from comfylabel.tasks import repository as tasks_repository
from comfylabel.tasks.forecast import MassRun, OtherWorker, forecast
from comfylabel.tasks.pilot import Attempt, Phase, Rung, Sample
from comfylabel.tasks.plan import chunks
from comfylabel.tasks.readiness import Readiness
from comfylabel.workers import paces_repository

log = structlog.get_logger()

# A submission lost with its worker is sent again this often before the pilot says so.
LOSSES = 3
_OUR_FAULT = "The pilot was broken off by a fault of ours, which stands in the log of the orchestrator."
_PAUSE_AWAY = 1.0


class PilotFailed(ComfyLabelError):
    """The pilot could not be run to its end."""

    status = 422
    code = "pilot_failed"


@dataclass(slots=True)
class _Progress:
    """What this pilot has found out so far."""

    worker_id: UUID | None = None
    submissions: int = 0
    retries_used: int = 0
    ladder: list[Attempt] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "ladder": [attempt.to_json() for attempt in self.ladder],
            "retries_used": self.retries_used,
            "worker_id": str(self.worker_id) if self.worker_id else None,
        }


@dataclass(frozen=True, slots=True)
class PilotRunner:
    database: Database
    life: SubmissionLife
    fleet: Fleet
    ingester: Ingester
    canceller: Canceller
    readiness: Readiness

    async def run(self, pilot_id: UUID) -> None:
        """Run it and write down how it ended. A pilot whose process died, or whose database went away, is run anew from
        its beginning.
        """
        while True:
            try:
                await self._run_anew(pilot_id)
            except AWAY as error:
                log.warning("pilot_paused", reason=f"the database does not answer: {error}")
                await asyncio.sleep(_PAUSE_AWAY)
            else:
                return

    async def _run_anew(self, pilot_id: UUID) -> None:
        await self.canceller.cancel_pilot(pilot_id)
        async with self.database.transaction() as connection:
            subject = await pilot_subject.load(connection, pilot_id)
            if subject is not None:
                await pilot_repository.forget_images(connection, pilot_id, subject.task_id)
        if subject is not None:
            await self._run_to_its_end(subject)
        await self._throw_away(pilot_id)

    async def throw_away_leftovers(self) -> None:
        """A process that was frozen while it stored a sample may have woken up after its pilot was tidied, and died."""
        async with self.database.connection() as connection:
            ended = await pilot_repository.ended_in_vain(connection)
        for pilot_id in ended:
            await self._throw_away(pilot_id)

    async def _run_to_its_end(self, subject: Subject) -> None:
        pilot_id, progress = subject.pilot_id, _Progress()
        try:
            await self._run(subject, progress)
        except Superseded:
            log.info("pilot_cancelled", pilot=str(pilot_id))
            await self.canceller.cancel_pilot(pilot_id)
        except SubmissionFailed as failed:
            await self._fail(subject, progress, PilotFailed(_in_words(failed.failure), data=progress.to_json()))
        except ComfyLabelError as error:
            await self._fail(subject, progress, error)
        except AWAY:
            raise
        except Exception:  # whoever waits for it in front of a screen shall know, and no worker go on for nobody
            log.exception("pilot_broken_off", pilot=str(pilot_id))
            await self.canceller.cancel_pilot(pilot_id)
            await self._fail(subject, progress, PilotFailed(_OUR_FAULT, data=progress.to_json()))

    async def _run(self, subject: Subject, progress: _Progress) -> None:
        plan = subject.plan
        heaviest = plan.samples[0]
        rung, first = await self._descend(subject, progress, plan.first_rung, "resolution", heaviest)
        if plan.is_native:
            planned = replace(rung, batch_size=plan.planned_batch_size)
            rung, _ = await self._descend(subject, progress, planned, "batch", heaviest)
            if rung.batch_size > 1 and progress.findings.is_only_cold(rung.batch_size):
                # The mass run loads its models once, not for every batch. A seed that this size has not met: the
                # worker answers what it has met from its cache.
                await self._make(subject, progress, plan.samples[1], rung)
        single = replace(rung, batch_size=1)
        await self._keep(subject, progress, heaviest, *first)
        for sample in plan.samples[1:]:
            made = await self._make(subject, progress, sample, single)
            await self._keep(subject, progress, sample, *made)
        await self._finish(subject, progress, rung)

    async def _descend(
        self, subject: Subject, progress: _Progress, rung: Rung, phase: Phase, sample: Sample
    ) -> tuple[Rung, tuple[Submission, HistoryEntry]]:
        """Try smaller sizes until one fits; at most MAX_RETRIES in both phases together."""
        while True:
            try:
                made = await self._make(subject, progress, sample, rung)
            except SubmissionFailed as failed:
                if failed.failure.kind is not FailureKind.OUT_OF_MEMORY:
                    raise
                progress.ladder.append(Attempt(rung, "out_of_memory"))
                rung = await self._lower(subject, progress, rung, phase)
            else:
                progress.ladder.append(Attempt(rung, "ok"))
                return rung, made

    async def _lower(self, subject: Subject, progress: _Progress, rung: Rung, phase: Phase) -> Rung:
        smaller = rules.next_rung(rung, phase, subject.workflow.limits, subject.plan.can_resize)
        if smaller is None or progress.retries_used >= rules.MAX_RETRIES:
            raise PilotOutOfMemory(_out_of_memory(rung, smaller, progress), data=progress.to_json())
        progress.retries_used += 1
        progress.findings.models_are_loaded = False
        assert progress.worker_id is not None
        await (await self.fleet.client_of(progress.worker_id)).free()
        return smaller

    # ------------------------------------------------------------------------------------------------ one submission

    async def _make(
        self, subject: Subject, progress: _Progress, sample: Sample, rung: Rung
    ) -> tuple[Submission, HistoryEntry]:
        """One submission on the pilot's worker (the first one chooses it). Raises SubmissionFailed."""
        losses = 0
        while True:
            plan = _plan(subject, sample, rung, progress.submissions)
            progress.submissions += 1
            worker_id = progress.worker_id
            # Which worker the first one goes to is known only when it is there.
            client = await self.fleet.client_of(worker_id) if worker_id else None
            try:
                async with watching(client) as looks:
                    submission, entry = await self.life.run(plan, None, attempt=losses + 1, only_worker=worker_id)
            except SubmissionFailed as failed:
                progress.worker_id = failed.ended.worker_id
                await self._end(failed.ended, SubmissionState.FAILED, failed.failure)
                losses += 1
                await self._note_workers_fault(subject, failed)
                may_go_elsewhere = failed.failure.is_loss or failed.failure.is_workers_fault
                if not may_go_elsewhere or losses >= LOSSES:
                    raise
                progress.worker_id = progress.worker_id if progress.ladder else None
            else:
                progress.worker_id = submission.worker_id
                cached = was_cached(entry, subject.graph, subject.bindings)
                progress.findings.note(entry, rung.batch_size, looks, was_cached=cached)
                await self._end(submission, SubmissionState.INGESTED, None)
                return submission, entry

    async def _note_workers_fault(self, subject: Subject, failed: SubmissionFailed) -> None:
        if failed.failure.is_workers_fault:
            async with self.database.transaction() as connection:
                await repository.note_ineligible(
                    connection, failed.ended.worker_id, subject.workflow.id, failed.failure.message
                )

    async def _end(self, submission: Submission, state: SubmissionState, failure: Failure | None) -> None:
        error = {"class": failure.kind.value, "message": failure.message} if failure else None
        async with self.database.transaction() as connection:
            if not await repository.end_submission(connection, submission.id, state, error):
                raise Superseded

    # ---------------------------------------------------------------------------------------------------- its images

    async def _keep(
        self,
        subject: Subject,
        progress: _Progress,
        sample: Sample,
        submission: Submission,
        entry: HistoryEntry,
    ) -> None:
        images = kept_images(entry, subject.bindings)
        if len(images) != 1:
            message = f"The workflow made {len(images)} images where one was asked for."
            raise PilotFailed(message, data=progress.to_json())
        client = await self.fleet.client_of(submission.worker_id)
        for fetch in range(1, FETCHES + 1):
            try:
                stored = await self.ingester.ingest(
                    client, images[0], lambda _, extension: _key(subject, sample, extension)
                )
                break
            except (BrokenImage, WorkerError) as error:
                if fetch == FETCHES:
                    raise PilotFailed(str(error), data=progress.to_json()) from error
                await asyncio.sleep(_PAUSE_AWAY)
        async with self.database.transaction() as connection:
            if not await tasks_repository.lock_running_pilot(connection, subject.pilot_id):
                raise Superseded  # an edit or a freeze has cancelled it
            await pilot_repository.insert_image(
                connection,
                task_id=subject.task_id,
                pilot_id=subject.pilot_id,
                sample=sample,
                submission=submission,
                image=columns(stored),
                metadata=subject.metadata(stored),
            )

    async def _throw_away(self, pilot_id: UUID) -> None:
        """What was stored while the pilot was ended, or by a process that died: no row will ever name it."""
        while True:
            try:
                async with self.database.transaction() as connection:
                    task_id = await pilot_repository.task_of_ended(connection, pilot_id)
                    kept = await pilot_repository.kept_keys(connection, pilot_id)
                if task_id is not None:
                    await self.ingester.throw_away(sorted(pilot_keys(task_id, pilot_id, rules.SAMPLES) - kept))
            except (*AWAY, StoreUnavailable):
                await asyncio.sleep(_PAUSE_AWAY)
            else:
                return

    async def _finish(self, subject: Subject, progress: _Progress, rung: Rung) -> None:
        assert progress.worker_id is not None
        planned = subject.plan.first_rung
        is_lowered = (rung.width, rung.height) != (planned.width, planned.height)
        run = MassRun(subject.prompts, chunks(subject.seeds_per_prompt, rung.batch_size), rung.batch_size)
        others = await self._others(subject, rung)
        async with self.database.transaction() as connection:
            told = forecast(
                run,
                progress.findings.measured,
                progress.findings.looks,
                piloted=progress.worker_id,
                others=others,
            )
            await tasks_repository.finish_pilot(
                connection,
                subject.pilot_id,
                worker_id=progress.worker_id,
                retries_used=progress.retries_used,
                ladder=[attempt.to_json() for attempt in progress.ladder],
                overrides={
                    "width": rung.width if is_lowered else None,
                    "height": rung.height if is_lowered else None,
                    "batch_size": rung.batch_size if subject.plan.is_native else None,
                },
                heaviest=subject.plan.heaviest_json(),
                forecast=told,
            )

    async def _others(self, subject: Subject, rung: Rung) -> list[OtherWorker]:
        """The enabled workers: who can run this now, and how fast each made such images before."""
        abilities = await self.readiness.of_workflow(subject.workflow.id, asking=False)
        size = paces_repository.size_of(subject.graph, subject.bindings, rung.width, rung.height)
        async with self.database.connection() as connection:
            paces = await paces_repository.of_workflow(connection, subject.workflow.id, size)
        return [
            OtherWorker(one.worker.id, paces.get(one.worker.id), one.able) for one in abilities if one.worker.enabled
        ]

    async def _fail(self, subject: Subject, progress: _Progress, error: ComfyLabelError) -> None:
        log.info("pilot_failed", pilot=str(subject.pilot_id), reason=error.message)
        async with self.database.transaction() as connection:
            await tasks_repository.fail_pilot(
                connection,
                subject.pilot_id,
                {"status": error.status, "code": error.code, "message": error.message, "data": error.data},
                worker_id=progress.worker_id,
                retries_used=progress.retries_used,
                ladder=[attempt.to_json() for attempt in progress.ladder],
            )


def _plan(subject: Subject, sample: Sample, rung: Rung, number: int) -> Plan:
    native_width, native_height = subject.plan.first_rung.width, subject.plan.first_rung.height
    is_lowered = (rung.width, rung.height) != (native_width, native_height)
    return Plan(
        task_id=subject.task_id,
        prompt_id=sample.prompt.id,
        chunk=number,
        pilot_id=subject.pilot_id,
        workflow_id=subject.workflow.id,
        priority=subject.priority,
        graph=subject.graph,
        bindings=subject.bindings,
        text=sample.prompt.text,
        seed=sample.seed,
        batch_size=rung.batch_size,
        width=rung.width if is_lowered else None,
        height=rung.height if is_lowered else None,
    )


def _key(subject: Subject, sample: Sample, extension: str) -> str:
    return pilot_key(subject.task_id, subject.pilot_id, sample.number, extension)


def _in_words(failure: Failure) -> str:
    return f"The pilot failed on its worker: {failure.message}"


def _out_of_memory(rung: Rung, smaller: Rung | None, progress: _Progress) -> str:
    size = f"{rung.width} x {rung.height}, " if rung.width else ""
    why = "no smaller size may be tried" if smaller is None else f"{progress.retries_used} smaller sizes were tried"
    return f"The worker ran out of memory at {size}batch size {rung.batch_size}, and {why}."
