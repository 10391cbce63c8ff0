"""Graphs that are kept for later, small: a worker that made 200,000 pictures still fits beside ninety-nine others."""

import json
import zlib
from typing import Any


class Packed:
    """A JSON value that is rarely looked at: a tenth of what its dicts take."""

    __slots__ = ("_bytes",)

    def __init__(self, value: Any) -> None:
        self._bytes = zlib.compress(json.dumps(value).encode(), 1)

    def value(self) -> Any:
        return json.loads(zlib.decompress(self._bytes))
