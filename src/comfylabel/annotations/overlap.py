"""Which answers of a batch count when more arrive than its task asks for. Pure.

An answer that counts keeps its place whatever others do later; a place that falls free goes to the answer
that has waited longest. A spam that counts closes the batch: nothing after it counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from comfylabel.annotations.answer import Kind


@dataclass(frozen=True, slots=True)
class Standing:
    """One answer of a batch; `counts` is what was last decided of it."""

    id: UUID
    kind: Kind
    counts: bool


@dataclass(frozen=True, slots=True)
class Settled:
    counted: frozenset[UUID]
    spam: bool


def settle(answers: Sequence[Standing], overlap: int) -> Settled:
    """`answers` in the order in which they wait for a place. A skip neither takes a place nor is surplus."""
    counted = {answer.id for answer in answers if answer.counts and answer.kind is not Kind.SKIP}
    spam = any(answer.id in counted and answer.kind is Kind.SPAM for answer in answers)
    for answer in answers:
        if spam or len(counted) >= overlap:
            break
        if answer.id not in counted and answer.kind is not Kind.SKIP:
            counted.add(answer.id)
            spam = answer.kind is Kind.SPAM
    return Settled(frozenset(counted), spam)
