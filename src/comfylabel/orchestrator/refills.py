"""What follows a submission: its task gets jobs for the next ones, or is finished.

Not one by one: a quarter of a task's window at a time, or what came together in a quarter of a second.
"""

import asyncio
from collections import Counter, defaultdict
from uuid import UUID

from comfylabel.db.coalescing import Coalescer
from comfylabel.db.jobs import generate_key
from comfylabel.db.pool import AWAY, Database
from comfylabel.generations.repository import SMALLEST_WINDOW, Refill, refill
from comfylabel.tasks.repository import finish_task_if_complete

_PAUSE = 0.25
_PARTS = 4
# PgQueuer notes the end of a job a moment after its handler has returned, in parts of 0.1 s.
_NOTED_AFTER = 2.0
_PAUSE_AWAY = 1.0


class Refills:
    """`made` when a worker has nothing to do with a job any more, `ended` when nobody has."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refill: Coalescer[UUID, Refill] = Coalescer(self._refill_all, pause=_PAUSE)
        self._finish: Coalescer[UUID, None] = Coalescer(self._finish_all)
        self._past: defaultdict[UUID, set[str]] = defaultdict(set)
        self._since: Counter[UUID] = Counter()
        self._windows: dict[UUID, int] = {}
        self._asking: dict[UUID, asyncio.Task[None]] = {}

    def made(self, task_id: UUID, prompt_id: UUID, chunk: int) -> None:
        """Its slot is free: another job may take its place in the window."""
        self._past[task_id].add(generate_key(task_id, prompt_id, chunk))
        self._since[task_id] += 1
        if self._since[task_id] * _PARTS >= self._windows.get(task_id, SMALLEST_WINDOW):
            self._refill.hurry()
        if task_id not in self._asking:
            asking = self._asking[task_id] = asyncio.create_task(self._ask(task_id))
            asking.add_done_callback(lambda _: self._asking.pop(task_id, None))

    def made_in_vain(self, task_id: UUID, prompt_id: UUID, chunk: int) -> None:
        """The same job needs a worker again."""
        self._past[task_id].discard(generate_key(task_id, prompt_id, chunk))

    async def ended(self, task_id: UUID, prompt_id: UUID, chunk: int) -> None:
        """Returns when a successor has a job; when there is none to be had, when the task was looked at for its end."""
        while True:
            try:
                if (await self._refill(task_id)).is_dry:
                    await self._finish(task_id)
                break
            except AWAY:
                await asyncio.sleep(_PAUSE_AWAY)
        key = generate_key(task_id, prompt_id, chunk)
        asyncio.get_running_loop().call_later(_NOTED_AFTER, self._forget, task_id, key)

    def _forget(self, task_id: UUID, key: str) -> None:
        self._past[task_id].discard(key)
        if not self._past[task_id]:
            for kept in (self._past, self._since, self._windows):
                kept.pop(task_id, None)

    async def _ask(self, task_id: UUID) -> None:
        try:
            await self._refill(task_id)
        except AWAY:
            return  # its end asks again

    async def _refill_all(self, task_ids: list[UUID]) -> list[Refill]:
        refills: dict[UUID, Refill] = {}
        for task_id in dict.fromkeys(task_ids):
            self._since.pop(task_id, None)
            async with self._database.transaction() as connection:
                refills[task_id] = await refill(connection, task_id, self._past[task_id])
            self._windows[task_id] = refills[task_id].window
        return [refills[task_id] for task_id in task_ids]

    async def _finish_all(self, task_ids: list[UUID]) -> list[None]:
        for task_id in dict.fromkeys(task_ids):
            async with self._database.transaction() as connection:
                await finish_task_if_complete(connection, task_id)
        return [None] * len(task_ids)
