"""Rules of the product, each broken in the child process by changing the one function that keeps it: what the auditor
must find.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any
from weakref import WeakKeyDictionary

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import SubmissionUnclear
from comfylabel.comfy.schemas import HistoryEntry, QueueSnapshot
from comfylabel.orchestrator import generate, pairing, picture, retry_policy, steps_repository, submission_life
from comfylabel.orchestrator.retry_policy import Failure, FailureKind
from comfylabel.orchestrator.schemas import SubmissionFailed
from comfylabel.storage.store import ObjectStore


def _replace(owner: Any, name: str, function: Any) -> None:
    """A rule that is kept elsewhere by now must be looked for, not be found kept."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, function)


def post_at_once_again() -> None:
    """As a retry in an HTTP client: a POST without an answer is sent again instead of being looked up."""
    submit_once = ComfyClient.submit

    async def submit(self: ComfyClient, graph: Any, submission_id: str, **more: Any) -> None:
        try:
            await submit_once(self, graph, submission_id, **more)
        except SubmissionUnclear:
            await submit_once(self, graph, submission_id, **more)

    _replace(ComfyClient, "submit", submit)


def history_before_queue() -> None:
    """The history is read first and the queue a moment later, and one look is believed: what ends in between is in
    neither. Behind a proxy that passes no websocket: it is the looks that find an end. They follow each other at once,
    so that an end falls between the two questions of one of them, however long the jobs of a run are.
    """
    queue_now, history_now = ComfyClient.queue, ComfyClient.history
    follow_well = submission_life.SubmissionLife._follow
    followed: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # by the asyncio task that follows it
    earlier: WeakKeyDictionary[Any, HistoryEntry | None] = WeakKeyDictionary()

    async def queue(self: ComfyClient) -> QueueSnapshot:
        me = asyncio.current_task()
        if me in followed:
            earlier[me] = await history_now(self, followed[me])
            await asyncio.sleep(1)
        return await queue_now(self)

    async def follow(self: Any, submission: Any, **more: Any) -> HistoryEntry:
        me = asyncio.current_task()
        followed.pop(me, None)
        if submission.id.int % 5 == 0:  # were it all of them, nothing would ever be made
            followed[me] = str(submission.id)
        entry: HistoryEntry = await follow_well(self, submission, **more)
        return entry

    async def history(self: ComfyClient, submission_id: str) -> HistoryEntry | None:
        me = asyncio.current_task()
        if followed.get(me) == submission_id and me in earlier:
            return earlier.pop(me)
        return await history_now(self, submission_id)

    async def listen(_: ComfyClient, __: str) -> AsyncGenerator[Any, None]:
        await asyncio.Event().wait()
        yield

    _replace(ComfyClient, "listen", listen)
    _replace(ComfyClient, "queue", queue)
    _replace(ComfyClient, "history", history)
    _replace(submission_life.SubmissionLife, "_follow", follow)
    _replace(submission_life, "_LOOKS", (0.05,))
    _replace(submission_life, "_ABSENCES", 1)
    _replace(submission_life, "_LOOKS_PER_QUEUE", 1)


def one_too_many() -> None:
    """Each worker is given one submission more than it may hold."""
    limit = "max_concurrent_jobs"
    reserving = steps_repository._LOCK_WORKERS
    assert limit in reserving
    _replace(steps_repository, "_LOCK_WORKERS", reserving.replace(limit, f"{limit} + 1 as {limit}", 1))
    seat = pairing.Seat

    def roomier_seat(worker: Any, free: int, refuses: Any) -> Any:
        return seat(worker, free + 1, refuses)

    _replace(picture, "Seat", roomier_seat)


def another_seed_when_sent() -> None:
    """What is sent is not what the row says: the seed is counted up with every submission."""
    submit_as_it_is = ComfyClient.submit
    sent = 0

    async def submit(self: ComfyClient, graph: Any, submission_id: str, **more: Any) -> None:
        nonlocal sent
        sent += 1
        for node in graph.values():
            if node["class_type"] == "KSampler":
                node["inputs"]["seed"] += sent
        await submit_as_it_is(self, graph, submission_id, **more)

    _replace(ComfyClient, "submit", submit)


def unclear_is_failed() -> None:
    """A POST without an answer counts as one that did not arrive: the same is sent again under another id."""

    async def settle(_self: Any, _plan: Any, _submission: Any) -> None:
        raise SubmissionFailed(Failure(FailureKind.NETWORK, "no answer"))

    _replace(submission_life.SubmissionLife, "_settle", settle)


def gives_up_early() -> None:
    """After two retries instead of three."""

    def decide_early(failure: Any, *, retries_used: int, losses: int) -> Any:
        return retry_policy.decide(failure, retries_used=retries_used + 1, losses=losses)

    _replace(generate, "decide", decide_early)


def thrown_away() -> None:
    """Now and then an image is thrown away once it was stored, as a store that keeps no promise does."""
    put_all = ObjectStore.put_all
    stored = 0

    async def put_most(self: ObjectStore, objects: Any, **more: Any) -> None:
        nonlocal stored
        await put_all(self, objects, **more)
        stored += 1
        if not stored % 10:
            await self.delete([each.key for each in objects if each.key.endswith(".png")])

    _replace(ObjectStore, "put_all", put_most)


RULES: dict[str, Callable[[], None]] = {
    rule.__name__: rule
    for rule in (
        post_at_once_again,
        history_before_queue,
        one_too_many,
        another_seed_when_sent,
        unclear_is_failed,
        gives_up_early,
        thrown_away,
    )
}
