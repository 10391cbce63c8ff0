"""A point in time in a request body."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, written in a zone west of here
        raise ValueError("must lie in the years 1 to 9999 UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
