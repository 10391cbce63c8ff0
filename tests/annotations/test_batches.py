from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.annotations.batches import LINK_HEADER_BYTES, BatchRow, Page, Position, cut_page, link_header
from comfylabel.errors import InvalidField
from comfylabel.http.pagination import encode_cursor

MOMENTS = st.timedeltas(timedelta(0), timedelta(days=300_000)).map(lambda age: datetime(1970, 1, 2, tzinfo=UTC) + age)
POSITIONS = st.builds(Position, MOMENTS, st.uuids(), st.booleans())
START = datetime(2026, 11, 22, tzinfo=UTC)


def row(number: int) -> BatchRow:
    # Three of a kind share a moment: then the id decides.
    return BatchRow(
        id=UUID(int=number),
        ready_at=START + timedelta(seconds=number // 3),
        prompt=f"prompt {number}",
        generation_ids=[],
        seeds=[],
        batch_indexes=[],
        image_keys=[],
        thumbnail_keys=[],
        tile_keys=[],
        preview_keys=[],
        widths=[],
        heights=[],
        my_annotation=None,
    )


def ask(rows: list[BatchRow], cursor: str | None, limit: int) -> Page:
    """What the SQL does, on a list."""
    position = Position.from_cursor(cursor)
    if position is None:
        return cut_page(rows[: limit + 1], None, limit)
    place = (position.ready_at, position.batch_id)
    if position.backwards:
        beyond = [r for r in reversed(rows) if (r.ready_at, r.id) < place]
    else:
        beyond = [r for r in rows if (r.ready_at, r.id) > place]
    return cut_page(beyond[: limit + 1], position, limit)


@given(POSITIONS)
def test_a_cursor_read_back_is_the_position(position):
    assert Position.from_cursor(position.cursor) == position


@given(st.integers(0, 40), st.integers(1, 10))
def test_walking_forwards_and_back_meets_every_batch_once(count, limit):
    rows = [row(number) for number in range(count)]
    pages = [ask(rows, None, limit)]
    assert pages[0].previous_cursor is None
    while pages[-1].next_cursor:
        pages.append(ask(rows, pages[-1].next_cursor, limit))
    assert [r for page in pages for r in page.rows] == rows

    back = [pages[-1]]
    while back[0].previous_cursor:
        back.insert(0, ask(rows, back[0].previous_cursor, limit))
    assert [r for page in back for r in page.rows] == rows
    assert all(page.rows for page in pages[1:] + back[:-1])
    for page, following in pairwise(back):
        assert page.next_cursor
        assert ask(rows, page.next_cursor, limit).rows[0] == following.rows[0]


def test_a_batch_that_became_ready_since_is_met_by_the_same_cursor():
    rows = [row(number) for number in range(5)]
    last = ask(rows, ask(rows, None, 3).next_cursor, 3)
    assert [r.id.int for r in last.rows] == [3, 4]
    assert last.next_cursor is None

    rows.append(row(5))

    again = ask(rows, ask(rows, None, 3).next_cursor, 3)
    assert [r.id.int for r in again.rows] == [3, 4, 5]


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "/",
        encode_cursor({"id": UUID(int=1)}),
        encode_cursor({"at": "2026-11-22T00:00:00", "id": UUID(int=1), "back": False}),
        encode_cursor({"at": "0001-01-01T00:00:00+12:00", "id": UUID(int=1), "back": False}),
        encode_cursor({"at": START, "id": "1; drop table batches", "back": False}),
        encode_cursor({"at": START, "id": UUID(int=1), "back": "yes"}),
    ],
)
def test_a_cursor_that_nobody_was_given_is_refused(cursor):
    with pytest.raises(InvalidField, match="cursor is not one that this server gave out"):
        Position.from_cursor(cursor)


@given(st.lists(st.text("abc/", min_size=1, max_size=300), max_size=60))
def test_the_link_header_fits_through_a_proxy_and_keeps_the_order(urls):
    header = link_header("https://cdn.example.com", urls)
    links = header.split(", ")
    assert len(header) <= LINK_HEADER_BYTES
    assert links[0] == "<https://cdn.example.com>; rel=preconnect"
    assert links[1:] == [f"<{url}>; rel=prefetch; as=image" for url in urls[: len(links) - 1]]
