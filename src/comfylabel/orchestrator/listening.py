"""One websocket per worker, only as a wake-up: truth is /history. Every connection has a fresh client id, because
ComfyUI drops the new socket of a repeated id when the old one closes (seen); what a reconnect misses, the poll finds.
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.errors import ComfyLabelError

_ENDINGS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class _Hearing:
    """What was heard of one submission."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False


class WorkerListener:
    """Listens to one worker until closed. `client_id` goes into what is submitted, so that its events come here."""

    def __init__(self, client: ComfyClient, on_idle: Callable[[], None]) -> None:
        self.client_id = str(uuid.uuid4())
        self._client = client
        self._on_idle = on_idle
        self._hearings: defaultdict[str, _Hearing] = defaultdict(_Hearing)
        self._task = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def expect(self, submission_id: str) -> None:
        """It is about to be sent: from now on its events count."""
        self._hearings[submission_id].has_begun = False

    def has_begun(self, submission_id: str) -> bool:
        """The worker has said that it runs; silence proves nothing."""
        return self._hearings[submission_id].has_begun

    async def wait(self, submission_id: str, seconds: float) -> None:
        """Return when the worker says that this submission has ended, or after so many seconds."""
        event = self._hearings[submission_id].ended
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for forgets a cancel that meets the event
                await event.wait()
        # The history is written after `execution_success`: the next look may still be too early, the one after not.
        event.clear()

    def forget(self, submission_id: str) -> None:
        self._hearings.pop(submission_id, None)

    async def _listen_for_ever(self) -> None:
        pause = 0.5
        while True:
            with suppress(WorkerError, ComfyLabelError, OSError):
                async for event in self._client.listen(self.client_id):
                    pause = 0.5
                    self._heard(event.kind, event.submission_id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self.client_id = str(uuid.uuid4())

    def _heard(self, kind: str, submission_id: str | None) -> None:
        is_end = kind in _ENDINGS or kind == "executing"  # the last `executing` names no node: it is over
        if submission_id is not None and submission_id in self._hearings:
            self._hearings[submission_id].has_begun = True  # nothing is said of one that still waits
            if is_end:
                self._hearings[submission_id].ended.set()
        if kind in _ENDINGS or kind == "status":
            self._on_idle()
