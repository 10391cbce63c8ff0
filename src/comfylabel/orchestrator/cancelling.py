"""Cancel: what waits on a worker is deleted, what runs is interrupted by its id, never anything of somebody else."""

from dataclasses import dataclass
from uuid import UUID

from comfylabel.db.pool import Database
from comfylabel.generations.states import SubmissionState
from comfylabel.orchestrator import repository, upkeep_repository
from comfylabel.orchestrator.fleet import Fleet
from comfylabel.orchestrator.submission_life import withdraw_from_worker
from comfylabel.orchestrator.upkeep_repository import OpenSubmission

_ERROR = {"class": "cancelled", "message": "The task was cancelled."}


@dataclass(frozen=True, slots=True)
class Canceller:
    database: Database
    fleet: Fleet

    async def cancel_task(self, task_id: UUID) -> None:
        """Images that are done stay; those under way are pending again. What is being ingested is kept."""
        async with self.database.connection() as connection:
            submissions = await upkeep_repository.open_submissions_of_task(connection, task_id)
        await self._cancel(submissions)

    async def cancel_pilot(self, pilot_id: UUID) -> None:
        """What a pilot that died half-way has left on its worker."""
        async with self.database.connection() as connection:
            submissions = await upkeep_repository.open_submissions_of_pilot(connection, pilot_id)
        await self._cancel(submissions)

    async def _cancel(self, submissions: list[OpenSubmission]) -> None:
        # The rows first: from here on nobody takes its interruption for a failure of the prompt.
        ended = [submission for submission in submissions if await self._end(submission)]
        for submission in ended:
            if submission.state is not SubmissionState.RESERVED:
                client = await self.fleet.client_of(submission.worker_id)
                await withdraw_from_worker(client, str(submission.id))

    async def _end(self, submission: OpenSubmission) -> bool:
        # The worker has ended it already: there is nothing to cancel, only images that nobody will fetch.
        is_made = submission.state is SubmissionState.GENERATED
        state = SubmissionState.LOST if is_made else SubmissionState.CANCELLED
        async with self.database.transaction() as connection:
            if not await repository.end_submission(connection, submission.id, state, _ERROR):
                return False
            if submission.batch_id is not None:
                await repository.give_back(
                    connection,
                    submission.id,
                    batch_id=submission.batch_id,
                    chunk=submission.chunk,
                    give_up=False,
                    retry=False,
                    loss=False,
                    reason=None,
                )
        return True
