"""Random stories of several people at a few batches, held against a model in plain Python.

A story is a list of turns. Its answers and undos are sent one by one or in lists, and then all again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotations.conftest import Labelling
from tests.support.unchanged import nothing_changes

PEOPLE = ("annotator", "operator", "admin")
BATCHES = 3
KINDS = ("choice", "tie", "spam", "skip")


@dataclass
class Turn:
    """`number` of an undo: which answer of the story it names, by whoever it was."""

    who: str
    does: Literal["answer", "undo", "lease", "release", "overlap"]
    number: int
    kind: str = "choice"


@dataclass
class Said:
    who: str
    batch: int
    kind: str
    client_id: str
    counts: bool = False

    @property
    def waits(self) -> bool:
        return not self.counts and self.kind != "skip"


@dataclass
class Batch:
    """`said` in the order in which the answers came or were last changed."""

    said: list[Said] = field(default_factory=list)
    leases: set[str] = field(default_factory=set)

    @property
    def taken(self) -> int:
        return sum(answer.counts for answer in self.said) + len(self.leases)

    @property
    def closed(self) -> bool:
        return any(answer.counts and answer.kind == "spam" for answer in self.said)

    def settle(self, overlap: int) -> None:
        for answer in self.said:
            if answer.waits and not self.closed and sum(other.counts for other in self.said) < overlap:
                answer.counts = True


@dataclass
class Model:
    overlap: int
    batches: list[Batch] = field(default_factory=lambda: [Batch() for _ in range(BATCHES)])
    given: list[Said] = field(default_factory=list)
    undone: set[str] = field(default_factory=set)

    def answer(self, who: str, number: int, kind: str) -> Said:
        batch = self.batches[number % BATCHES]
        new = Said(who, number % BATCHES, kind, f"c{len(self.given)}")
        self.given.append(new)
        old = next((answer for answer in batch.said if answer.who == who), None)
        if old:
            batch.said.remove(old)
            new.counts = old.counts and kind != "skip"
        batch.said.append(new)
        batch.leases.discard(who)
        batch.settle(self.overlap)
        if batch.closed:
            batch.leases.clear()
        return new

    def undo(self, who: str, number: int) -> str:
        """The status, or the code of the refusal."""
        if not self.given:
            return "nothing_to_undo"
        answer = self.given[number % len(self.given)]
        batch = self.batches[answer.batch]
        if answer.who != who:
            return "nothing_to_undo"
        if answer not in batch.said:
            return "repeated" if answer.client_id in self.undone else "nothing_to_undo"
        self.undone.add(answer.client_id)
        batch.said.remove(answer)
        batch.settle(self.overlap)
        if not batch.closed and batch.taken < self.overlap:
            batch.leases.add(who)
        return "stored"

    def lease(self, who: str, number: int) -> bool:
        """Whether a dispenser would lend it."""
        batch = self.batches[number % BATCHES]
        known = who in batch.leases or any(answer.who == who for answer in batch.said)
        if known or batch.closed or batch.taken >= self.overlap:
            return False
        batch.leases.add(who)
        return True

    def change_overlap(self, overlap: int) -> None:
        raised = overlap > self.overlap
        self.overlap = overlap
        for batch in self.batches if raised else ():
            batch.settle(overlap)


TURN = st.builds(
    Turn,
    who=st.sampled_from(PEOPLE),
    does=st.sampled_from(["answer"] * 5 + ["undo"] * 3 + ["lease", "lease", "release", "overlap"]),
    number=st.integers(0, 11),
    kind=st.sampled_from(KINDS),
)


@dataclass
class Teller:
    """Tells a story to the server and to the model, and keeps what was sent."""

    labelling: Labelling
    model: Model
    in_lists: bool
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def tell(self, story: Sequence[Turn]) -> None:
        for who, turns in by_person(story):
            elements, expected = [], []
            for turn in turns:
                if turn.does in ("answer", "undo"):
                    element, outcome = self.element(turn)
                    elements.append(element)
                    expected.append(outcome)
                else:
                    await self.deliver(who, elements, expected)
                    elements, expected = [], []
                    await self.arrange(turn)
            await self.deliver(who, elements, expected)

    def element(self, turn: Turn) -> tuple[dict[str, Any], tuple[str, bool | None]]:
        """What is sent, and what is to come of it: the status or code, and whether it is surplus."""
        client_id = f"u{len(self.sent)}"
        if turn.does == "undo":
            named = self.model.given[turn.number % len(self.model.given)].client_id if self.model.given else "none"
            element = {"undo_of": named, "client_id": client_id}
            outcome = self.model.undo(turn.who, turn.number)
            expected = (outcome, None if outcome == "nothing_to_undo" else False)
        else:
            said = self.model.answer(turn.who, turn.number, turn.kind)
            chosen = {"chosen_index": turn.number % 4} if turn.kind == "choice" else {}
            element = self.labelling.payload(said.batch, kind=turn.kind, client_id=said.client_id, **chosen)
            expected = ("stored", said.waits)
        self.sent.append((turn.who, element))
        return element, expected

    async def deliver(
        self, who: str, elements: list[dict[str, Any]], expected: Sequence[tuple[str, bool | None]]
    ) -> None:
        if not elements:
            return
        if self.in_lists:
            outcomes = await self.labelling.outcomes(elements, who)
        else:
            client = await self.labelling.api.as_role(who)
            outcomes = [alone(await client.post("/api/annotations", json=element)) for element in elements]
        assert [(outcome.get("code", outcome["status"]), outcome.get("surplus")) for outcome in outcomes] == expected

    async def arrange(self, turn: Turn) -> None:
        batch = turn.number % BATCHES
        if turn.does == "overlap":
            overlap = 1 + turn.number % 3
            operator = await self.labelling.api.as_role("operator")
            answer = await operator.patch(f"/api/tasks/{self.labelling.task.id}", json={"overlap": overlap})
            assert answer.status_code == 200, answer.text
            self.model.change_overlap(overlap)
        elif turn.does == "lease" and self.model.lease(turn.who, turn.number):
            await self.labelling.lease(turn.who, batch)
        elif turn.does == "release" and turn.who in self.model.batches[batch].leases:
            self.model.batches[batch].leases.remove(turn.who)
            await self.labelling.release(turn.who, batch)

    async def tell_again(self) -> None:
        """Late, twice, in lists cut otherwise: whatever was stored is repeated, whatever was refused is refused."""
        for who, pieces in by_person([Turn(who, "answer", number) for number, (who, _) in enumerate(self.sent)]):
            elements = [self.sent[turn.number][1] for turn in pieces]
            for outcome in await self.labelling.outcomes(elements, who):
                assert outcome["status"] in ("repeated", "refused"), outcome


def by_person(story: Sequence[Turn]) -> Iterator[tuple[str, list[Turn]]]:
    """Runs of turns of one person."""
    run: list[Turn] = []
    for turn in story:
        if run and run[0].who != turn.who:
            yield run[0].who, run
            run = []
        run.append(turn)
    if run:
        yield run[0].who, run


def alone(answer: httpx.Response) -> dict[str, Any]:
    """As it would stand in a list."""
    body: dict[str, Any] = answer.json()
    return body["data"] if body["success"] else {"status": "refused", "code": body["code"]}


async def start_over(labelling: Labelling, overlap: int) -> None:
    await labelling.execute("truncate annotations, annotation_history, leases, labellers")
    await labelling.execute("update batches set taken = 0, spam_at = null")
    await labelling.execute("update tasks set overlap = $1", overlap)


async def assert_agree(labelling: Labelling, model: Model) -> None:
    """Every row that a story writes, against the model."""
    people = {await labelling.user_id(role): role for role in PEOPLE}
    rows = await labelling.rows()
    for number, batch in enumerate(model.batches):
        batch_id = labelling.task.batches[number]
        stored = {people[row["user_id"]]: row for row in rows if row["batch_id"] == batch_id}
        assert {who: (row["kind"], row["surplus"], row["client_id"]) for who, row in stored.items()} == {
            answer.who: (answer.kind, answer.waits, answer.client_id) for answer in batch.said
        }
        assert {people[user_id] for user_id in await labelling.holders(number)} == batch.leases
        assert await labelling.taken(number) == batch.taken
        closed = await labelling.value("select spam_at is not null from batches where id = $1", batch_id)
        assert closed == batch.closed
    for role in PEOPLE:
        standing = sum(answer.who == role for batch in model.batches for answer in batch.said)
        assert (await labelling.answered(role) or 0) == standing
    history = {(row["client_id"], row["undone_by"] is not None) for row in await labelling.history()}
    gone = [answer for answer in model.given if answer not in model.batches[answer.batch].said]
    assert history == {(answer.client_id, answer.client_id in model.undone) for answer in gone}


@pytest.mark.postgres_16_too
@pytest.mark.parametrize("in_lists", [False, True], ids=["one by one", "in lists"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(TURN, max_size=20), overlap=st.integers(1, 3))
async def test_whatever_people_do_the_rows_agree_with_each_other(labelling, in_lists, story, overlap):
    await start_over(labelling, overlap)
    teller = Teller(labelling, Model(overlap), in_lists)

    await teller.tell(story)
    await assert_agree(labelling, teller.model)

    async with nothing_changes(labelling.database):
        await teller.tell_again()
