"""Answers that are taken back."""

import asyncio

import pytest

from tests.annotations.conftest import Labelling
from tests.support.unchanged import nothing_changes


async def test_an_undo_takes_the_answer_away_and_keeps_it_as_history(labelling):
    stored = await labelling.stored(chosen_index=0, rejected_index=1, client_id="c1")

    undone = await labelling.undone("c1", "u1")

    assert undone == {"client_id": "u1", "status": "stored", "id": stored["id"], "surplus": False}
    assert await labelling.rows() == []
    (kept,) = await labelling.history()
    assert (str(kept["annotation_id"]), kept["client_id"], kept["undone_by"]) == (stored["id"], "c1", "u1")
    assert (kept["batch_id"], kept["user_id"]) == (labelling.task.batches[0], await labelling.user_id())
    assert (kept["answer"]["chosen_index"], kept["answer"]["rejected_index"]) == (0, 1)


async def test_after_an_undo_the_person_holds_the_batch_again(labelling):
    await labelling.lease()
    await labelling.stored(chosen_index=0, client_id="c1")
    assert (await labelling.holders(), await labelling.taken(), await labelling.answered()) == (set(), 1, 1)

    await labelling.undone("c1", "u1")

    assert await labelling.holders() == {await labelling.user_id()}
    assert (await labelling.taken(), await labelling.answered()) == (1, 0)


async def test_an_undo_is_a_contact(labelling):
    """What the person holds goes on being theirs."""
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.execute("update labellers set seen_at = now() - interval '1 hour'")
    await labelling.undone("c1", "u1")
    assert await labelling.value("select now() - seen_at < interval '1 minute' from labellers")


