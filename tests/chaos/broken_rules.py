"""Rules of the product, each broken in the child process by changing the one function that keeps it: what the auditor
must find.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import SubmissionUnclear
from comfylabel.comfy.schemas import HistoryEntry, QueueSnapshot
from comfylabel.orchestrator import queue_gate, submission_life
from comfylabel.orchestrator.ingest import Ingester

_queue, _history, _submit = ComfyClient.queue, ComfyClient.history, ComfyClient.submit


def post_at_once_again() -> None:
    """As a retry in an HTTP client: a POST without an answer is sent again instead of being looked up."""

    async def submit(self: ComfyClient, graph: Any, submission_id: str, **more: Any) -> None:
        try:
            await _submit(self, graph, submission_id, **more)
        except SubmissionUnclear:
            await _submit(self, graph, submission_id, **more)

    ComfyClient.submit = submit  # type: ignore[method-assign]


def history_before_queue() -> None:
    """The history is read first and the queue then, and one look is believed: what ends in between is in neither."""
    earlier: dict[tuple[int, str], HistoryEntry | None] = {}
    followed: dict[int, set[str]] = {}

    async def queue(self: ComfyClient) -> QueueSnapshot:
        for identity in list(followed.get(id(self), ())):
            earlier[id(self), identity] = await _history(self, identity)
        return await _queue(self)

    async def history(self: ComfyClient, submission_id: str) -> HistoryEntry | None:
        followed.setdefault(id(self), set()).add(submission_id)
        if (id(self), submission_id) in earlier:
            entry = earlier.pop((id(self), submission_id))
        else:
            entry = await _history(self, submission_id)
        if entry is not None:
            followed[id(self)].discard(submission_id)
        return entry

    ComfyClient.queue, ComfyClient.history = queue, history  # type: ignore[method-assign]
    submission_life._ABSENCES = 1


def no_gate() -> None:
    """What others have sent, and what we gave up and the worker still holds, is not counted before a POST."""

    class Blind:
        def __init__(self, client: ComfyClient) -> None:
            self._client = client

        async def queue(self) -> QueueSnapshot:
            await self._client.queue()
            return QueueSnapshot()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

    admit = queue_gate.admit

    async def blind_admit(database: Any, client: ComfyClient, *rest: Any, **more: Any) -> Any:
        return await admit(database, Blind(client), *rest, **more)  # type: ignore[arg-type]

    queue_gate.admit = blind_admit


def another_seed_when_sent() -> None:
    """What is sent is not what the row says: the seed is counted up with every submission."""
    graph_to_send = queue_gate.graph_to_send
    sent = 0

    def other_graph(plan: Any, submission_id: UUID) -> Any:
        nonlocal sent
        sent += 1
        graph = graph_to_send(plan, submission_id)
        for node in graph.values():
            if node["class_type"] == "KSampler":
                node["inputs"]["seed"] += sent
        return graph

    queue_gate.graph_to_send = other_graph


def done_before_stored() -> None:
    """An image counts as done when its thumbnail is stored, before the image itself is."""
    put = Ingester._put
    left_out = 0

    async def put_most(self: Ingester, key: str, data: bytes) -> None:
        nonlocal left_out
        if key.endswith(".png"):
            left_out += 1
            if left_out % 10 == 0:
                return
        await put(self, key, data)

    Ingester._put = put_most  # type: ignore[method-assign]


RULES: dict[str, Callable[[], None]] = {
    "post_at_once_again": post_at_once_again,
    "history_before_queue": history_before_queue,
    "no_gate": no_gate,
    "another_seed_when_sent": another_seed_when_sent,
    "done_before_stored": done_before_stored,
}
