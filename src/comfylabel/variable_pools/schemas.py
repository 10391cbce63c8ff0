"""What a variable pool is, and the shapes of its requests and answers."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

Mode: TypeAlias = Literal["no_replacement", "permutation"]


@dataclass(frozen=True, slots=True)
class VariablePool:
    """One version of a named list of texts; versions never change."""

    id: uuid.UUID
    name: str
    version: int
    mode: Mode
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariablePoolRow:
    """A version as lists show it: without its items."""

    id: uuid.UUID
    name: str
    version: int
    mode: Mode
    item_count: int
    created_at: datetime


class NewVariablePool(BaseModel):
    """POST /api/variable-pools"""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True)]
    mode: Mode
    items: list[str]


class NewVersion(BaseModel):
    """POST /api/variable-pools/{id}/versions; the mode stays as it was when left out."""

    model_config = ConfigDict(extra="forbid")

    items: list[str]
    mode: Mode | None = None


class VariablePoolSummary(BaseModel):
    id: uuid.UUID
    name: str
    version: int
    mode: Mode
    item_count: int
    created_at: datetime


class VariablePoolList(BaseModel):
    items: list[VariablePoolSummary]
    next_cursor: str | None


class VariablePoolDetail(VariablePoolSummary):
    """With the first `limit` items; `next_cursor` leads to the rest."""

    items: list[str]
    next_cursor: str | None


class Sample(BaseModel):
    items: list[str]
    remaining: int
    pool_id: uuid.UUID
    version: int
    sampling_seed: int
