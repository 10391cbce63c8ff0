"""The queue and the history of a simulated worker: a heap of tuples, as ComfyUI's own, with its oddities."""

import heapq
import time
from dataclasses import dataclass, field
from typing import Any

MAX_HISTORY = 10000
SECRETS = ("api_key_comfy_org", "auth_token_comfy_org")

# (number, id, graph, extra_data, output nodes)
Item = tuple[float, str, dict[str, Any], dict[str, Any], list[str]]


@dataclass(slots=True)
class SubmissionQueue:
    pending: list[Item] = field(default_factory=list)
    running: dict[int, Item] = field(default_factory=dict)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    _ticket: int = 0

    def put(self, item: Item) -> None:
        """Raises TypeError after the push when number and id are both taken: two graphs cannot be compared. The item
        is queued all the same.
        """
        heapq.heappush(self.pending, item)

    def take(self) -> tuple[int, Item]:
        item = heapq.heappop(self.pending)
        self._ticket += 1
        self.running[self._ticket] = item
        return self._ticket, item

    def finish(self, ticket: int, entry: dict[str, Any]) -> None:
        item = self.running.pop(ticket, None)
        if item is None:
            return
        if len(self.history) > MAX_HISTORY:
            del self.history[next(iter(self.history))]
        self.history.pop(item[1], None)
        self.history[item[1]] = entry

    def delete_pending(self, identity: str) -> bool:
        """Takes out one item with this id, even if there are more."""
        for place, item in enumerate(self.pending):
            if item[1] == identity:
                del self.pending[place]
                heapq.heapify(self.pending)
                return True
        return False

    def is_running(self, identity: str) -> bool:
        return any(item[1] == identity for item in self.running.values())

    @property
    def remaining(self) -> int:
        return len(self.pending) + len(self.running)

    def history_page(self, max_items: int | None, offset: int | None) -> dict[str, Any]:
        entries = list(self.history.items())
        if max_items is None:
            return dict(entries)
        if offset is None or offset < 0:
            return dict(entries[-max_items:] if max_items else entries)
        return dict(entries[offset : offset + max_items])

    def forget_everything(self) -> None:
        self.pending.clear()
        self.running.clear()
        self.history.clear()


def visible_extra_data(extra_data: dict[str, Any], *, hides_secrets: bool) -> dict[str, Any]:
    if not hides_secrets:
        return dict(extra_data)
    kept = {key: value for key, value in extra_data.items() if key not in SECRETS}
    return kept | {"create_time": int(time.time() * 1000)}
