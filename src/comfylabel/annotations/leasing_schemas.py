"""The bodies of the routes that hand out batches."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from comfylabel.annotations.schemas import BatchItem
from comfylabel.annotations.share import HOLD, HOLD_OFFLINE

BatchIds = Annotated[list[UUID], Field(max_length=HOLD_OFFLINE)]


class NextBatches(BaseModel):
    """`count`: how many the page wants to hold in all, with those it has already. More than 20 only to go offline."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[StrictInt, Field(ge=1, le=HOLD_OFFLINE)] = HOLD
    have: BatchIds = []
    offline: StrictBool = False


class ReleaseBatches(BaseModel):
    """null or left out: all that this person holds in the task."""

    model_config = ConfigDict(extra="forbid")

    batch_ids: BatchIds | None = None


class OneBatchItem(BatchItem):
    """`slot_order[i]` is the candidate to show in place i: dealt for this person and this batch, for ever."""

    slot_order: list[int]


class LeasedItem(OneBatchItem):
    """`position` counts what the person has answered and what stands before it in their queue, from 1 on.

    `leased_until` is null for a batch that was only looked at.
    """

    position: int
    leased_until: datetime | None


class VariantAnswer(BaseModel):
    """null: the test says nothing about it."""

    key: str
    prefetch_batches: int | None
    image_size: int | None
    cdn_url: str | None


class NextAnswer(BaseModel):
    """`items` leaves out what `have` named; `dropped` names those of it that are no longer this person's.

    `open` counts the task's batches that still want an answer; `hold` is how many one person may hold now.
    `state`: work, there is something to judge; wait, ask again after `retry_after` seconds: more is being made, or
    others hold it; finished.
    """

    items: list[LeasedItem]
    dropped: list[UUID]
    done_by_me: int
    open: int
    hold: int
    state: Literal["work", "wait", "finished"]
    retry_after: int | None
    lease_seconds: int
    variant: VariantAnswer | None


class ReleaseAnswer(BaseModel):
    released: int
