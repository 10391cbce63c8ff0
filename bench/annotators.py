"""People who label as fast as the server lets them: of the real server as its page asks, and of the bare one."""

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

from bench.at_work import AtWork
from bench.client import Client
from bench.served import Ledger


class NothingLeftError(Exception):
    """Nothing to label was served."""


class Annotator(ABC):
    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.ledger = Ledger(name)
        self.next_seconds: list[float] = []
        self.submit_seconds: list[float] = []

    @abstractmethod
    def label(self) -> None:
        """One decision; raises NothingLeftError."""

    def _timed(self, path: str, body: object, into: list[float]) -> tuple[Any, float, float]:
        """The answer, when it was asked for and when it was here."""
        asked = time.perf_counter()
        answer = self.client.post(path, body)
        arrived = time.perf_counter()
        into.append(arrived - asked)
        return answer.body, asked, arrived


class OfTheServer(Annotator):
    """`count`: how many batches to ask for; asks again when `refill` of them are left."""

    def __init__(self, at_work: AtWork, task_id: UUID, name: str, *, count: int, refill: int) -> None:
        client = Client(at_work.origin)
        client.sign_in(at_work.new_person(name))
        super().__init__(client, name)
        self._task_id = str(task_id)
        self._next = f"/api/tasks/{task_id}/batches/next"
        self._count = count
        self._refill = refill
        self._queue: deque[dict[str, Any]] = deque()

    def label(self) -> None:
        if len(self._queue) <= self._refill:
            self._fill()
        if not self._queue:
            raise NothingLeftError(self.name)
        item = self._queue.popleft()
        answer = {
            "task_id": self._task_id,
            "batch_id": item["batch_id"],
            "kind": "choice",
            "chosen_index": item["slot_order"][random.randrange(len(item["slot_order"]))],
            "slot_order": item["slot_order"],
            "client_id": str(uuid4()),
            "elapsed_ms": 1200,
        }
        # A list, as the page's outbox sends it; whoever takes a second for a decision sends one answer at a time.
        body, _, _ = self._timed("/api/annotations", [answer], self.submit_seconds)
        assert body["data"][0]["status"] == "stored", body
        assert not body["data"][0]["surplus"], body
        self.ledger.answer(item["batch_id"])

    def _fill(self) -> None:
        have = [item["batch_id"] for item in self._queue]
        body, asked, arrived = self._timed(self._next, {"count": self._count, "have": have}, self.next_seconds)
        dropped = set(body["data"]["dropped"])
        self._queue = deque(item for item in self._queue if item["batch_id"] not in dropped)
        self._queue.extend(body["data"]["items"])
        self.ledger.served(asked, arrived, [item["batch_id"] for item in self._queue])


class OfTheBareServer(Annotator):
    def label(self) -> None:
        row, asked, arrived = self._timed("/next", {"task": 2, "user": self.name}, self.next_seconds)
        if row is None:
            raise NothingLeftError(self.name)
        self.ledger.served(asked, arrived, [row["id"]])
        answer = {"batch": row["id"], "user": self.name, "choice": "left"}
        self._timed("/submit", answer, self.submit_seconds)
        self.ledger.answer(row["id"])


@dataclass
class Side:
    """Some annotators of one server, who work in stretches; `rates`: labels per second of each."""

    annotators: Sequence[Annotator]
    rates: list[float] = field(default_factory=list)
    client_share: list[float] = field(default_factory=list)  # of one core, that the clients themselves took

    def warm_up(self, labels: int) -> None:
        self._work(labels)
        for annotator in self.annotators:
            annotator.next_seconds.clear()
            annotator.submit_seconds.clear()

    def stretch(self, labels: int) -> float:
        """So many labels, each annotator taking the next one when free. Blocks; the seconds it took."""
        before, begun = time.process_time(), time.perf_counter()
        self._work(labels)
        seconds = time.perf_counter() - begun
        self.rates.append(labels / seconds)
        self.client_share.append((time.process_time() - before) / seconds)
        return seconds

    def _work(self, labels: int) -> None:
        taken, failures = count(), []

        def work(annotator: Annotator) -> None:
            try:
                while next(taken) < labels:
                    annotator.label()
            except Exception as error:  # noqa: BLE001  raised below, in the thread that asked
                failures.append(error)

        threads = [Thread(target=work, args=(annotator,)) for annotator in self.annotators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    @property
    def ledgers(self) -> list[Ledger]:
        return [annotator.ledger for annotator in self.annotators]

    @property
    def labels(self) -> int:
        return sum(len(ledger.answered) for ledger in self.ledgers)

    def p95(self, what: str) -> float:
        """Milliseconds of the requests in `next_seconds` or `submit_seconds`."""
        seconds = sorted(second for annotator in self.annotators for second in getattr(annotator, what))
        return 1000 * float(seconds[int(len(seconds) * 0.95)])
