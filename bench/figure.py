"""One figure of the README's table: a value, what it is held against in the same run, and whether it holds."""

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`ratio` is value / baseline; `target` says in words what `is_met` checks on (value, ratio)."""

    name: str
    value: float
    unit: str
    baseline: float
    target: str
    is_met: Callable[[float, float], bool]
    how: str

    @property
    def ratio(self) -> float:
        return self.value / self.baseline if self.baseline else 0.0

    @property
    def holds(self) -> bool:
        return self.is_met(self.value, self.ratio)

    def line(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value, 3),
                "unit": self.unit,
                "baseline": round(self.baseline, 3),
                "ratio": round(self.ratio, 3),
                "target": self.target,
                "holds": self.holds,
            }
        )
