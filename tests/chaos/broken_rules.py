"""Rules of the product, each broken in the child process by changing the one function that keeps it: what the auditor
must find.
"""

from collections.abc import Callable
from typing import Any

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import SubmissionUnclear
from comfylabel.comfy.schemas import HistoryEntry, QueueSnapshot
from comfylabel.orchestrator import queue_gate, submission_life
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
    """The history is read first and the queue then, and one look is believed: what ends in between is in neither."""
    queue_now, history_now = ComfyClient.queue, ComfyClient.history
    earlier: dict[tuple[int, str], HistoryEntry | None] = {}
    followed: dict[int, set[str]] = {}

    async def queue(self: ComfyClient) -> QueueSnapshot:
        for identity in list(followed.get(id(self), ())):
            earlier[id(self), identity] = await history_now(self, identity)
        return await queue_now(self)

    async def history(self: ComfyClient, submission_id: str) -> HistoryEntry | None:
        followed.setdefault(id(self), set()).add(submission_id)
        if (id(self), submission_id) in earlier:
            entry = earlier.pop((id(self), submission_id))
        else:
            entry = await history_now(self, submission_id)
        if entry is not None:
            followed[id(self)].discard(submission_id)
        return entry

    _replace(ComfyClient, "queue", queue)
    _replace(ComfyClient, "history", history)
    _replace(submission_life, "_ABSENCES", 1)


def no_gate() -> None:
    """What others have sent, and what we gave up and the worker still holds, is not counted before a POST."""

    async def look(client: ComfyClient, _: Any) -> int:
        await client.queue()
        return 1

    _replace(queue_gate, "look", look)


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


def thrown_away() -> None:
    """Now and then an image is thrown away once its size was checked, as a store that keeps no promise does."""
    put, size = ObjectStore.put, ObjectStore.size
    doomed: set[str] = set()
    stored = 0

    async def put_and_choose(self: ObjectStore, key: str, data: bytes, content_type: str) -> None:
        nonlocal stored
        await put(self, key, data, content_type)
        stored += key.endswith(".png")
        if key.endswith(".png") and not stored % 10:
            doomed.add(key)

    async def size_and_throw_away(self: ObjectStore, key: str) -> int | None:
        found = await size(self, key)
        if key in doomed:
            await self.delete([key])
        return found

    _replace(ObjectStore, "put", put_and_choose)
    _replace(ObjectStore, "size", size_and_throw_away)


RULES: dict[str, Callable[[], None]] = {
    rule.__name__: rule
    for rule in (
        post_at_once_again,
        history_before_queue,
        no_gate,
        another_seed_when_sent,
        thrown_away,
    )
}
