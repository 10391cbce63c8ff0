"""Pauses of a worker between two jobs, counted by length. Pure.

Each count is of the pauses up to its own bound and above the one before; the last is of all that are longer.
"""

from collections.abc import Sequence

# Milliseconds, as the columns of worker_totals are named.
BOUNDS_MS = (10, 30, 100, 300, 1000, 3000)


def place(seconds: float) -> int:
    """Which of the seven counts it belongs to."""
    return next((place for place, bound in enumerate(BOUNDS_MS) if seconds * 1000 <= bound), len(BOUNDS_MS))


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """Below which so many of them lie, as if each count were spread evenly; None without any.

    Beyond the last bound nothing is known but that: the bound itself is said.
    """
    wanted = share * sum(counts)
    if wanted == 0:
        return None
    lower = before = 0.0
    for bound, count in zip(BOUNDS_MS, counts, strict=False):
        if count and before + count >= wanted:
            return round(lower + (bound - lower) * (wanted - before) / count, 1)
        lower, before = float(bound), before + count
    return lower
