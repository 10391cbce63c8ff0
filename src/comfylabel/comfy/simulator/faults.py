"""What a simulated worker may be told to get wrong, at any moment. Counts say how often; -1 is until told otherwise."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Faults:
    # Running
    out_of_memory_above: int | None = None  # pixels x batch size of one sampler
    accelerator_oom: bool = False  # say it as a torch.AcceleratorError does
    execution_errors: int = 0  # samplers that fail with a RuntimeError
    hold_jobs: bool = False  # a job that runs does not end until this is off; it can be interrupted
    stuck: bool = False  # the job that starts next never ends, as when ComfyUI's only thread has died
    history_gap: float = 0.0  # seconds from execution_success to the entry in /history

    # POST /prompt
    queued_but_500: int = 0
    queued_but_cut: int = 0  # queued, then the connection ends without an answer
    queued_but_silent: int = 0  # queued, then no answer for `silence` seconds
    refused_500: int = 0  # not queued
    refused_400: int = 0  # a node's own check says no, which no /object_info foretells
    silence: float = 3600.0

    # Models and nodes that this worker has not
    missing_nodes: set[str] = field(default_factory=set)
    missing_models: set[str] = field(default_factory=set)

    # GET /view
    truncated_images: int = 0
    not_images: int = 0  # 200, image/png, and a body that is no picture
    endless_images: int = 0  # a body of 2 GiB
    huge_images: int = 0  # a small file that decodes to 30000 x 30000
    cut_images: int = 0  # the connection ends in the middle
    slow_image_seconds: float = 0.0

    # Every path: what stands between us and the worker
    proxy: str | None = None  # "401", "403", "502", "html", "redirect", "wrong_type", "huge_json", "silent"
    proxy_paths: tuple[str, ...] = ()  # those that begin so; all when empty
    slow_object_info_seconds: float = 0.0
    silent_websocket: bool = False  # open, but nothing is ever told

    def take(self, name: str) -> bool:
        """Whether this fault strikes now; counts it down."""
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left != 0

    def change(self, wishes: dict[str, Any]) -> None:
        """As JSON sends them; ValueError for a name or a value that no fault has."""
        kinds = {entry.name: entry.type for entry in fields(self)}
        for name, value in wishes.items():
            if name not in kinds:
                raise ValueError(f"There is no fault {name}; there are {', '.join(kinds)}.")
            setattr(self, name, _converted(name, getattr(self, name), value))


def parse_faults(text: str) -> Faults:
    """`out_of_memory_above=600000,truncated_images=2,stuck`"""
    faults = Faults()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        faults.change({name.strip(): value.strip() if equals else "true"})
    return faults


def _converted(name: str, present: Any, value: Any) -> Any:
    try:
        if isinstance(present, bool):
            return value if isinstance(value, bool) else str(value).lower() in {"true", "1", "on", "yes"}
        if isinstance(present, set | tuple):
            items = value if isinstance(value, list) else str(value).split("+")
            return type(present)(str(item) for item in items)
        if name == "proxy":
            return str(value) if value not in {None, "", "none"} else None
        if value is None and name == "out_of_memory_above":
            return None
        if value == "true":
            return 1
        return float(value) if isinstance(present, float) else int(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be {value!r}.") from error
