"""Which share of a stretch of time workers were at work. Pure."""

from collections.abc import Iterable

Span = tuple[float, float]


def busy_share(spans: Iterable[Iterable[Span]], begun: float, ended: float) -> float:
    """`spans`: of each worker, when its jobs ran; what lies outside of the stretch does not count."""
    shares = [sum(max(0.0, min(end, ended) - max(start, begun)) for start, end in jobs) for jobs in spans]
    return sum(shares) / len(shares) / (ended - begun)
