"""In which order a person sees the candidates of a batch. Pure.

A person prefers what stands first. Dealt anew for every person and batch, that preference cancels out; dealt by
a hash, the server knows what it dealt for as long as the batch exists, whatever became of the lease.
"""

import hashlib
from uuid import UUID


def deal(batch_id: UUID, user_id: UUID, candidates: int) -> list[int]:
    """`deal(...)[i]` is the candidate to show in place i; each of 0..candidates-1 stands there once."""
    order = list(range(candidates))
    for last in range(candidates - 1, 0, -1):
        chosen = _draw(batch_id, user_id, last) % (last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return order


def _draw(batch_id: UUID, user_id: UUID, step: int) -> int:
    """64 bits: their remainder by a number of candidates is even to one part in 10^16."""
    digest = hashlib.blake2b(batch_id.bytes + user_id.bytes + step.to_bytes(4, "big"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
