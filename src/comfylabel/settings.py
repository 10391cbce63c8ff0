"""Every setting of the product, read once by a composition root and handed down. Nothing else reads the environment."""

import re
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?/?", re.IGNORECASE)


class Settings(BaseSettings):
    """Read from `COMFYLABEL_<NAME>`; `DATABASE_URL` and the four guardrails also by their bare names."""

    model_config = SettingsConfigDict(env_prefix="COMFYLABEL_", populate_by_name=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("comfylabel")),
        description="Where the embedded database, the images and the secret key live.",
    )
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("COMFYLABEL_DATABASE_URL", "DATABASE_URL"),
        description="A PostgreSQL 16+ to use in place of the embedded one.",
    )
    storage_url: str | None = Field(
        default=None, description="Where images are kept; a local directory under data_dir when unset."
    )
    host: str = Field(default="127.0.0.1", description="Address the web server binds to.")
    port: int = Field(default=8765, ge=0, le=65535, description="Port of the web server; 0 takes a free one.")
    public_url: str | None = Field(
        default=None, description="The address that browsers use, when it differs from host and port."
    )
    cdn_url: str | None = Field(default=None, description="Origin that fronts /images; the public address when unset.")
    cdn_alternatives: str | None = Field(
        default=None, description="More such origins, with spaces between them, for A/B tests to compare."
    )
    auth: Literal["on", "off"] = Field(
        default="on", description="off signs everybody in as admin; a loopback host only."
    )
    secret_key: str | None = Field(
        default=None, description="Signs image URLs, encrypts worker keys; made and kept in data_dir when unset."
    )
    max_workflow_batch_size: int = Field(
        default=16,
        ge=1,
        le=4096,
        validation_alias=AliasChoices("COMFYLABEL_MAX_WORKFLOW_BATCH_SIZE", "MAX_WORKFLOW_BATCH_SIZE"),
        description="Ceiling of a workflow's max_batch_size.",
    )
    allow_controlnet: bool = Field(
        default=True,
        validation_alias=AliasChoices("COMFYLABEL_ALLOW_CONTROLNET", "ALLOW_CONTROLNET"),
        description="Whether any workflow may use ControlNet nodes.",
    )
    allow_dynamic_resolution: bool = Field(
        default=True,
        validation_alias=AliasChoices("COMFYLABEL_ALLOW_DYNAMIC_RESOLUTION", "ALLOW_DYNAMIC_RESOLUTION"),
        description="Whether a pilot may lower a workflow's resolution after an out-of-memory error.",
    )
    max_pixels: int = Field(
        default=2048 * 2048,
        ge=64 * 64,
        validation_alias=AliasChoices("COMFYLABEL_MAX_PIXELS", "MAX_PIXELS"),
        description="Ceiling of width x height of one image.",
    )
    health_interval_seconds: float = Field(default=30, gt=0, description="Between two checks of every enabled worker.")
    queue_poll_seconds: float = Field(default=0.5, gt=0, description="Between two looks at a full worker's queue.")
    submission_deadline_seconds: float = Field(
        default=1800, gt=0, description="A submission that a live worker has not ended by then has failed."
    )
    pilot_wait_seconds: float = Field(default=600, gt=0, description="The longest that POST .../pilot waits.")
    ingest_concurrency: int = Field(
        default=4, ge=1, le=64, description="Images decoded and written at the same time, a thread each."
    )
    ingest_budget_bytes: int = Field(
        default=2**30, ge=2**24, description="Of images on their way to the store: half in memory, half in the spool."
    )
    ingest_backlog: int = Field(
        default=256, ge=1, description="Images made and not yet stored, beyond which no new mass work is begun."
    )
    max_image_bytes: int = Field(default=256 * 2**20, ge=2**20, description="The largest image taken from a worker.")

    @field_validator("cdn_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        return _origin(value) if value else None

    @field_validator("cdn_alternatives")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        return " ".join(_origin(url) for url in value.split()) if value else None

    @property
    def image_origins(self) -> tuple[str, ...]:
        """Where images may come from beside this server: the CDN, and what A/B tests compare it with."""
        return tuple(dict.fromkeys(f"{self.cdn_url or ''} {self.cdn_alternatives or ''}".split()))

    @property
    def object_store_url(self) -> str:
        return self.storage_url or (self.data_dir.expanduser().resolve() / "objects").as_uri()

    @property
    def origin(self) -> str:
        """What the browser's address bar shows, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


def _origin(url: str) -> str:
    """As a browser writes it. It becomes part of a header: anything else would change what that allows."""
    if _ORIGIN.fullmatch(url) is None:
        raise ValueError(f"{url!r} is no origin: https://cdn.example.com is one")
    return url.lower().rstrip("/")
