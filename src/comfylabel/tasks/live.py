"""Live pages: whoever listens hears of tasks and workers within a second, and what was read once is told to all.

Orchestrators and servers say who has changed (db/notifications.py); this reads what they are now, at most once a
second however many listen, and not at all while nobody does. What nobody says (an age, an estimate, a check that went
stale) is found by a look every few seconds; only what differs is told.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import orjson
import structlog

from comfylabel.db.notifications import Change
from comfylabel.db.pool import AWAY
from comfylabel.errors import NotFound, Unavailable
from comfylabel.http.envelope import as_bytes
from comfylabel.http.sse import Doors, Event, Mailbox
from comfylabel.tasks import answers
from comfylabel.tasks.lifecycle import TaskState
from comfylabel.tasks.progress_service import ProgressService
from comfylabel.tasks.prompts_repository import BEFORE_FIRST
from comfylabel.workers.activity import WorkerActivity, event

log = structlog.get_logger()

# Between two readings of the same thing.
PACE_SECONDS = 1.0
# Between two looks for what nobody says.
LOOK_SECONDS = 5.0
# A session may run out without anybody doing anything.
ALLOWED_SECONDS = 60.0

# Whether the listener may still listen.
Allowed = Callable[[], Awaitable[bool]]
# What an event is about: a newer one of the same key takes its place.
Key = tuple[str, UUID]


@dataclass(slots=True)
class _Changed:
    """What was said since the last reading. `anything`: the line was cut, so everything may have changed."""

    tasks: set[UUID] = field(default_factory=set)
    workers: bool = False
    users: set[UUID] = field(default_factory=set)
    anything: bool = False


class Live:
    """`watch_task` and `watch_all` open a mailbox with the present state in it; `leave` gives it back."""

    def __init__(self, progress: ProgressService, activity: WorkerActivity) -> None:
        self._progress = progress
        self._activity = activity
        self._doors = Doors()
        self._of_task: defaultdict[UUID, set[Mailbox]] = defaultdict(set)
        self._of_all: set[Mailbox] = set()
        self._allowed: dict[Mailbox, Allowed] = {}
        self._told: dict[Key, tuple[bytes, Event]] = {}
        self._changed = _Changed()
        self._woken = asyncio.Event()
        self._reading = asyncio.Lock()
        self._closed = False
        self._looked_at = 0.0

    # ------------------------------------------------------------------------------------------------- listeners

    async def watch_task(self, task_id: UUID, user_id: UUID, allowed: Allowed) -> Mailbox:
        """`progress` events of one task. Raises NotFound."""
        mailbox = self._opened(user_id, allowed)
        try:
            async with self._reading:
                key = ("progress", task_id)
                if key not in self._told or not self._of_task.get(task_id):
                    await self._read_progress(task_id)
                mailbox.put(key, self._told[key][1])
                self._of_task[task_id].add(mailbox)
        except BaseException:
            self.leave(mailbox)
            raise
        return mailbox

    async def watch_all(self, user_id: UUID, allowed: Allowed) -> Mailbox:
        """`task` events of all tasks, of the running ones at once, and `worker` events."""
        mailbox = self._opened(user_id, allowed)
        try:
            async with self._reading:
                if not self._of_all:
                    await self._read_tasks(set(), and_running=True)
                    await self._read_workers()
                for key, (_, told) in self._told.items():
                    if key[0] != "progress":
                        mailbox.put(key, told)
                self._of_all.add(mailbox)
        except BaseException:
            self.leave(mailbox)
            raise
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        """Also one that was never quite opened; a second time does nothing."""
        if self._allowed.pop(mailbox, None) is None:
            return
        self._doors.leave(mailbox.user_id)
        self._of_all.discard(mailbox)
        for task_id in [task_id for task_id, listening in self._of_task.items() if mailbox in listening]:
            self._of_task[task_id].discard(mailbox)
            if not self._of_task[task_id]:
                del self._of_task[task_id]
                self._told.pop(("progress", task_id), None)
        if not self._of_all:
            self._told = {key: told for key, told in self._told.items() if key[0] == "progress"}

    def close(self) -> None:
        """The server stops: every stream ends, and none is opened any more."""
        self._closed = True
        for mailbox in self._allowed:
            mailbox.close()

    def _opened(self, user_id: UUID, allowed: Allowed) -> Mailbox:
        if self._closed:
            raise Unavailable("The server is being stopped.")
        self._doors.enter(user_id)
        mailbox = Mailbox(user_id)
        self._allowed[mailbox] = allowed
        return mailbox

    # --------------------------------------------------------------------------------------------------- changes

    def heard(self, change: Change) -> None:
        match change.kind:
            case "task":
                self._changed.tasks.add(change.id)
            case "worker":
                self._changed.workers = True
            case "user":
                self._changed.users.add(change.id)
        self._woken.set()

    def line_is_back(self) -> None:
        self._changed.anything = True
        self._woken.set()

    async def run(self) -> None:
        """Tell listeners of changes, until cancelled."""
        checking = asyncio.create_task(self._check_now_and_then())
        try:
            while True:
                await self._wait()
                changed, self._changed = self._changed, _Changed()
                try:
                    await self._tell(changed)
                except AWAY as error:
                    log.warning("live_updates_paused", reason=f"the database does not answer: {error!r}")
                    self.line_is_back()  # when it is: what was said meanwhile is lost
                except Exception:  # one fault must not leave every page standing still
                    log.exception("live_updates_failed")
                    self.line_is_back()  # nor may what was said be lost, least of all who may not listen any more
                await asyncio.sleep(PACE_SECONDS)
        finally:
            checking.cancel()

    async def _wait(self) -> None:
        """Until something was said, or it is time for a look."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._looked_at + LOOK_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    async def _tell(self, changed: _Changed) -> None:
        if changed.users or changed.anything:
            await self._check(None if changed.anything else changed.users)
        now = asyncio.get_running_loop().time()
        everything = changed.anything or now >= self._looked_at + LOOK_SECONDS
        if everything:
            self._looked_at = now
        if not self._allowed:
            return
        async with self._reading:
            for task_id in list(self._of_task) if everything else changed.tasks & self._of_task.keys():
                await self._read_progress(task_id)
            if self._of_all and (everything or changed.tasks):
                await self._read_tasks(changed.tasks, and_running=everything)
            if self._of_all and (everything or changed.workers):
                await self._read_workers()

    # --------------------------------------------------------------------------------------------------- reading

    async def _read_progress(self, task_id: UUID) -> None:
        try:
            view = await self._progress.of_task(task_id, after_position=BEFORE_FIRST, limit=0)
        except NotFound:
            for mailbox in list(self._of_task.get(task_id, ())):
                mailbox.close()
            if task_id not in self._of_task:
                raise
            return
        self._told_to(self._of_task.get(task_id, ()), ("progress", task_id), answers.progress(view))

    async def _read_tasks(self, task_ids: set[UUID], *, and_running: bool) -> None:
        """`and_running`: also those that run, and those that did when they were last told of."""
        rows = []
        if and_running:
            rows = await self._progress.running()
            task_ids = task_ids | {identity for kind, identity in self._told if kind == "task"}
            task_ids -= {row.task.id for row in rows}
        rows += await self._progress.some(list(task_ids)) if task_ids else []
        for row in rows:
            key = ("task", row.task.id)
            self._told_to(self._of_all, key, answers.task_row(row))
            if row.task.state is not TaskState.RUNNING:
                del self._told[key]  # no news of it; who connects now reads the list anyway

    async def _read_workers(self) -> None:
        present = {of.id: event(of) for of in await self._activity.of_all()}
        for identity, state in present.items():
            self._told_to(self._of_all, ("worker", identity), state)
        for key in [key for key in self._told if key[0] == "worker" and key[1] not in present]:
            self._told_to(self._of_all, key, orjson.loads(self._told[key][0]) | {"enabled": False, "removed": True})
            del self._told[key]

    def _told_to(self, listening: Iterable[Mailbox], key: Key, state: object) -> None:
        """Only what differs from what they know."""
        data = as_bytes(state)
        known = self._told.get(key)
        if known is not None and known[0] == data:
            return
        told = Event.of(key[0], data)
        self._told[key] = (data, told)
        for mailbox in listening:
            mailbox.put(key, told)

    # --------------------------------------------------------------------------------------------------- allowed

    async def _check_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(ALLOWED_SECONDS)
            try:
                await self._check(None)
            except AWAY:
                pass  # who was allowed a minute ago is until the database can be asked
            except Exception:  # without this loop a session that runs out is listened to for ever
                log.exception("live_updates_failed")

    async def _check(self, users: set[UUID] | None) -> None:
        """End the streams of whoever may not listen any more. None: of everybody."""
        for mailbox, allowed in list(self._allowed.items()):
            if (users is None or mailbox.user_id in users) and not await allowed():
                mailbox.close()
