"""What a simulated worker was sent and did, one JSON line per event, written where the wire ends and the queue begins.

It belongs to the worker's disk: kill -9 of the worker ends no line and loses none that stood for something done.

    up       the process has started: it knows of nothing before
    forgot   as a crash that was repaired at once: queue and history are gone
    post     a POST /prompt was read, whatever becomes of it: id, text, seed, batch_size, width, height
    queued   it is in the queue now; `held`: entries in the queue, this one and the running one included
    began    it runs
    ended    its outcome, and of each image in the order of the history the SHA-256 of its pixels and of its PNG without
             its text chunks
    deleted  somebody took it out of the queue
    struck   what it was told to get wrong met somebody: `fault`
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from comfylabel.comfy.simulator.pictures import Picture, digests
from comfylabel.comfy.simulator.queue import Item, SubmissionQueue


class WireLog:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "at": time.time(), **fields}) + "\n"
        os.write(self._file, line.encode())


def sent_values(graph: dict[str, Any]) -> dict[str, Any]:
    """Text, seed, batch size and size as they stand in a graph of tests/chaos/graphs.py."""
    by_class = {node["class_type"]: node["inputs"] for node in graph.values() if isinstance(node, dict)}
    latent, sampler = by_class.get("EmptyLatentImage", {}), by_class.get("KSampler", {})
    positive = sampler.get("positive", [None])[0]
    return {
        "text": graph[positive]["inputs"]["text"] if positive in graph else None,
        "seed": sampler.get("seed"),
        "batch_size": latent.get("batch_size"),
        "width": latent.get("width"),
        "height": latent.get("height"),
    }


class LoggingQueue(SubmissionQueue):
    """The simulator's queue, telling what enters and leaves it."""

    def __init__(self, log: WireLog) -> None:
        super().__init__()
        self._log = log
        self.pictures: dict[tuple[str, str, str], Picture] = {}  # by folder, subfolder and name

    def put(self, item: Item) -> None:
        super().put(item)
        self._log.write("queued", id=item[1], held=self.remaining, **sent_values(item[2]))

    def take(self) -> tuple[int, Item]:
        ticket, item = super().take()
        self._log.write("began", id=item[1])
        return ticket, item

    def finish(self, ticket: int, entry: dict[str, Any]) -> None:
        item = self.running.get(ticket)
        if item is not None:
            made = [digests(picture) for picture in self._pictures(entry)]
            pixels, files = [one.pixels for one in made], [one.clean for one in made]
            self._log.write("ended", id=item[1], outcome=_outcome(entry), pixels=pixels, files=files)
        super().finish(ticket, entry)

    def delete_pending(self, identity: str) -> bool:
        was_there = super().delete_pending(identity)
        if was_there:
            self._log.write("deleted", id=identity)
        return was_there

    def forget_everything(self) -> None:
        self._log.write("forgot")
        super().forget_everything()

    def _pictures(self, entry: dict[str, Any]) -> list[Picture]:
        images = [image for output in entry["outputs"].values() for image in output.get("images", [])]
        return [self.pictures[image["type"], image["subfolder"], image["filename"]] for image in images]


def _outcome(entry: dict[str, Any]) -> str:
    if entry["status"]["status_str"] == "success":
        return "success"
    events = dict(entry["status"]["messages"])
    if "execution_interrupted" in events:
        return "interrupted"
    kind = events.get("execution_error", {}).get("exception_type", "")
    return "out_of_memory" if "OutOfMemory" in kind or "AcceleratorError" in kind else "error"
