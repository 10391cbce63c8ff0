"""The clock by which this process waits: no change of the date moves it, and it goes on while the machine sleeps."""

import time


def clock() -> float:
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere `monotonic` is what there is
