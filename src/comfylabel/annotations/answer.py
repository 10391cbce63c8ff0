"""What an annotator may say about a batch. Pure: payload to answer, or to a sentence on what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from comfylabel.errors import InvalidField, InvalidInput


class Kind(StrEnum):
    CHOICE = "choice"
    TIE = "tie"
    SPAM = "spam"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Answer:
    """`chosen_index` is there for a choice and only then; the indexes are candidate indexes."""

    kind: Kind
    chosen_index: int | None
    rejected_index: int | None


def read_answer(
    *,
    kind: Kind | None,
    chosen_index: int | None,
    rejected_index: int | None,
    spam: bool | None,
    candidates: int,
) -> Answer:
    """`spam` and `kind` left out (None) say nothing; said both, they must agree."""
    meant = _kind_meant(kind, spam)
    if meant is Kind.SPAM:
        # Clients may send an index even then; it means nothing and is not kept.
        return Answer(meant, None, None)
    if meant is not Kind.CHOICE:
        for name, index in (("chosen_index", chosen_index), ("rejected_index", rejected_index)):
            if index is not None:
                raise _contradiction(f"A {meant} names no image: leave {name} out.")
        return Answer(meant, None, None)
    if chosen_index is None:
        raise InvalidField("chosen_index", "is required for a choice")
    _check_index("chosen_index", chosen_index, candidates)
    if rejected_index is not None:
        _check_index("rejected_index", rejected_index, candidates)
        if rejected_index == chosen_index:
            raise InvalidInput(
                f"rejected_index {rejected_index} is the chosen image; name another one or none.",
                code="rejected_is_chosen",
            )
    return Answer(meant, chosen_index, rejected_index)


def check_slot_order(slot_order: Sequence[int] | None, dealt: Sequence[int]) -> None:
    """`slot_order[i]` is the candidate that was shown in place i. Who saw them in another way leaves it out."""
    if slot_order is not None and list(slot_order) != list(dealt):
        raise InvalidInput(
            f"slot_order is not what was dealt: this person sees this batch in the order {list(dealt)}.",
            code="slot_order_not_dealt",
        )


def _kind_meant(kind: Kind | None, spam: bool | None) -> Kind:
    if kind is None:
        return Kind.SPAM if spam else Kind.CHOICE
    if spam is not None and spam != (kind is Kind.SPAM):
        raise _contradiction(f"kind {kind} and spam {str(spam).lower()} contradict each other.")
    return kind


def _check_index(name: str, index: int, candidates: int) -> None:
    if not 0 <= index < candidates:
        images = "1 image" if candidates == 1 else f"{candidates} images"
        raise InvalidInput(f"{name} {index}: this batch has {images}.", code="index_out_of_range")


def _contradiction(message: str) -> InvalidInput:
    return InvalidInput(message, code="kind_contradiction")
