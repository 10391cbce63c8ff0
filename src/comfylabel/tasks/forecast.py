"""Rule: how long the mass run of a task will take, from what its pilot measured on one worker. Pure.

    T(b)                seconds of one submission of b images: the mean of those measured at that batch size, without
                        those that loaded models first; sizes in between by a straight line
    seconds_per_image   the sum of T over the chunks of one prompt / its images
    low                 all images / the sum of images a second of every able worker, the piloted one as fast as its
                        fastest submission, and so is every one whose pace is not known
    high                all images / the sum of images a second of every able worker whose pace is known, the piloted
                        one as slow as its slowest submission; plus loading its models once, and, where there are
                        several, the largest submission on the slowest of them, because the last one is not shared out
    gpu_hours           all images x seconds_per_image / 3600

Times are the worker's own, from the start to the end of its work: what was waited in its queue is not in them. Paces
of other workers come from images of this workflow at this size that they made before. Of the rest nothing is known:
they may help, so they are in the low end, and nobody counts on them, so they are not in the high one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import fmean
from typing import Any, Protocol
from uuid import UUID

# A pace of nothing at all, which a clock of whole milliseconds can bring, is not divided by.
_FASTEST = 0.001
# Whose memory torch calls a device's own although it is the machine's, or makes up (DirectML's).
_NO_MEMORY_OF_THEIR_OWN = {
    "cpu": "The worker computes on its CPU: there is no video memory to tell of.",
    "mps": "The worker shares its memory with the rest of its machine: there is no video memory to tell of.",
    "privateuseone": "The worker cannot tell how much video memory is free.",
}
_NO_MEMORY_SEEN = "The worker does not say how much video memory is free."
_NO_TIMES = "The worker does not say how long it worked, or had every image in its cache: no time can be told."


@dataclass(frozen=True, slots=True)
class Measured:
    """One submission that ended well. `is_cold`: models were loaded in it, so it took longer than others will."""

    batch_size: int
    seconds: float
    is_cold: bool


class Device(Protocol):
    """What a worker says of its first GPU; bytes."""

    @property
    def type(self) -> str: ...
    @property
    def vram_total(self) -> int: ...
    @property
    def vram_free(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """Video memory, in bytes; `headroom` is the share of it that was never used while the samples were made."""

    total: int
    lowest_free: int

    @property
    def headroom(self) -> float:
        return self.lowest_free / self.total

    def to_json(self) -> dict[str, int | float]:
        return {**asdict(self), "headroom": round(self.headroom, 3)}


@dataclass(frozen=True, slots=True)
class OtherWorker:
    """`pace`: its seconds for such an image; None where it has made none. `is_able`: it can run this workflow now."""

    id: UUID
    pace: float | None
    is_able: bool


@dataclass(frozen=True, slots=True)
class MassRun:
    """What is to be made: `prompts` times the chunks, which hold as many images as a submission of theirs."""

    prompts: int
    chunks: Sequence[int]
    batch_size: int

    @property
    def images(self) -> int:
        return self.prompts * sum(self.chunks)


@dataclass(frozen=True, slots=True)
class _Pace:
    """Of the piloted worker, in seconds an image: as it is on the whole, at its best and at its worst."""

    mean: float
    best: float
    worst: float
    loading: float


def forecast(
    run: MassRun,
    measured: Sequence[Measured],
    looks: Sequence[Device],
    *,
    piloted: UUID,
    others: Iterable[OtherWorker],
) -> Mapping[str, Any]:
    """As the pilot's answer shows it; `notes` say in words what is not known and not counted."""
    others = [other for other in others if other.id != piloted]
    memory, memory_note = memory_of(looks)
    pace = _pace(run, measured)
    unknown = sum(other.is_able and other.pace is None for other in others)
    notes = [memory_note, None if pace else _NO_TIMES, _guessed(unknown) if pace else None]
    return {
        "seconds_per_image": round(pace.mean, 2) if pace else None,
        "by_batch_size": {
            str(size): round(seconds / size, 2) for size, seconds in sorted(_seconds_by_size(measured).items())
        },
        "eta_seconds": _eta(run, pace, others) if pace else None,
        "gpu_hours": round(pace.mean * run.images / 3600, 4) if pace else None,
        "workers": {
            str(piloted): round(pace.mean, 2) if pace else None,
            **{str(other.id): None if other.pace is None else round(other.pace, 2) for other in others},
        },
        "batch_size": run.batch_size,
        "vram": memory.to_json() if memory else None,
        "notes": [note for note in notes if note],
    }


