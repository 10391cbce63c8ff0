"""A worker as we know it, and the bodies of its routes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["HEALTHY", "UNHEALTHY"]


@dataclass(frozen=True, slots=True)
class Worker:
    """`api_key` and `headers` (a JSON object) are encrypted; `reason` says why it is UNHEALTHY; bytes of `vram_free`
    are those of the last check; `WorkerAnswer` is what may be shown.
    """

    id: UUID
    name: str
    base_url: str
    api_key: str | None
    enabled: bool
    status: Status
    priority: int
    max_concurrent_jobs: int
    current_queue_len: int
    failed_checks: int
    reason: str | None
    comfyui_version: str | None
    last_checked_at: datetime | None
    removed_at: datetime | None
    tags: tuple[str, ...]
    created_at: datetime
    headers: str | None = None
    header_names: tuple[str, ...] = ()
    device: str | None = None
    vram_total: int | None = None
    vram_free: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """As the list shows it. `held`: our submissions there that have not ended, be it that they wait, run, or have
    images still to be fetched.
    """

    worker: Worker
    held: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a worker answered just now: its queue and its first GPU, or why it counts as failed."""

    running: int = 0
    pending: int = 0
    comfyui_version: str | None = None
    failure: str | None = None
    device: str | None = None
    vram_total: int | None = None
    vram_free: int | None = None
    fingerprint: str | None = None

    @property
    def healthy(self) -> bool:
        return self.failure is None


# Bodies. PostgreSQL's text holds no NUL, and a name with a line break in it is a forged log line.

_ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_ONE_LINE)]
BaseUrl = Annotated[str, Field(min_length=1, max_length=2000)]
# It travels in a header: printable ASCII without spaces.
ApiKey = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[\x21-\x7e]+$")]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000, strict=True)]
MaxConcurrentJobs = Annotated[int, Field(ge=1, le=1000, strict=True)]
Tag = Annotated[str, Field(min_length=1, max_length=100, pattern=_ONE_LINE)]
Tags = Annotated[list[Tag], Field(max_length=50)]
# For the proxy in front of the worker; headers.py says which.
Headers = dict[str, str]
HeaderChanges = dict[str, str | None]


class NewWorker(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    base_url: BaseUrl
    api_key: ApiKey | None = None
    priority: Priority = 0
    max_concurrent_jobs: MaxConcurrentJobs = 1
    tags: Tags = []
    headers: Headers = {}


class WorkerChange(BaseModel):
    """What is left out stays; `"api_key": null` forgets the key, `"headers": null` all headers, a header's null it."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    base_url: BaseUrl | None = None
    api_key: ApiKey | None = None
    enabled: Annotated[bool | None, Field(strict=True)] = None
    priority: Priority | None = None
    max_concurrent_jobs: MaxConcurrentJobs | None = None
    tags: Tags | None = None
    headers: HeaderChanges | None = None


# Answers


class WorkerAnswer(BaseModel):
    id: UUID
    name: str
    base_url: str
    tags: list[str]
    status: Status
    enabled: bool
    priority: int
    max_concurrent_jobs: int
    current_queue_len: int
    last_checked_at: datetime | None
    reason: str | None
    comfyui_version: str | None
    has_api_key: bool
    header_names: list[str]
    held: int
    device: str | None
    vram_total: int | None
    vram_free: int | None
    created_at: datetime


class QueueAnswer(BaseModel):
    pending: int
    running: int


class ProbeAnswer(BaseModel):
    healthy: bool
    queue: QueueAnswer
    reason: str | None
