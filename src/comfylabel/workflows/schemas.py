"""What a workflow is, and the shapes of its requests and answers."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from comfylabel.comfy.graph import Bindings, Graph

SeedMode: TypeAlias = Literal["native", "loop"]
Status: TypeAlias = Literal["valid", "warnings", "unverified"]
Level: TypeAlias = Literal["error", "warning", "info"]

# The order in which bindings are shown and said.
BINDING_KINDS = ("prompt", "seed", "width", "height", "batch_size", "images")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a validation report; `node` is None where it is about the graph as a whole."""

    level: Level
    code: str
    node: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one workflow may do."""

    allow_controlnet: bool
    allow_dynamic_resolution: bool
    max_pixels: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Limits":
        return cls(value["allow_controlnet"], value["allow_dynamic_resolution"], value["max_pixels"])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the server allows any workflow; an upload may only ask for less."""

    max_batch_size: int
    allow_controlnet: bool
    allow_dynamic_resolution: bool
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Workflow:
    """One version of an uploaded graph with all that was found about it."""

    id: uuid.UUID
    name: str
    version: str
    model: str
    max_batch_size: int
    seed_mode: SeedMode
    status: Status
    bindings: Bindings
    limits: Limits
    report: tuple[Line, ...]
    raw_definition: Graph
    validated_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow as lists show it: without its graph, bindings and report."""

    id: uuid.UUID
    name: str
    version: str
    model: str
    max_batch_size: int
    seed_mode: SeedMode
    status: Status
    validated_at: datetime | None
    created_at: datetime


# --- what an upload says


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class GivenInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    node: str
    input: str


class GivenBindings(BaseModel):
    """Kinds left out are looked for in the graph; an empty list says that there is none."""

    model_config = ConfigDict(extra="forbid")

    prompt: list[GivenInput] | None = None
    seed: list[GivenInput] | None = None
    width: list[GivenInput] | None = None
    height: list[GivenInput] | None = None
    batch_size: list[GivenInput] | None = None
    images: list[str] | None = None


class GivenLimits(BaseModel):
    """Each left out is the server's own."""

    model_config = ConfigDict(extra="forbid")

    max_batch_size: Annotated[StrictInt, Field(ge=1)] | None = None
    allow_controlnet: StrictBool | None = None
    allow_dynamic_resolution: StrictBool | None = None
    max_pixels: Annotated[StrictInt, Field(ge=1)] | None = None


class Metadata(GivenLimits):
    """The text part `metadata` of POST /api/workflows."""

    name: _Text
    version: _Text = "1"
    model: _Text | None = None
    bindings: GivenBindings = GivenBindings()


class WorkflowChange(GivenLimits):
    """PATCH /api/workflows/{id}: bindings as an upload gives them, limits only lower than they are."""

    bindings: GivenBindings | None = None


# --- answers


class BoundInput(BaseModel):
    node: str
    input: str


class BindingsAnswer(BaseModel):
    prompt: list[BoundInput]
    seed: list[BoundInput]
    width: list[BoundInput]
    height: list[BoundInput]
    batch_size: list[BoundInput]
    images: list[str]


class LimitsAnswer(BaseModel):
    allow_controlnet: bool
    allow_dynamic_resolution: bool
    max_pixels: int


class ReportLine(BaseModel):
    level: Level
    code: str
    node: str | None
    message: str


class WorkflowSummary(BaseModel):
    id: uuid.UUID
    name: str
    version: str
    model: str
    max_batch_size: int
    seed_mode: SeedMode
    status: Status
    validated_at: datetime | None
    created_at: datetime


class WorkflowList(BaseModel):
    items: list[WorkflowSummary]
    next_cursor: str | None


class WorkflowAnswer(WorkflowSummary):
    prompt_nodes: list[str]
    seed_nodes: list[str]
    forbidden_nodes: list[str]
    bindings: BindingsAnswer
    proposed: list[str]
    limits: LimitsAnswer
    report: list[ReportLine]


class WorkflowDetail(WorkflowAnswer):
    raw_definition: dict[str, Any]
