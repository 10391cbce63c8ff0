"""An A/B test, and the bodies of its routes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from comfylabel.ab_tests.bucketing import Variant
from comfylabel.http.moments import Moment

# PostgreSQL's text holds no NUL.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


@dataclass(frozen=True, slots=True)
class AbTest:
    id: UUID
    name: str
    variants: tuple[Variant, ...]
    expires_at: datetime
    created_at: datetime
    expired: bool


class VariantSettingsBody(BaseModel):
    """What the labelling screen does otherwise for the people of a variant; what is left out stays as it is.

    `prefetch_batches`: how many batches ahead it fetches; `image_size`: the width of what it shows before zooming;
    `cdn_url`: where its images come from, one of the server's image origins.
    """

    model_config = ConfigDict(extra="forbid")

    prefetch_batches: Annotated[StrictInt, Field(ge=1, le=20)] | None = None
    image_size: Literal[256, 640, 1024] | None = None
    cdn_url: Annotated[str, Field(max_length=300)] | None = None


class VariantBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^\x00]+$")]
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
    settings: VariantSettingsBody = VariantSettingsBody()


class NewAbTest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    variants: Annotated[list[VariantBody], Field(min_length=1, max_length=26)]
    expires_at: Moment


class AssignBody(BaseModel):
    """`user_id` left out means oneself."""

    model_config = ConfigDict(extra="forbid")

    test_name: Name
    user_id: UUID | None = None


class VariantSettingsAnswer(BaseModel):
    prefetch_batches: int | None
    image_size: int | None
    cdn_url: str | None


class VariantAnswer(BaseModel):
    key: str
    weight: float
    settings: VariantSettingsAnswer


class AbTestAnswer(BaseModel):
    id: UUID
    name: str
    variants: list[VariantAnswer]
    expires_at: datetime
    created_at: datetime
    expired: bool


class AssignedAnswer(BaseModel):
    variant: str
