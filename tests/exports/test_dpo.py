"""The rules of a line, stated as laws over every judged batch there can be."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.exports.dpo import (
    Answer,
    Candidate,
    Decision,
    JudgedBatch,
    LeftOut,
    TaskFacts,
    decide,
    pseudonym,
    to_line,
)

TASK = TaskFacts(UUID(int=1), UUID(int=2), "sdxl", "dress:v5,lighting:v2", "sha256:ab", "native")
NOON = datetime(2026, 11, 22, 12, 0, 0, 999999, tzinfo=UTC)
GUIDE_KEYS = ["prompt", "chosen", "rejected", "workflow_id", "model", "variable_pool_version", "created_at"]


def candidate(index: int) -> Candidate:
    return Candidate(
        UUID(int=100 + index), index, f"file:///{index}.png", 1000 + index, index, 4, "ab", 7, 64, 64, UUID(int=9)
    )


_numbers = count(1)


def answer(
    kind: Any = "choice", chosen: int | None = None, rejected: int | None = None, *, surplus: bool = False
) -> Answer:
    number = next(_numbers)
    moment = NOON + timedelta(seconds=number % 50)
    return Answer(UUID(int=number), kind, chosen, rejected, surplus, UUID(int=number), moment)


def judged(*answers: Answer, images: int = 4, ready: bool = True, spam: bool = False) -> JudgedBatch:
    return JudgedBatch(
        UUID(int=3), "a cat", {"pet": "cat"}, ready, spam, [candidate(i) for i in range(images)], answers
    )


@st.composite
def answers(draw: st.DrawFn, images: int) -> Answer:
    kind = draw(st.sampled_from(["choice"] * 5 + ["tie", "spam", "skip"]))
    if kind != "choice":
        return answer(kind, surplus=draw(st.booleans()))
    chosen = draw(st.integers(0, images - 1))
    others = [None, *(i for i in range(images) if i != chosen)]
    return answer(kind, chosen, draw(st.sampled_from(others)), surplus=draw(st.booleans()))


@st.composite
def batches(draw: st.DrawFn) -> JudgedBatch:
    images = draw(st.integers(1, 5))
    given_answers = draw(st.lists(answers(images), max_size=7))
    return judged(*given_answers, images=images, ready=draw(st.booleans()), spam=draw(st.booleans()))


def counted(batch: JudgedBatch) -> list[Answer]:
    return [each for each in batch.answers if each.kind == "choice" and not each.surplus]


@given(batches())
def test_the_winner_has_more_votes_than_any_other_image(batch: JudgedBatch):
    decision = decide(batch)
    if isinstance(decision, Decision):
        votes = [each.chosen for each in counted(batch)]
        assert all(
            votes.count(decision.chosen.index) > votes.count(other) for other in set(votes) - {decision.chosen.index}
        )


@given(batches())
def test_rejected_is_never_empty_and_never_holds_the_chosen_one(batch: JudgedBatch):
    decision = decide(batch)
    if isinstance(decision, Decision):
        indexes = [each.index for each in decision.rejected]
        assert indexes
        assert indexes == sorted(set(indexes) - {decision.chosen.index})


@given(batches())
def test_one_image_is_rejected_only_when_all_who_decided_named_it(batch: JudgedBatch):
    decision = decide(batch)
    if isinstance(decision, Decision):
        named = {each.rejected for each in counted(batch) if each.chosen == decision.chosen.index}
        others = {each.index for each in batch.candidates} - {decision.chosen.index}
        expected = named if len(named) == 1 and None not in named else others
        assert {each.index for each in decision.rejected} == expected


@given(batches(), st.lists(st.sampled_from(["tie", "spam", "skip"]), max_size=3))
def test_answers_that_do_not_count_change_no_line(batch: JudgedBatch, kinds: list[str]):
    more = [answer(kind) for kind in kinds] + [answer("choice", 0, surplus=True)]
    before = decide(batch)
    after = decide(replace(batch, answers=[*batch.answers, *more]))
    assert isinstance(before, LeftOut) or before == after


@given(batches())
def test_the_order_in_which_answers_came_changes_nothing(batch: JudgedBatch):
    turned = replace(batch, answers=list(reversed(batch.answers)))
    assert to_line(batch, TASK, "full") == to_line(turned, TASK, "full")


@given(batches())
def test_a_line_has_the_guides_keys_and_no_other(batch: JudgedBatch):
    line = to_line(batch, TASK)
    if isinstance(line, dict):
        assert list(line) == GUIDE_KEYS
        assert {*line["chosen"], *line["rejected"][0]} == {"uri", "seed"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["created_at"])


@given(batches())
def test_the_full_profile_adds_and_renames_nothing(batch: JudgedBatch):
    plain, full = to_line(batch, TASK), to_line(batch, TASK, "full", "key")
    if isinstance(plain, dict) and isinstance(full, dict):
        assert list(full)[:7] == GUIDE_KEYS
        assert {key: full[key] for key in plain if key not in {"chosen", "rejected"}} == {
            key: value for key, value in plain.items() if key not in {"chosen", "rejected"}
        }
        assert plain["chosen"].items() <= full["chosen"].items()
        assert full["votes"] == len(full["annotation_ids"])
        assert json.loads(full["variables_json"]) == batch.variables
    else:
        assert plain == full


def test_most_votes_win_whatever_the_minority_rejects():
    decision = decide(judged(answer(chosen=1, rejected=2), answer(chosen=1, rejected=2), answer(chosen=3, rejected=1)))
    assert isinstance(decision, Decision)
    assert (decision.chosen.index, [each.index for each in decision.rejected]) == (1, [2])


def test_voters_who_reject_different_images_reject_all_others():
    decision = decide(judged(answer(chosen=1, rejected=2), answer(chosen=1, rejected=0)))
    assert isinstance(decision, Decision)
    assert [each.index for each in decision.rejected] == [0, 2, 3]


def test_every_reason_for_leaving_out_has_its_batch():
    choice = answer(chosen=0)
    assert decide(judged(choice, ready=False)) is LeftOut.NOT_READY
    assert decide(judged(choice, spam=True)) is LeftOut.SPAM
    assert decide(judged()) is LeftOut.UNANSWERED
    assert decide(judged(answer("choice", 0, surplus=True))) is LeftOut.UNANSWERED
    assert decide(judged(answer("skip"))) is LeftOut.SKIPPED
    assert decide(judged(answer("tie"), answer("skip"))) is LeftOut.TIE
    assert decide(judged(choice, answer(chosen=1))) is LeftOut.DRAW
    assert decide(judged(choice, images=1)) is LeftOut.SINGLE_IMAGE


def test_a_pseudonym_follows_a_person_through_one_key_only():
    ann, bob = UUID(int=1), UUID(int=2)
    assert pseudonym("a", ann) == pseudonym("a", ann) != pseudonym("a", bob)
    assert pseudonym("a", ann) != pseudonym("b", ann)
