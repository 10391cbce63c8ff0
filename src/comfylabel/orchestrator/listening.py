"""One websocket per worker, only as a wake-up: truth is /history. Every connection has a fresh client id, because
ComfyUI drops the new socket of a repeated id when the old one closes (seen); what a reconnect misses, the poll finds.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.schemas import Event
from comfylabel.errors import ComfyLabelError

log = structlog.get_logger()

_ENDINGS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
# The history is written after these, normally within 2 ms (once 425 ms seen), and then comes the last `executing`.
_ENDING_SECONDS = 0.1
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class _Hearing:
    """What was heard of one submission. `client_id` is that of the socket to which its events come."""

    client_id: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False


class WorkerListener:
    """Listens to one worker until closed. `client_id` goes into what is submitted, so that its events come here.

    `on_back()`: the socket was lost and is open again, perhaps after a restart.
    """

    def __init__(
        self, client: ComfyClient, on_idle: Callable[[], None], on_back: Callable[[], None] = lambda: None
    ) -> None:
        self.client_id = str(uuid.uuid4())
        self._client = client
        self._on_idle = on_idle
        self._on_back = on_back
        self._was_connected = False
        self._hearings: dict[str, _Hearing] = {}
        self._is_connected = False
        self._task = asyncio.create_task(self._listen_for_ever())

    @property
    def is_needed(self) -> bool:
        """Somebody follows a submission there."""
        return bool(self._hearings)

    async def close(self) -> None:
        self._is_connected = False
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def expect(self, submission_id: str) -> None:
        """It is about to be sent with `client_id`: from now on its events count."""
        hearing = self._hearing(submission_id)
        hearing.client_id = self.client_id
        hearing.has_begun = False

    def hears(self, submission_id: str) -> bool:
        """Its events come to the socket that is open now. It may miss some: the poll is the truth."""
        return self._is_connected and self._hearing(submission_id).client_id == self.client_id

    def has_begun(self, submission_id: str) -> bool:
        """The worker has said that it runs; silence proves nothing."""
        return self._hearing(submission_id).has_begun

    async def wait(self, submission_id: str, seconds: float) -> None:
        """Return when the worker says that this submission has ended, or after so many seconds."""
        event = self._hearing(submission_id).ended
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for forgets a cancel that meets the event
                await event.wait()
        event.clear()

    def forget(self, submission_id: str) -> None:
        self._hearings.pop(submission_id, None)

    def _hearing(self, submission_id: str) -> _Hearing:
        return self._hearings.setdefault(submission_id, _Hearing())

    async def _listen_for_ever(self) -> None:
        pause = 0.5
        while True:
            try:
                async for event in self._client.listen(self.client_id):
                    self._greeted()  # a ComfyUI greets whoever connects
                    pause = 0.5
                    self._heard(event)
            except (WorkerError, ComfyLabelError, OSError):
                pass
            except Exception:  # or this worker would be heard no more, and the stop of this process break off
                log.exception("listening_failed")
            self._is_connected = False
            self.client_id = str(uuid.uuid4())
            for hearing in self._hearings.values():
                hearing.ended.set()  # nothing more will be heard of it: look
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _greeted(self) -> None:
        if not self._is_connected and self._was_connected:
            self._on_back()
        self._is_connected = self._was_connected = True

    def _heard(self, event: Event) -> None:
        hearing = self._hearings.get(event.submission_id) if event.submission_id is not None else None
        if hearing is not None:
            hearing.has_begun = True  # nothing is said of one that still waits
            if event.is_over:
                hearing.ended.set()
            elif event.kind in _ENDINGS:
                asyncio.get_running_loop().call_later(_ENDING_SECONDS, hearing.ended.set)
        if event.is_over or event.kind == "status":
            self._on_idle()
