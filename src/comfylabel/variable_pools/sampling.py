"""Which combination of pool items comes when. Pure, and the same for ever under a stored sampling seed.

Nothing is drawn and remembered: combination number i is computed from i, so a product of 10^12 costs as
little as one of ten, a longer draw begins with the shorter one, and none comes twice.
"""

import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from comfylabel.variable_pools.schemas import VariablePool

# Four rounds make a Feistel network indistinguishable from random to anybody without the key (Luby and
# Rackoff); two more smooth the very small pools.
_ROUNDS = 6


def capacity(pools: Sequence[VariablePool]) -> int:
    """How many different combinations there are; 1, the empty one, without pools."""
    return math.prod(len(pool.items) for pool in pools)


def combinations(pools: Sequence[VariablePool], sampling_seed: int, start: int = 0) -> Iterator[tuple[str, ...]]:
    """Combinations `start`, `start` + 1, ... to the last, one item of each pool in the order of `pools`.

    `permutation` pools are walked in order, the last one fastest; `no_replacement` pools give the next random
    combination with every step.
    """
    walked = [index for index, pool in enumerate(pools) if pool.mode == "permutation"]
    drawn = [index for index, pool in enumerate(pools) if pool.mode == "no_replacement"]
    walked_size = math.prod(len(pools[index].items) for index in walked)
    drawn_size = math.prod(len(pools[index].items) for index in drawn)
    shuffled = IndexPermutation(drawn_size, sampling_seed)
    common = math.lcm(walked_size, drawn_size)
    items = [pool.items for pool in pools]
    for step in range(start, walked_size * drawn_size):
        # Both products go round at their own pace and meet again after `common` steps; one step aside each
        # time that happens, and no pair comes twice before all have come.
        chosen = [""] * len(pools)
        _put(chosen, items, walked, step % walked_size)
        _put(chosen, items, drawn, shuffled[(step + step // common) % drawn_size])
        yield tuple(chosen)


def _put(chosen: list[str], items: list[tuple[str, ...]], pools: list[int], number: int) -> None:
    """Write combination `number` of these pools in their places: a mixed-radix number, last digit fastest."""
    for index in reversed(pools):
        number, digit = divmod(number, len(items[index]))
        chosen[index] = items[index][digit]


class IndexPermutation:
    """A random-looking bijection of range(size) that costs no memory: a Feistel network over a grid.

    The grid has `rows` x `columns` >= `size` places; an index that lands outside `size` walks on until it is
    inside.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.rows = max(1, math.isqrt(max(0, size - 1)) + 1)
        self.columns = max(1, -(-size // self.rows))
        width = (self.rows.bit_length() + 7) // 8
        self._operand_bytes = width
        self._digest_bytes = min(64, width + 8)  # eight bytes more than needed: no visible bias from the remainder
        key = seed.to_bytes(16, "big", signed=True)
        self._rounds = [
            (blake2b(bytes([number]), key=key, digest_size=self._digest_bytes), number % 2 == 0)
            for number in range(_ROUNDS)
        ]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(index)
        place = self._move(index)
        while place >= self.size:
            place = self._move(place)
        return place

    def _move(self, place: int) -> int:
        row, column = divmod(place, self.columns)
        for keyed, moves_row in self._rounds:
            mixer = keyed.copy()
            if moves_row:
                mixer.update(column.to_bytes(self._operand_bytes, "big"))
                row = (row + int.from_bytes(mixer.digest(), "big")) % self.rows
            else:
                mixer.update(row.to_bytes(self._operand_bytes, "big"))
                column = (column + int.from_bytes(mixer.digest(), "big")) % self.columns
        return row * self.columns + column
