"""Rule: how fast a running task is made, and when it will be done. Pure.

A range, not a number, and the more was seen the narrower: at first from the pilot's forecast, then from what workers
that may go on made in the last minutes. Minutes in which nothing of the task was under way (a pause, an outage) say
nothing about its pace and are left out. Where nothing is known there is no range.

Workers make the images of a task of higher priority first, so its time comes before: all of it at worst, and also at
best where it can take every worker that the task has.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

RECENT_MINUTES = 10
# An hour of evidence says all there is to say about the pace of today.
MOST_MINUTES = 60

# A minute counts half as much as one three minutes later: a worker that came or went is soon felt.
_HALF_LIFE = 3.0
# After one submission the pace may be 1.8 times as high or as low, after a hundred by 6 %.
_SPREAD = 0.6
# After four submissions the pilot's word counts as much as theirs.
_TRUST = 4.0
# A task that made nothing for three submissions' time, and for so many seconds, stands still.
_PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Minute:
    """What was done of a task in a minute; `ago`: 0 is the present one, of which only `seconds` have passed.

    `able_*`: by workers that may go on. `busy` sums up what all of them computed.
    """

    ago: int
    seconds: float
    images: int
    able_images: int
    able_submissions: int
    busy: float


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds: `low` if all goes well."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """`left`: images still to be made; `running`: those under way; `minutes`: those of the last hour with work in them;
    `forecast`: what the pilot said of all the task's `total` images; `is_held_back`: others are made first, so that
    nothing came lately says nothing about its pace.
    """

    left: int
    running: int
    total: int
    minutes: Sequence[Minute] = ()
    forecast: Range | None = None
    is_held_back: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """A task that is made before another: `left` is how long it takes by itself, None where nobody knows;
    `takes_all`: it can use every worker that the other one has.
    """

    left: Range | None
    takes_all: bool


def images_per_second(minutes: Sequence[Minute]) -> float | None:
    """Of the last ten minutes, the latest counting most; None when nothing was made in them."""
    return _rate(_recent(minutes), lambda minute: minute.images, _weight) or None


def share_of(minutes: Sequence[Minute], made: Mapping[int, int]) -> float | None:
    """What one worker adds to `images_per_second` of the task: the shares of all workers together are the whole.

    `made`: its images, by how many minutes ago.
    """
    return _rate(_recent(minutes), lambda minute: made.get(minute.ago, 0), _weight) or None


def remaining(evidence: Evidence) -> Range | None:
    """How long what is left will take, with the workers for itself where others are made first. The caller asks only
    while the task runs and somebody can work on it.
    """
    if evidence.left <= 0:
        return Range(0, 0)
    paces = _paces(evidence)
    if paces is None:
        return None
    slowest, fastest = paces
    low = math.floor(evidence.left / fastest)
    # The last submission is not shared out: however many workers there are, one of them makes it alone.
    high = math.ceil(evidence.left / slowest + _seconds_per_submission(evidence.minutes))
    return Range(low, max(low, high))


def behind(own: Range | None, ahead: Sequence[Ahead]) -> Range | None:
    """How long it is until the task is done, when all those `ahead` are made first."""
    if own is None:
        return None
    low, high = own.low, own.high
    for one in ahead:
        if one.left is None:
            return None
        low += one.left.low if one.takes_all else 0
        high += one.left.high
    return Range(low, high)


def _paces(evidence: Evidence) -> tuple[float, float] | None:
    """Images a second: the slowest and the fastest that it may turn out to be."""
    seen, said = _seen(evidence), _said(evidence)
    if seen is None or said is None:
        return seen or said
    trust = 1 / (1 + _submissions(evidence.minutes) / _TRUST)
    slowest, fastest = (ours ** (1 - trust) * its**trust for ours, its in zip(seen, said, strict=True))
    return slowest, fastest


def _seen(evidence: Evidence) -> tuple[float, float] | None:
    minutes = [minute for minute in evidence.minutes if minute.ago <= MOST_MINUTES]
    if _stands_still(minutes) and not evidence.is_held_back:
        return None
    recent = _rate(minutes, lambda minute: minute.able_images, _weight)
    whole = _rate(minutes, lambda minute: minute.able_images, lambda _: 1.0)
    if not recent or not whole:
        return None
    seconds = sum(minute.seconds for minute in minutes)
    # What is under way is partly made: the truth lies between none of it and all.
    under_way = evidence.running / seconds
    spread = math.exp(_SPREAD / math.sqrt(_submissions(minutes)))
    return min(recent, whole) / spread, max(recent, whole + under_way) * spread


def _said(evidence: Evidence) -> tuple[float, float] | None:
    forecast = evidence.forecast
    if forecast is None or evidence.total <= 0 or forecast.high <= 0:
        return None
    return evidence.total / forecast.high, evidence.total / max(forecast.low, 1)


def _stands_still(minutes: Sequence[Minute]) -> bool:
    """Submissions should have ended since, and none did."""
    productive = [minute.ago for minute in minutes if minute.able_images]
    if not productive:
        return True
    idle = 60.0 * (min(productive) - 1)
    seconds = sum(minute.seconds for minute in minutes)
    return idle > max(_PATIENCE_SECONDS, 3 * seconds / max(_submissions(minutes), 1))


def _seconds_per_submission(minutes: Sequence[Minute]) -> float:
    submissions = _submissions(minutes)
    return sum(minute.busy for minute in minutes) / submissions if submissions else 0.0


def _submissions(minutes: Sequence[Minute]) -> int:
    return sum(minute.able_submissions for minute in minutes)


def _recent(minutes: Sequence[Minute]) -> list[Minute]:
    return [minute for minute in minutes if minute.ago <= RECENT_MINUTES]


def _weight(minute: Minute) -> float:
    return math.exp2(-minute.ago / _HALF_LIFE)


def _rate(
    minutes: Sequence[Minute], images: Callable[[Minute], int], weight: Callable[[Minute], float]
) -> float | None:
    seconds = sum(weight(minute) * minute.seconds for minute in minutes)
    return sum(weight(minute) * images(minute) for minute in minutes) / seconds if seconds > 0 else None
