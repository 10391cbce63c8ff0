"""Which variant a hash proposes for a person. Pure; the stored assignment is the truth."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any
from uuid import UUID

# 0.1 + 0.2 + 0.7 is not 1 in binary; a person who types weights means that it is.
WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class VariantSettings:
    """What the labelling screen does otherwise for the people of a variant; None leaves it as it is."""

    prefetch_batches: int | None = None
    image_size: int | None = None
    cdn_url: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    key: str
    weight: float
    settings: VariantSettings = VariantSettings()

    def as_json(self) -> dict[str, Any]:
        """What the screen is told: its settings beside the key under which answers are stamped."""
        return {"key": self.key, **asdict(self.settings)}


def repeated_key(variants: Sequence[Variant]) -> int | None:
    """The position of the first variant whose key another one has already."""
    seen: set[str] = set()
    for position, variant in enumerate(variants):
        if variant.key in seen:
            return position
        seen.add(variant.key)
    return None


def weights_sum(variants: Sequence[Variant]) -> float:
    return fsum(variant.weight for variant in variants)


def propose(test_id: UUID, user_id: UUID, variants: Sequence[Variant]) -> str:
    """The same test and person give the same variant everywhere; people spread over variants by weight."""
    share = _share(test_id, user_id) * weights_sum(variants)
    reached = 0.0
    for variant in variants:
        reached += variant.weight
        if share < reached:
            return variant.key
    # Rounding left the last step short of the sum.
    return next(variant.key for variant in reversed(variants) if variant.weight > 0)


def _share(test_id: UUID, user_id: UUID) -> float:
    """In [0, 1), independent from test to test: who is in A here says nothing about another test."""
    digest = hashlib.sha256(test_id.bytes + user_id.bytes).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
