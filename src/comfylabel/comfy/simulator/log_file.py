"""What a simulated worker was asked for and did, one JSON line per event, for whoever judges it after it was killed.

Each line is one write, made before the worker goes on: what it has done and nobody finds here cannot be.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from comfylabel.comfy.simulator.files import StoredFile
from comfylabel.comfy.simulator.submission_log import LoggedSubmission


class LogFile:
    """Appends to `path`; writes nothing when there is none."""

    def __init__(self, path: Path | None) -> None:
        self._number = None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def up(self, url: str) -> None:
        self._write("up", {"url": url})

    def forgot(self) -> None:
        """Queue, history and cache are gone: a restart."""
        self._write("forgot", {})

    def post(self, entry: LoggedSubmission, graph: dict[str, Any]) -> None:
        """It is valid, and about to be queued."""
        self._write("post", _name(entry) | {"client_id": entry.client_id, "graph": graph}, entry.queued)

    def start(self, entry: LoggedSubmission) -> None:
        self._write("start", _name(entry), entry.started)

    def end(self, entry: LoggedSubmission) -> None:
        sampled = {name: getattr(entry, name) for name in ("prompt", "seed", "batch_size", "width", "height")}
        images = [image.recipe() for image in entry.images]
        self._write("end", _name(entry) | {"outcome": entry.outcome, **sampled, "images": images}, entry.ended)

    def drawn(self, file: StoredFile) -> None:
        """Somebody has fetched it for the first time."""
        assert file.digests is not None
        digests = {"pixels_sha256": file.digests.pixels, "clean_sha256": file.digests.clean}
        self._write("drawn", file.reference | digests)

    def close(self) -> None:
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def _write(self, event: str, fields: dict[str, Any], at: float | None = None) -> None:
        if self._number is not None:
            line = json.dumps({"event": event, "at": at or time.time(), **fields}) + "\n"
            os.write(self._number, line.encode())


def _name(entry: LoggedSubmission) -> dict[str, Any]:
    return {"id": entry.id, "number": entry.number}
