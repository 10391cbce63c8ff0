"""Which release of ComfyUI is simulated: what it can do, by the first release that did it."""

import re
from typing import Literal

Ability = Literal[
    "interrupt_by_id",
    "hides_secrets",
    "jobs",
    "missing_node_type",
    "refuses_cross_site",
    "partner_category",
    "leaves_0_3",
    "canonical_ids",
    "cancels_jobs",
]

SINCE: dict[Ability, tuple[int, ...]] = {
    "interrupt_by_id": (0, 3, 57),
    "hides_secrets": (0, 3, 69),
    "jobs": (0, 6, 0),
    "missing_node_type": (0, 12, 0),
    # Whatever was seen in 0.28.1 and not in 0.3.75, and nobody knows since when.
    "leaves_0_3": (0, 4, 0),
    "refuses_cross_site": (0, 19, 0),
    "partner_category": (0, 24, 0),
    "canonical_ids": (0, 25, 0),
    "cancels_jobs": (0, 26, 0),
}


class Release:
    def __init__(self, version: str) -> None:
        self.version = version
        self._numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])

    def has(self, ability: Ability) -> bool:
        return self._numbers >= SINCE[ability]
