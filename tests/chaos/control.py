"""A few numbers that one process sets and another reads at any time: a file mapped by both, which outlives both."""

import mmap
import struct
from pathlib import Path
from typing import Literal

Dial = Literal["clock", "slow_put", "slow_post", "slow_reserve", "slow_history"]

_DIALS: tuple[Dial, ...] = ("clock", "slow_put", "slow_post", "slow_reserve", "slow_history")
_NUMBER = struct.Struct("d")


class Control:
    """`clock`: seconds by which the process's wall clock is wrong; the others: seconds that a step takes longer."""

    def __init__(self, path: Path) -> None:
        size = _NUMBER.size * len(_DIALS)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def get(self, dial: Dial) -> float:
        value: float = _NUMBER.unpack_from(self._map, _NUMBER.size * _DIALS.index(dial))[0]
        return value

    def set(self, dial: Dial, value: float) -> None:
        _NUMBER.pack_into(self._map, _NUMBER.size * _DIALS.index(dial), value)

    def reset(self) -> None:
        for dial in _DIALS:
            self.set(dial, 0.0)