def memory_of(looks: Sequence[Device]) -> tuple[Memory | None, str | None]:
    """The lowest of what was seen free, or why there is none."""
    if not looks:
        return None, _NO_MEMORY_SEEN
    why = _NO_MEMORY_OF_THEIR_OWN.get(looks[0].type)
    told = [look for look in looks if 0 <= look.vram_free <= look.vram_total and look.vram_total > 0]
    if why or not told:
        return None, why or _NO_MEMORY_SEEN
    lowest = min(told, key=lambda look: look.vram_free)
    return Memory(lowest.vram_total, lowest.vram_free), None


def _pace(run: MassRun, measured: Sequence[Measured]) -> _Pace | None:
    by_size = _seconds_by_size(measured)
    if not by_size:
        return None
    mean = sum(_seconds_of(chunk, by_size) for chunk in run.chunks) / sum(run.chunks)
    ratios = [one.seconds / max(by_size[one.batch_size], _FASTEST) for one in _warm(measured)]
    loading = [one.seconds - by_size[one.batch_size] for one in measured if one.is_cold]
    return _Pace(mean, mean * min([1.0, *ratios]), mean * max([1.0, *ratios]), max([0.0, *loading]))


def _eta(run: MassRun, pace: _Pace, others: Iterable[OtherWorker]) -> dict[str, int]:
    able = [other.pace for other in others if other.is_able]
    known = [seconds for seconds in able if seconds is not None]
    low = run.images / _rate([pace.best] * (1 + len(able) - len(known)) + known)
    high = run.images / _rate([pace.worst, *known]) + pace.loading
    if known:
        high += max(run.chunks) * max(pace.worst, *known)
    return {"low": round(low), "high": round(high)}


def _rate(paces: Iterable[float]) -> float:
    """Images a second of all of them together."""
    return sum(1 / max(seconds, _FASTEST) for seconds in paces)


def _warm(measured: Sequence[Measured]) -> list[Measured]:
    """Without those that loaded models, where the same size was measured without."""
    warm_sizes = {one.batch_size for one in measured if not one.is_cold}
    return [one for one in measured if not one.is_cold or one.batch_size not in warm_sizes]


def _seconds_by_size(measured: Sequence[Measured]) -> dict[int, float]:
    """T, by batch size."""
    ordered = sorted(_warm(measured), key=lambda one: one.batch_size)
    return {size: fmean(one.seconds for one in same) for size, same in groupby(ordered, key=lambda one: one.batch_size)}


def _seconds_of(size: int, by_size: Mapping[int, float]) -> float:
    """T of a size that need not have been measured."""
    if size in by_size:
        return by_size[size]
    below = max((other for other in by_size if other < size), default=None)
    above = min((other for other in by_size if other > size), default=None)
    if below is None or above is None:
        nearest = below or above or size
        return by_size[nearest] * size / nearest
    share = (size - below) / (above - below)
    return by_size[below] + share * (by_size[above] - by_size[below])


def _guessed(unknown: int) -> str | None:
    if unknown == 0:
        return None
    who, they = ("One more worker can", "it is") if unknown == 1 else (f"{unknown} more workers can", "they are")
    return (
        f"{who} run this, but made no such images before: {they} counted in the shortest time only, "
        "as if as fast as the piloted one."
    )
