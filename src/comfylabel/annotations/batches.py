"""The page that annotators browse: batches in the order in which they became ready. It leases nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Self
from uuid import UUID

from comfylabel.http.pagination import decode_cursor, encode_cursor

# Proxies give an answer's headers 4 to 8 KB; the rest of a page is fetched by the page itself.
LINK_HEADER_BYTES = 2000

SignUrl = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Position:
    """Beyond which batch a page goes on, and in which direction."""

    ready_at: datetime
    batch_id: UUID
    backwards: bool

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self | None:
        read = decode_cursor(cursor, {"at": moment, "id": UUID, "back": _flag})
        return cls(read["at"], read["id"], read["back"]) if read else None

    @property
    def cursor(self) -> str:
        return encode_cursor({"at": self.ready_at, "id": self.batch_id, "back": self.backwards})


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A ready batch with its candidates: every list is in candidate order."""

    id: UUID
    ready_at: datetime
    prompt: str
    generation_ids: list[UUID]
    seeds: list[int]
    batch_indexes: list[int]
    image_keys: list[str]
    thumbnail_keys: list[str]
    tile_keys: list[str]
    preview_keys: list[str]
    widths: list[int]
    heights: list[int]
    my_annotation: dict[str, Any] | None

    def position(self, *, backwards: bool) -> Position:
        return Position(self.ready_at, self.id, backwards)


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[BatchRow]
    next_cursor: str | None
    previous_cursor: str | None


def cut_page(rows: Sequence[BatchRow], position: Position | None, limit: int) -> Page:
    """`rows` are up to `limit + 1` in the direction of `position`: one too many says that there is more."""
    backwards = position is not None and position.backwards
    more = len(rows) > limit
    kept = list(rows[:limit])
    if backwards:
        kept.reverse()
    if not kept:
        return Page((), None, None)
    before, after = (more, True) if backwards else (position is not None, more)
    return Page(
        kept,
        kept[-1].position(backwards=False).cursor if after else None,
        kept[0].position(backwards=True).cursor if before else None,
    )


def to_item(row: BatchRow, sign: SignUrl, *, hidden: bool) -> dict[str, Any]:
    return {
        "batch_id": row.id,
        "prompt": row.prompt,
        "seeds": [] if hidden else row.seeds,
        "thumbnails": [sign(key) for key in row.thumbnail_keys],
        "fullres": [sign(key) for key in row.image_keys],
        "tiles": [sign(key) for key in row.tile_keys],
        "previews": [sign(key) for key in row.preview_keys],
        "sizes": [list(size) for size in zip(row.widths, row.heights, strict=True)],
        "batch_indexes": [] if hidden else row.batch_indexes,
        "generation_ids": row.generation_ids,
        "my_annotation": row.my_annotation,
    }


def link_header(image_origin: str, thumbnails: Sequence[str]) -> str:
    """Lets a browser connect to the image server and fetch the first thumbnails before it reads the body."""
    return joined_links(
        [f"<{image_origin}>; rel=preconnect", *(f"<{url}>; rel=prefetch; as=image" for url in thumbnails)]
    )


def joined_links(links: Sequence[str]) -> str:
    """The first of them that fit."""
    ends = accumulate(len(link) + len(", ") for link in links)
    return ", ".join(link for link, end in zip(links, ends, strict=True) if end - len(", ") <= LINK_HEADER_BYTES)


def moment(value: object) -> datetime:
    """Of a cursor, which anybody may have written."""
    read = datetime.fromisoformat(str(value))
    if read.tzinfo is None:
        raise ValueError("a time without a zone")
    return read.astimezone(UTC)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value
