"""UUIDv7 made in the application: sortable by time, and the partition key of `generations`."""

import os
import time
import uuid
from datetime import UTC, datetime

_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def uuid7(moment: datetime | None = None) -> uuid.UUID:
    """A new id whose first 48 bits are milliseconds since 1970 (of `moment`, else of now) and whose rest is random."""
    milliseconds = int(moment.timestamp() * 1000) if moment else time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    return _assemble(milliseconds, random >> 68, random & ((1 << 62) - 1))


def uuid7_floor(moment: datetime) -> uuid.UUID:
    """The bound of a month's partition: milliseconds, then zeros (smaller than any id of that moment)."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def uuid7_time(value: uuid.UUID) -> datetime:
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def _assemble(milliseconds: int, rand_a: int, rand_b: int) -> uuid.UUID:
    return uuid.UUID(int=milliseconds << 80 | _VERSION_7 | (rand_a & 0xFFF) << 64 | _VARIANT | rand_b)
