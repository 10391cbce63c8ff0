from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from comfylabel.http.envelope import failed, ok


class Colour(StrEnum):
    RED = "red"


class Model(BaseModel):
    id: UUID


@dataclass(frozen=True, slots=True)
class Row:
    at: datetime


def data_of(value: object) -> Any:
    return orjson.loads(ok(value).body)["data"]


def test_the_three_keys_in_their_order():
    assert ok([1]).body == b'{"success":true,"data":[1],"error":null}'
    assert failed("No.", "no", 409).body == b'{"success":false,"data":null,"error":"No.","code":"no"}'


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_is_utc_to_the_second(moment: datetime):
    assert data_of(Row(moment)) == {"at": f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}Z"}


def test_the_kinds_that_the_database_gives():
    row = UUID(int=7)
    given_out = {"id": row, "sum": Decimal(12), "mean": Decimal("1.5"), "colour": Colour.RED, "model": Model(id=row)}

    assert data_of(given_out) == {
        "id": str(row),
        "sum": 12,
        "mean": 1.5,
        "colour": "red",
        "model": {"id": str(row)},
    }


def test_what_is_no_json_is_an_error_here_and_not_at_the_reader():
    with pytest.raises(TypeError, match="not JSON serializable: object"):
        ok(object())
