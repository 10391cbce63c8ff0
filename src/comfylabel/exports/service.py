"""What may be exported when, and how a stream begins, goes on and breaks."""

import asyncio
import hashlib
import hmac
from typing import Any
from uuid import UUID

from comfylabel.db.pool import Connection, Database
from comfylabel.errors import InvalidField, NotFound, TooManyRequests, WrongState
from comfylabel.exports import repository
from comfylabel.exports.dpo import Profile, to_line
from comfylabel.exports.handover import Handover, ReaderLeft
from comfylabel.exports.repository import ExportedTask
from comfylabel.storage.store import ObjectStore

EXPORTABLE_STATES = ("RUNNING", "DONE", "FAILED")
# Each holds a connection of the pool (16) for as long as its reader takes.
MAX_STREAMS = 4
_PREVIEW_LINES = 3
_PREVIEW_LOOKS_AT = 20  # batches with a choice: a draw or a spam among them has no line


class ExportService:
    def __init__(self, database: Database, store: ObjectStore, secret: bytes) -> None:
        self._database = database
        self._base_uri = store.base_uri
        self._secret = secret
        self._writers: set[asyncio.Task[None]] = set()

    async def dpo_lines(self, task_id: UUID, *, profile: Profile, cursor: UUID | None) -> Handover:
        """Chunks of whole lines in order of the batches, those after `cursor` (the `batch_id` of a line) if given.

        Every refusal is raised here, none by the stream: what it raises later must break the answer off. Whoever
        gets the stream ends it with `leave`.
        """
        async with self._database.connection() as connection:
            task = await self._exportable(connection, task_id)
            after = -1 if cursor is None else await self._position(connection, task_id, cursor)
        if len(self._writers) >= MAX_STREAMS:
            raise TooManyRequests(f"{MAX_STREAMS} exports are being downloaded; wait for one to end.", retry_after=30)
        lines = Handover()
        writer = asyncio.create_task(self._write(task, profile, after, lines))
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)
        try:
            await lines.begin()
        except BaseException:
            lines.leave()
            raise
        return lines

    async def dpo_summary(self, task_id: UUID) -> dict[str, Any]:
        """How many lines there are, why other batches have none, and what the first lines look like."""
        async with self._database.connection() as connection:
            task = await self._exportable(connection, task_id)
            fates = await repository.count_fates(connection, task_id)
            answers = await repository.count_answers(connection, task_id)
            batch_ids = await repository.some_batches_with_a_choice(connection, task_id, _PREVIEW_LOOKS_AT)
            judged = await repository.judged_batches(connection, batch_ids, self._base_uri)
        lines = [line for batch in judged if isinstance(line := to_line(batch, task.facts), dict)]
        return {
            "task_id": task_id,
            "lines": fates.lines,
            "left_out": fates.left_out,
            "answers": {kind: answers.get(kind, 0) for kind in ("choice", "tie", "spam", "skip", "surplus")},
            "preview": lines[:_PREVIEW_LINES],
        }

    async def _write(self, task: ExportedTask, profile: Profile, after: int, lines: Handover) -> None:
        try:
            async with self._database.transaction() as connection:
                await repository.copy_lines(
                    connection,
                    task,
                    profile=profile,
                    base_uri=self._base_uri,
                    pseudonym_key=self._pseudonym_key(task.facts.task_id),
                    after_position=after,
                    output=lines.put,
                )
        except ReaderLeft:
            return
        except Exception as error:  # noqa: BLE001 - raised again where the lines are read
            await lines.end(error)
        else:
            await lines.end()

    async def _exportable(self, connection: Connection, task_id: UUID) -> ExportedTask:
        task = await repository.get_task(connection, task_id)
        if task is None:
            raise NotFound("There is no such task.")
        if task.state not in EXPORTABLE_STATES:
            raise WrongState(f"The task is {task.state}: there is nothing to export before it runs.")
        return task

    async def _position(self, connection: Connection, task_id: UUID, batch_id: UUID) -> int:
        position = await repository.position_of(connection, task_id, batch_id)
        if position is None:
            raise InvalidField("cursor", "must be the batch_id of a line of this task")
        return position

    def _pseudonym_key(self, task_id: UUID) -> str:
        """Of its own for every task: the same annotator cannot be followed from one data set to another."""
        return hmac.new(self._secret, b"annotators of " + task_id.bytes, hashlib.sha256).hexdigest()
