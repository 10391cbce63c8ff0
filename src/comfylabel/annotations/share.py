"""How many batches one person may hold, and which of theirs they keep. Pure.

Who holds many never waits for the network; who holds the last ones lets the others wait. So everybody at work holds
an even share of what is open, and never more than a screen prefetches.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

# After the last contact: long enough for a coffee or a tunnel, short enough that others get the batches this hour.
LEASE = timedelta(minutes=15)
# Without contact for so long, what somebody holds beyond their share may go to a person who has nothing.
IDLE = timedelta(seconds=60)
# What the screen prefetches (GUIDE: the next 20), and what it keeps on a phone that will be without a network.
HOLD = 20
HOLD_OFFLINE = 200


def share(open_batches: int, active: int, cap: int) -> int:
    """An even part, rounded up: the shares together are never fewer than what is open, up to the cap."""
    return max(1, min(cap, -(-open_batches // max(1, active))))


@dataclass(frozen=True, slots=True)
class Held:
    """A lease; `good` while its batch is still to be labelled by this person."""

    batch_id: UUID
    good: bool


@dataclass(frozen=True, slots=True)
class Sorted:
    keep: list[UUID]
    give_back: list[UUID]


def sort_out(held: Sequence[Held], have: Sequence[UUID], hold: int) -> Sorted:
    """`held` in the order in which it was leased; what the person's page has goes first: it is on their screen."""
    wanted = in_order_of(have, [lease.batch_id for lease in held if lease.good])
    keep = wanted[:hold]
    kept = set(keep)
    return Sorted(keep, [lease.batch_id for lease in held if lease.batch_id not in kept])


def in_order_of(have: Iterable[UUID], batch_ids: Collection[UUID]) -> list[UUID]:
    """`batch_ids`, those in `have` first and as they stand there, the others in their own order; each once."""
    known = set(batch_ids)
    return list(dict.fromkeys([*(batch_id for batch_id in have if batch_id in known), *batch_ids]))
