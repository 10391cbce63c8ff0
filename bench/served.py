"""Who was served what, and until when: whether a batch was ever in two people's hands."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True, slots=True)
class Hold:
    """`begun`: the moment the answer that named the batch was here. `ended`: the moment the request was sent whose
    answer no longer named it. A batch that was answered is never free again, so that its hold has no end.
    """

    batch: object
    user: str
    begun: float
    ended: float = inf


@dataclass
class Ledger:
    """What one person was served, in that person's own order."""

    user: str
    holds: list[Hold] = field(default_factory=list)
    answered: set[object] = field(default_factory=set)
    again: int = 0  # served to the person who had answered it
    _held: dict[object, float] = field(default_factory=dict)

    def served(self, asked: float, arrived: float, named: Iterable[object]) -> None:
        """The answer names all that the person may go on with; what else was held is given back."""
        named = set(named)
        self.again += len(named & self.answered)
        for batch in self._held.keys() - named:
            self.holds.append(Hold(batch, self.user, self._held.pop(batch), asked))
        for batch in named - self._held.keys():
            self._held[batch] = arrived

    def answer(self, batch: object) -> None:
        self.answered.add(batch)
        self.holds.append(Hold(batch, self.user, self._held.pop(batch)))

    def all_holds(self) -> list[Hold]:
        return self.holds + [Hold(batch, self.user, begun) for batch, begun in self._held.items()]


def double_served(ledgers: Iterable[Ledger]) -> int:
    """Batches that two people held at the same time, or somebody was served after they were answered."""
    ledgers = list(ledgers)
    by_batch: dict[object, list[Hold]] = defaultdict(list)
    for ledger in ledgers:
        for hold in ledger.all_holds():
            by_batch[hold.batch].append(hold)
    return sum(ledger.again for ledger in ledgers) + sum(_overlap(holds) for holds in by_batch.values())


def _overlap(holds: list[Hold]) -> bool:
    in_order = sorted(holds, key=lambda hold: hold.begun)
    pairs = ((first, second) for n, first in enumerate(in_order) for second in in_order[n + 1 :])
    return any(second.begun < first.ended and second.user != first.user for first, second in pairs)
