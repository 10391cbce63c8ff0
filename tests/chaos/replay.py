"""A worker's log told again: what it knew and held at each moment, and what it made."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.evidence import LoggedWorker, Row


@dataclass(frozen=True, slots=True)
class Queued:
    """A submission entered the queue; `held` and `known` are as they were just before."""

    id: str
    held: frozenset[str]
    known: frozenset[str]
    total: int
    event: Row


class Replay:
    """`sent`: what was queued by id; `pixels` and `files`: of the images that came out; `outcomes`: each way in which a
    submission ended; `held`: what is in the queue at the end.
    """

    def __init__(self, worker: LoggedWorker) -> None:
        self.worker = worker
        self.sent: dict[str, Row] = {}
        self.pixels: dict[str, list[str]] = {}
        self.files: dict[str, list[str]] = {}
        self.outcomes: dict[str, set[str]] = {}
        self.posted = [event["id"] for event in worker.events if event["event"] == "post"]
        self.lost: set[str] = set()  # a restart forgot them
        self.deleted: set[str] = set()
        self.began: dict[str, float] = {}
        self.held: set[str] = set()
        self.is_stuck = False  # what runs there runs until somebody restarts it: no request can end it
        self.entries = list(self._replay())

    def _replay(self) -> Iterator[Queued]:
        held = self.held
        known: set[str] = set()
        for event in self.worker.events:
            match event["event"]:
                case "up" | "forgot":
                    self.lost |= known
                    held.clear()
                    known.clear()
                    self.is_stuck = False
                case "struck" if event["fault"] == "stuck":
                    self.is_stuck = True
                case "queued":
                    identity = event["id"]
                    yield Queued(identity, frozenset(held), frozenset(known), event["held"], event)
                    held.add(identity)
                    known.add(identity)
                    self.sent[identity] = event
                case "began":
                    self.began[event["id"]] = event["at"]
                case "deleted":
                    held.discard(event["id"])
                    known.discard(event["id"])
                    self.deleted.add(event["id"])
                case "ended":
                    held.discard(event["id"])
                    self.outcomes.setdefault(event["id"], set()).add(event["outcome"])
                    if event["outcome"] == "success":
                        self.pixels[event["id"]] = event["pixels"]
                        self.files[event["id"]] = event["files"]

    def may_have_forgotten(self, identity: str) -> bool:
        """Whether there was a moment after the POST at which the worker knew nothing of it."""
        return identity not in self.sent or identity in self.deleted or identity in self.lost
