from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.errors import InvalidField
from comfylabel.http.pagination import decode_cursor, encode_cursor

KINDS: dict[str, Callable[[Any], Any]] = {"at": datetime.fromisoformat, "id": UUID, "position": int}


@given(st.datetimes(timezones=st.just(UTC)), st.uuids(), st.integers(0, 2**53 - 1))
def test_a_cursor_comes_back_as_it_went_out(at: datetime, row: UUID, position: int):
    given_out = {"at": at, "id": row, "position": position}

    assert decode_cursor(encode_cursor(given_out), KINDS) == given_out


def test_no_cursor_is_the_beginning():
    assert decode_cursor(None) is None
    assert decode_cursor("") is None


@given(st.text(max_size=60))
def test_any_other_text_is_refused_in_words(text: str):
    if text:
        with pytest.raises(InvalidField, match="cursor is not one that this server gave out"):
            decode_cursor(text, KINDS)


@pytest.mark.parametrize("position", [{}, {"id": "x"}, {"at": 1, "id": [], "position": "a"}, {"id": None}])
def test_a_cursor_of_another_shape_is_refused(position: dict[str, Any]):
    with pytest.raises(InvalidField):
        decode_cursor(encode_cursor(position), KINDS)


def test_it_fits_into_an_address_unescaped():
    assert set(encode_cursor({"a": "?" * 50 + "\u00ff~"})).isdisjoint("+/=&?#%")
