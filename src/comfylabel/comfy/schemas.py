"""What a worker's answers mean to us, read from its JSON.

Extra keys are ignored, because most releases of ComfyUI add some. `from_json` raises UnexpectedShape for what
is not ComfyUI's.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comfylabel.comfy.plain_text import plain

Outcome = Literal["success", "error", "interrupted"]

# The exception's class as ComfyUI prints it (`torch.` before it depends on the release of torch).
OUT_OF_MEMORY_TYPES = frozenset({"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError"})
# ComfyUI's own sentence, and what CUDA says in an AcceleratorError that ComfyUI 0.3.x passes on as it is.
OUT_OF_MEMORY_TEXTS = ("ran out of memory on your gpu", "cuda error: out of memory")

# Of what is kept of a worker's words: names of versions, nodes and exceptions, and the message of an exception.
_LONGEST_NAME = 200
_LONGEST_MESSAGE = 4000


class UnexpectedShape(ValueError):
    """Says what is not as ComfyUI sends it."""


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    type: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True, slots=True)
class SystemStats:
    """`fingerprint` is another one after an update, on other hardware, or with other arguments."""

    version: str
    devices: tuple[Device, ...] = ()
    fingerprint: str = ""

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """(0, 3, 75) of "v0.3.75-dev"; empty when there is no number to read, which compares as oldest."""
        found = re.match(r"v?(\d+(?:\.\d+)*)", self.version)
        return tuple(int(part) for part in found[1].split(".")) if found else ()

    @classmethod
    def from_json(cls, document: Any) -> "SystemStats":
        system = _mapping(_mapping(document, "the answer").get("system"), "system")
        version = system.get("comfyui_version")
        # Before v0.3.8 there was no comfyui_version; such a server is a ComfyUI still.
        if version is not None and not isinstance(version, str):
            raise UnexpectedShape("system.comfyui_version is no text")
        devices = _mapping(document, "the answer").get("devices")
        return cls(
            version=plain(version or "unknown", _LONGEST_NAME),
            devices=tuple(_device(entry) for entry in devices if isinstance(entry, dict))
            if isinstance(devices, list)
            else (),
            fingerprint=_fingerprint(system, devices),
        )


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """Ids of what a worker has. `pending` is in the order of running, which is not how ComfyUI lists it."""

    running: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self.running) | frozenset(self.pending)

    @classmethod
    def from_json(cls, document: Any) -> "QueueSnapshot":
        queue = _mapping(document, "the answer")
        running = [_queue_item(item) for item in _list(queue.get("queue_running"), "queue_running")]
        pending = [_queue_item(item) for item in _list(queue.get("queue_pending"), "queue_pending")]
        return cls(
            running=tuple(identity for _, identity in running),
            pending=tuple(identity for _, identity in sorted(pending)),
        )


@dataclass(frozen=True, slots=True)
class OutputImage:
    """Where a worker keeps a picture. Names are reused once files are deleted: they identify no content."""

    filename: str
    subfolder: str = ""
    type: str = "output"

    @classmethod
    def from_json(cls, document: Any) -> "OutputImage":
        image = _mapping(document, "an image")
        filename, subfolder, kind = (
            image.get("filename"),
            image.get("subfolder", ""),
            image.get("type", "output"),
        )
        if not (isinstance(filename, str) and filename):
            raise UnexpectedShape("an image has no filename")
        if not (isinstance(subfolder, str) and isinstance(kind, str)):
            raise UnexpectedShape("an image's subfolder or type is no text")
        if not all(_fits_an_address(text) for text in (filename, subfolder, kind)):
            raise UnexpectedShape("the name of an image is half of a character")
        return cls(filename, subfolder, kind)


@dataclass(frozen=True, slots=True)
class ExecutionError:
    node_id: str
    node_type: str
    exception_type: str
    message: str
    out_of_memory: bool

    @classmethod
    def from_json(cls, document: Any) -> "ExecutionError":
        error = _mapping(document, "execution_error")
        exception_type = str(error.get("exception_type", ""))
        message = str(error.get("exception_message", "")).strip()
        return cls(
            node_id=plain(str(error.get("node_id", "")), _LONGEST_NAME),
            node_type=plain(str(error.get("node_type", "")), _LONGEST_NAME),
            exception_type=plain(exception_type, _LONGEST_NAME),
            message=plain(message, _LONGEST_MESSAGE),
            out_of_memory=is_out_of_memory(exception_type, message),
        )

    def __str__(self) -> str:
        first_line = self.message.partition("\n")[0]
        return f"{self.exception_type} on node {self.node_id} ({self.node_type}): {first_line}"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How a submission ended. `images` may hold pictures of an error too: nodes that ran before it.

    `number`: the worker counts what it is sent. `began_at`, `ended_at`: seconds since 1970 by the worker's own clock,
    None where it does not say. `cached`: the nodes that it did not run, because it had their results.
    """

    outcome: Outcome
    images: dict[str, list[OutputImage]] = field(default_factory=dict)
    error: ExecutionError | None = None
    graph: dict[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    ended_at: float | None = None
    cached: frozenset[str] = frozenset()
    number: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long the worker worked on it; None where it does not say, or its clock was set back meanwhile."""
        if self.began_at is None or self.ended_at is None or self.ended_at < self.began_at:
            return None
        return self.ended_at - self.began_at

    @classmethod
    def from_json(cls, document: Any) -> "HistoryEntry":
        entry = _mapping(document, "the entry")
        status = _mapping(entry.get("status"), "status")
        outcome, error = _outcome(status)
        prompt = _list(entry.get("prompt"), "prompt")
        if len(prompt) < 3:  # noqa: PLR2004 - [number, id, graph, extra_data, outputs]
            raise UnexpectedShape("prompt has no graph")
        told = _told(status)
        return cls(
            outcome=outcome,
            began_at=_moment(told.get("execution_start")),
            ended_at=_moment(told.get(_LAST_WORDS[outcome])),
            cached=_cached(told.get("execution_cached")),
            images={
                str(node): images
                for node, output in _mapping(entry.get("outputs"), "outputs").items()
                if (images := _images(output))
            },
            error=error,
            graph=_mapping(prompt[2], "prompt[2]"),
            number=_finite(prompt[0]),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A frame of the websocket. Only a hint: HTTP is the truth, and foreign submissions turn up here too.

    `is_over`: the last `executing`, which names no node. The history is written by then (seen 80 of 80 times; at
    `execution_success` 72 of 80).
    """

    kind: str
    submission_id: str | None
    is_over: bool = False

    @classmethod
    def from_json(cls, document: Any) -> "Event":
        frame = _mapping(document, "the frame")
        kind, data = frame.get("type"), frame.get("data")
        if not isinstance(kind, str):
            raise UnexpectedShape("the frame has no type")
        told = data if isinstance(data, dict) else {}
        submission_id = told.get("prompt_id")
        return cls(
            kind,
            submission_id if isinstance(submission_id, str) else None,
            is_over=kind == "executing" and "node" in told and told["node"] is None,
        )


def is_out_of_memory(exception_type: str, message: str) -> bool:
    lowered = message.lower()
    return exception_type in OUT_OF_MEMORY_TYPES or any(text in lowered for text in OUT_OF_MEMORY_TEXTS)


def _fingerprint(system: Mapping[str, Any], devices: Any) -> str:
    """Of what stays the same while a server runs: not of free memory."""
    told = [system.get(key) for key in ("comfyui_version", "python_version", "pytorch_version", "argv")]
    names = [
        [device.get(key) for key in ("name", "type", "vram_total")]
        for device in (devices if isinstance(devices, list) else [])
        if isinstance(device, dict)
    ]
    return hashlib.sha256(json.dumps([told, names], sort_keys=True).encode()).hexdigest()


def _outcome(status: Mapping[str, Any]) -> tuple[Outcome, ExecutionError | None]:
    """Error and interruption share `status_str`: the last message tells them apart."""
    if status.get("status_str") == "success":
        return "success", None
    if status.get("status_str") != "error":
        raise UnexpectedShape(f"status_str is {str(status.get('status_str'))[:_LONGEST_NAME]!r}")
    for message in reversed(_list(status.get("messages"), "messages")):
        if isinstance(message, list) and len(message) == 2:  # noqa: PLR2004 - [event, data]
            if message[0] == "execution_interrupted":
                return "interrupted", None
            if message[0] == "execution_error":
                return "error", ExecutionError.from_json(message[1])
    return "error", ExecutionError("", "", "", "The worker gives no reason.", out_of_memory=False)


_LAST_WORDS: Mapping[Outcome, str] = {
    "success": "execution_success",
    "error": "execution_error",
    "interrupted": "execution_interrupted",
}
# ComfyUI's are milliseconds since 1970; what is beyond the year 9999 is no moment.
_LAST_MOMENT = 253_402_300_800_000


def _told(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The data of each kind of message; timing is no reason to refuse an entry, so what is strange is left out."""
    messages = status.get("messages")
    pairs = (message for message in (messages if isinstance(messages, list) else ()) if isinstance(message, list))
    return {
        pair[0]: pair[1]
        for pair in pairs
        if len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], dict)  # noqa: PLR2004 - [event, data]
    }


def _moment(data: Mapping[str, Any] | None) -> float | None:
    timestamp = (data or {}).get("timestamp")
    if isinstance(timestamp, int | float) and 0 <= timestamp < _LAST_MOMENT:
        return timestamp / 1000
    return None


def _cached(data: Mapping[str, Any] | None) -> frozenset[str]:
    nodes = (data or {}).get("nodes")
    return frozenset(node for node in nodes if isinstance(node, str)) if isinstance(nodes, list) else frozenset()


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of more than 300 digits
        return None


def _images(output: Any) -> list[OutputImage]:
    """Outputs hold lists of anything; only `images` are pictures to fetch."""
    images = output.get("images") if isinstance(output, dict) else None
    return [OutputImage.from_json(image) for image in images] if isinstance(images, list) else []


def _device(entry: Mapping[str, Any]) -> Device:
    def number(key: str) -> int:
        value = entry.get(key)
        return value if isinstance(value, int) and 0 <= value < 2**63 else 0  # a bigint holds no more

    def name(key: str) -> str:
        return plain(str(entry.get(key, "")), _LONGEST_NAME)

    return Device(name("name"), name("type"), number("vram_total"), number("vram_free"))


def _fits_an_address(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and UTF-8 cannot
        return False
    return True


def _queue_item(item: Any) -> tuple[float, str]:
    match item:
        case [int() | float() as number, str() as identity, *_]:
            try:
                return float(number), identity
            except OverflowError:
                raise UnexpectedShape("a queue entry has a number of more than 300 digits") from None
    raise UnexpectedShape("a queue entry is not [number, id, ...]")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnexpectedShape(f"{name} is no object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnexpectedShape(f"{name} is no list")
    return value