async def test_no_batch_is_held_again_when_its_place_went_to_somebody(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.lease("operator")  # an odd case: the batch was full

    await labelling.undone("c1", "u1")

    assert await labelling.holders() == {await labelling.user_id("operator")}
    assert await labelling.taken() == 1


async def test_an_undo_promotes_the_answer_that_waits_longest(labelling):
    await labelling.stored("operator", chosen_index=0, client_id="c1")
    await labelling.stored("annotator", chosen_index=1)
    await labelling.stored("admin", chosen_index=2)

    await labelling.undone("c1", "u1", "operator")

    assert [(row["chosen_index"], row["surplus"]) for row in await labelling.rows()] == [(1, False), (2, True)]
    assert (await labelling.taken(), await labelling.holders()) == (1, set())


async def test_an_undo_of_spam_opens_the_batch_again(labelling):
    await labelling.execute("update tasks set overlap = 2")
    await labelling.stored("operator", kind="spam", client_id="c1")
    assert (await labelling.stored("annotator", chosen_index=1))["surplus"] is True

    await labelling.undone("c1", "u1", "operator")

    batch = labelling.task.batches[0]
    assert await labelling.value("select spam_at from batches where id = $1", batch) is None
    assert [row["surplus"] for row in await labelling.rows()] == [False]
    assert (await labelling.taken(), await labelling.holders()) == (2, {await labelling.user_id("operator")})


async def test_an_undo_that_promotes_a_spam_closes_the_batch(labelling):
    await labelling.stored("operator", chosen_index=0, client_id="c1")
    await labelling.stored("annotator", kind="spam")

    await labelling.undone("c1", "u1", "operator")

    batch = labelling.task.batches[0]
    assert await labelling.value("select spam_at is not null from batches where id = $1", batch)
    assert (await labelling.taken(), await labelling.holders()) == (1, set())


async def test_a_skip_can_be_undone(labelling):
    await labelling.stored(kind="skip", client_id="c1")
    await labelling.undone("c1", "u1")
    assert await labelling.rows() == []
    assert (await labelling.taken(), await labelling.answered()) == (1, 0)


async def test_an_undo_of_somebody_elses_answer_is_refused(labelling):
    await labelling.stored("operator", chosen_index=0, client_id="c1")
    async with nothing_changes(labelling.database):
        answer = await labelling.undo("c1", "u1", "annotator")

    assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_undo")
    assert answer.json()["error"] == "You have given no answer c1."


async def test_two_people_may_use_the_same_client_ids(labelling):
    await labelling.stored("operator", chosen_index=0, client_id="c1")
    await labelling.stored("annotator", batch=1, chosen_index=0, client_id="c1")

    await labelling.undone("c1", "u1", "operator")
    await labelling.undone("c1", "u1", "annotator")

    assert await labelling.rows() == []


async def test_an_undo_of_what_was_never_answered_is_refused(labelling):
    async with nothing_changes(labelling.database):
        answer = await labelling.undo("c1", "u1")
    assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_undo")


async def test_an_undo_in_another_session_is_refused(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")
    theirs = str(await labelling.user_id("operator"))
    async with nothing_changes(labelling.database):
        answer = await labelling.undo("c1", "u1", user_id=theirs)
    assert (answer.status_code, answer.json()["code"]) == (403, "other_user")


@pytest.mark.parametrize("again", ["u1", "u2"])
async def test_an_undo_sent_twice_is_done_once(labelling, again):
    await labelling.stored(chosen_index=0, client_id="c1")
    first = await labelling.undone("c1", "u1")
    async with nothing_changes(labelling.database):
        second = await labelling.undone("c1", again)
    assert second == first | {"status": "repeated", "client_id": again}


async def test_an_undo_sent_eight_times_at_once_is_done_once(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")

    answers = await asyncio.gather(*(labelling.undone("c1", "u1") for _ in range(8)))

    assert sorted(answer["status"] for answer in answers) == ["repeated"] * 7 + ["stored"]
    assert len(await labelling.history()) == 1
    assert (await labelling.taken(), await labelling.answered()) == (1, 0)


async def test_an_answer_that_comes_late_after_its_undo_stores_nothing(labelling):
    stored = await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.undone("c1", "u1")
    async with nothing_changes(labelling.database):
        late = await labelling.stored(chosen_index=0, client_id="c1")
    assert late == stored | {"status": "repeated"}


async def test_a_batch_can_be_answered_again_after_an_undo(labelling):
    before = await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.undone("c1", "u1")

    after = await labelling.stored(chosen_index=3, client_id="c2")

    assert after["id"] != before["id"]
    assert [(row["chosen_index"], row["client_id"]) for row in await labelling.rows()] == [(3, "c2")]
    assert (await labelling.taken(), await labelling.holders(), await labelling.answered()) == (1, set(), 1)
    assert [row["undone_by"] for row in await labelling.history()] == ["u1"]


async def test_an_undo_that_comes_late_does_not_take_the_new_answer_away(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.undone("c1", "u1")
    await labelling.stored(chosen_index=3, client_id="c2")
    async with nothing_changes(labelling.database):
        assert (await labelling.undone("c1", "u1"))["status"] == "repeated"
        assert (await labelling.undone("c1", "u9"))["status"] == "repeated"


async def test_only_the_answer_that_stands_is_undone(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.stored(chosen_index=3, client_id="c2")
    async with nothing_changes(labelling.database):
        answer = await labelling.undo("c1", "u1")

    assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_undo")
    assert answer.json()["error"] == "The answer c1 was replaced by a later one: that is the one to undo."


async def test_both_answers_to_a_batch_are_kept_when_the_second_is_undone(labelling):
    await labelling.stored(chosen_index=0, client_id="c1")
    await labelling.stored(chosen_index=3, client_id="c2")
    await labelling.undone("c2", "u1")

    kept = [(row["client_id"], row["undone_by"]) for row in await labelling.history()]
    assert sorted(kept) == [("c1", None), ("c2", "u1")]
    async with nothing_changes(labelling.database):
        assert (await labelling.stored(chosen_index=0, client_id="c1"))["status"] == "repeated"
        assert (await labelling.stored(chosen_index=3, client_id="c2"))["status"] == "repeated"


async def used(labelling: Labelling) -> None:
    await labelling.stored(batch=0, chosen_index=0, client_id="c1")
    await labelling.stored(batch=1, chosen_index=0, client_id="c2")
    await labelling.undone("c1", "u1")


@pytest.mark.parametrize(("undo_of", "client_id"), [("c2", "u1"), ("c2", "c1"), ("c2", "c2"), ("c1", "c2")])
async def test_a_client_id_is_for_one_undo_only(labelling, undo_of, client_id):
    await used(labelling)
    async with nothing_changes(labelling.database):
        answer = await labelling.undo(undo_of, client_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "client_id_reused")


@pytest.mark.parametrize("batch", [0, 1, 2])
async def test_the_client_id_of_an_undo_is_for_no_answer(labelling, batch):
    await used(labelling)
    async with nothing_changes(labelling.database):
        answer = await labelling.post(batch=batch, chosen_index=0, client_id="u1")
    assert (answer.status_code, answer.json()["code"]) == (409, "client_id_reused")


@pytest.mark.parametrize(
    ("element", "sentence"),
    [
        ({"undo_of": "c1"}, "client_id is required."),
        ({"undo_of": "c1", "client_id": None}, "client_id must be a valid string."),
        ({"undo_of": 7, "client_id": "u1"}, "undo_of must be a valid string."),
        ({"undo_of": None, "client_id": "u1"}, "undo_of must be a valid string."),
        ({"undo_of": "", "client_id": "u1"}, "undo_of string should have at least 1 character."),
        ({"undo_of": "c1", "client_id": "u1", "chosen_index": 0}, "chosen_index is not a known field."),
    ],
)
async def test_an_undo_that_means_nothing_is_refused(labelling, element, sentence):
    annotator = await labelling.api.as_role("annotator")
    async with nothing_changes(labelling.database):
        answer = await annotator.post("/api/annotations", json=element)
    assert (answer.status_code, answer.json()["code"], answer.json()["error"]) == (422, "invalid_field", sentence)


async def test_an_export_never_shows_what_was_undone(labelling):
    await labelling.stored(batch=0, chosen_index=0, client_id="c1")
    await labelling.stored(batch=1, chosen_index=1, client_id="c2")
    await labelling.stored(batch=2, kind="skip", client_id="c3")
    await labelling.undone("c1", "u1")
    await labelling.undone("c3", "u3")

    operator = await labelling.api.as_role("operator")
    lines = await operator.get(f"/api/tasks/{labelling.task.id}/export/dpo", params={"profile": "full"})
    summary = (await operator.get(f"/api/tasks/{labelling.task.id}/export/dpo/summary")).json()["data"]

    assert [str(labelling.task.batches[1]) in line for line in lines.text.splitlines()] == [True]
    assert (summary["lines"], summary["left_out"]["unanswered"], summary["left_out"]["skipped"]) == (1, 2, 0)
