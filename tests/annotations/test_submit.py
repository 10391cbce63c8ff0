import asyncio
from typing import Any
from uuid import uuid4

import pytest

from comfylabel.accounts.schemas import Principal, Role
from comfylabel.annotations import answers_repository, first_answer_repository
from comfylabel.annotations.deal import deal
from comfylabel.annotations.schemas import NewAnnotation
from comfylabel.annotations.service import AnnotationService
from tests.annotations.conftest import Labelling, running_task
from tests.support.rows import add_task, add_user
from tests.support.unchanged import nothing_changes


async def test_a_choice_names_the_images_and_the_person(labelling):
    order = deal(labelling.task.batches[0], await labelling.user_id(), 4)

    data = await labelling.stored(
        chosen_index=2, rejected_index=0, spam=False, client_id="c1", elapsed_ms=1830, slot_order=order
    )

    (row,) = await labelling.rows()
    assert data == {"client_id": "c1", "status": "stored", "id": str(row["id"]), "surplus": False}
    images = labelling.task.generations[0]
    assert dict(row) | {"created_at": None, "updated_at": None} == {
        "id": row["id"],
        "batch_id": labelling.task.batches[0],
        "task_id": labelling.task.id,
        "prompt_id": labelling.task.prompts[0],
        "user_id": await labelling.user_id(),
        "kind": "choice",
        "chosen_index": 2,
        "rejected_index": 0,
        "chosen_generation_id": images[2],
        "rejected_generation_id": images[0],
        "spam": False,
        "surplus": False,
        "slot_order": order,
        "variant_key": None,
        "client_id": "c1",
        "elapsed_ms": 1830,
        "created_at": None,
        "updated_at": None,
    }


async def test_an_index_means_the_candidate_when_an_image_is_missing(api, database, labelling):
    """Image 1 failed: candidates 0, 1, 2 are the images 0, 2, 3."""
    async with database.connection() as connection:
        labelling.task = await running_task(connection, failed=[1])

    await labelling.stored(chosen_index=1, rejected_index=2)

    (row,) = await labelling.rows()
    images = labelling.task.generations[0]
    assert (row["chosen_generation_id"], row["rejected_generation_id"]) == (images[2], images[3])
    beyond = await labelling.post(batch=1, chosen_index=3)
    assert beyond.json()["error"] == "chosen_index 3: this batch has 3 images."


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"kind": "tie"}, "tie"),
        ({"kind": "skip", "spam": False}, "skip"),
        ({"chosen_index": 1, "spam": True}, "spam"),
        ({"kind": "spam"}, "spam"),
    ],
)
async def test_what_is_no_choice_names_no_image(labelling, payload, kind):
    await labelling.stored(**payload)

    (row,) = await labelling.rows()
    assert (row["kind"], row["spam"]) == (kind, kind == "spam")
    assert [row[name] for name in ("chosen_index", "rejected_index", "chosen_generation_id")] == [None] * 3


@pytest.mark.parametrize(
    ("payload", "code", "sentence"),
    [
        ({"chosen_index": 9}, "index_out_of_range", "chosen_index 9: this batch has 4 images."),
        ({"chosen_index": -1}, "index_out_of_range", "chosen_index -1: this batch has 4 images."),
        (
            {"chosen_index": 0, "rejected_index": 10**30},
            "index_out_of_range",
            f"rejected_index {10**30}: this batch has 4 images.",
        ),
        (
            {"chosen_index": 1, "rejected_index": 1},
            "rejected_is_chosen",
            "rejected_index 1 is the chosen image; name another one or none.",
        ),
        ({}, "invalid_field", "chosen_index is required for a choice."),
        (
            {"kind": "tie", "chosen_index": 0},
            "kind_contradiction",
            "A tie names no image: leave chosen_index out.",
        ),
        (
            {"kind": "skip", "spam": True},
            "kind_contradiction",
            "kind skip and spam true contradict each other.",
        ),
        ({"kind": "best", "chosen_index": 0}, "invalid_field", "kind must be "),
        ({"chosen_index": True}, "invalid_field", "chosen_index must be a valid integer."),
        ({"chosen_index": 0.5}, "invalid_field", "chosen_index must be a valid integer."),
        ({"chosen_index": "0"}, "invalid_field", "chosen_index must be a valid integer."),
        ({"chosen_index": 0, "spam": "no"}, "invalid_field", "spam must be a valid boolean."),
        (
            {"chosen_index": 0, "slot_order": [0, 1, 2]},
            "slot_order_not_dealt",
            "slot_order is not what was dealt: this person sees this batch in the order [",
        ),
        ({"chosen_index": 0, "slot_order": [0] * 1001}, "invalid_field", "slot_order "),
        ({"chosen_index": 0, "elapsed_ms": -1}, "invalid_field", "elapsed_ms must be "),
        ({"chosen_index": 0, "elapsed_ms": 2**31}, "invalid_field", "elapsed_ms must be "),
        ({"chosen_index": 0, "client_id": ""}, "invalid_field", "client_id "),
        ({"chosen_index": 0, "client_id": "a\x00"}, "invalid_field", "client_id "),
        ({"chosen_index": 0, "client_id": "\ud800"}, "invalid_field", "client_id "),
        ({"chosen_index": 0, "slot_order": [0, 1, 2, 10**30]}, "slot_order_not_dealt", "slot_order "),
        ({"chosen_index": 0, "user_id": "ann"}, "invalid_field", "user_id must be "),
        ({"chosen_index": 0, "user": str(uuid4())}, "invalid_field", "user is not a known field."),
        ({"chosen_index": 0, "\ud800": 1}, "invalid_field", "body must be a valid string, "),
        ({"chosen_index": 0, "batch_id": "batch-555"}, "invalid_field", "batch_id must be "),
        ({"chosen_index": 0, "task_id": None}, "invalid_field", "task_id "),
    ],
)
async def test_an_answer_that_means_nothing_is_refused(labelling, payload, code, sentence):
    async with nothing_changes(labelling.database):
        answer = await labelling.post(**payload)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize("body", ["", "[]", "null", '"x"', "{", '{"chosen_index": 0}'])
async def test_a_body_that_is_no_answer_is_refused(labelling, body):
    annotator = await labelling.api.as_role("annotator")
    async with nothing_changes(labelling.database):
        answer = await annotator.post("/api/annotations", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_the_order_that_somebody_else_was_shown_is_refused(labelling):
    theirs = deal(labelling.task.batches[0], await labelling.user_id("operator"), 4)
    mine = deal(labelling.task.batches[0], await labelling.user_id(), 4)
    if theirs == mine:  # one time in 24
        theirs = [*mine[1:], mine[0]]
    async with nothing_changes(labelling.database):
        answer = await labelling.post(chosen_index=0, slot_order=theirs)

    assert (answer.status_code, answer.json()["code"]) == (422, "slot_order_not_dealt")


async def test_an_answer_counts_for_whom_it_names_and_nobody_else(labelling):
    """Somebody else has signed in on the phone while an answer waited in its outbox."""
    mine, theirs = await labelling.user_id(), await labelling.user_id("operator")
    async with nothing_changes(labelling.database):
        answer = await labelling.post("annotator", chosen_index=0, user_id=str(theirs))

    assert (answer.status_code, answer.json()["code"]) == (403, "other_user")
    assert answer.json()["error"] == "This answer was given by somebody else: only they can send it."
    await labelling.stored("annotator", chosen_index=0, user_id=str(mine))
    assert [row["user_id"] for row in await labelling.rows()] == [mine]


async def test_only_a_batch_of_the_named_task_is_judged(labelling):
    async with labelling.database.connection() as connection:
        other = await running_task(connection)
    nowhere = str(uuid4())
    async with nothing_changes(labelling.database):
        foreign = await labelling.post(chosen_index=0, batch_id=str(other.batches[0]))
        no_batch = await labelling.post(chosen_index=0, batch_id=nowhere)
        no_task = await labelling.post(chosen_index=0, task_id=nowhere)

    assert (foreign.status_code, foreign.json()["code"]) == (422, "not_in_task")
    assert foreign.json()["error"] == f"batch_id {other.batches[0]} is a batch of another task."
    assert (no_batch.status_code, no_batch.json()["code"]) == (404, "not_found")
    assert no_batch.json()["error"] == f"There is no batch {nowhere}."
    assert (no_task.status_code, no_task.json()["code"]) == (404, "not_found")
    assert no_task.json()["error"] == f"There is no task {nowhere}."


@pytest.mark.parametrize("state", ["DRAFT", "FROZEN"])
async def test_a_task_that_has_not_run_cannot_be_judged(labelling, state):
    async with labelling.database.connection() as connection:
        task = await add_task(connection, state=state)
    async with nothing_changes(labelling.database):
        answer = await labelling.post(chosen_index=0, task_id=str(task.id))

    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert answer.json()["error"] == f"This task is {state}: nothing in it can be judged before it runs."


@pytest.mark.parametrize("state", ["RUNNING", "DONE", "FAILED"])
async def test_a_task_that_runs_or_has_ended_can_be_judged(labelling, state):
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(connection, state=state)
    assert (await labelling.stored(chosen_index=0))["status"] == "stored"


async def test_a_batch_whose_images_are_still_made_cannot_be_judged(labelling):
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(connection, finished=False)
    async with nothing_changes(labelling.database):
        answer = await labelling.post(chosen_index=0)

    assert (answer.status_code, answer.json()["code"]) == (409, "batch_not_ready")
    assert answer.json()["error"] == "This batch is not ready: its images are still being made."


async def test_an_image_that_is_not_there_cannot_be_judged(labelling):
    await labelling.execute(
        "update generations set candidate_index = null where id = $1", labelling.task.generations[0][2]
    )
    async with nothing_changes(labelling.database):
        answer = await labelling.post(chosen_index=1, rejected_index=2)

    assert (answer.status_code, answer.json()["code"]) == (409, "batch_not_ready")
    assert answer.json()["error"] == "Image 2 of this batch is missing: it cannot be judged."


async def test_a_second_answer_replaces_the_first_and_keeps_it_as_history(labelling):
    first = await labelling.stored(chosen_index=0, rejected_index=1, client_id="c1")
    (before,) = await labelling.rows()

    second = await labelling.stored(kind="tie", client_id="c2")

    (row,) = await labelling.rows()
    assert second == {"client_id": "c2", "status": "stored", "id": first["id"], "surplus": False}
    assert (row["kind"], row["chosen_index"], row["client_id"]) == ("tie", None, "c2")
    assert row["created_at"] == before["created_at"] < row["updated_at"]
    kept = await labelling.value("select answer from annotation_history where annotation_id = $1", row["id"])
    assert (kept["kind"], kept["chosen_index"], kept["rejected_index"]) == ("choice", 0, 1)
    assert (kept["client_id"], kept["chosen_generation_id"]) == ("c1", str(labelling.task.generations[0][0]))


async def test_the_same_client_id_again_changes_nothing(labelling):
    first = await labelling.stored(chosen_index=0, client_id="c1")
    async with nothing_changes(labelling.database):
        again = await labelling.stored(chosen_index=0, client_id="c1")
        otherwise = await labelling.stored(chosen_index=3, client_id="c1")

    assert again == otherwise == first | {"status": "repeated"}


async def test_an_answer_sent_late_does_not_undo_the_one_that_replaced_it(labelling):
    """An outbox that lost the answer to c1 sends it again after c2 has arrived."""
    await labelling.stored(chosen_index=0, client_id="c1")
    second = await labelling.stored(chosen_index=3, client_id="c2")
    async with nothing_changes(labelling.database):
        late = await labelling.stored(chosen_index=0, client_id="c1")

    assert late == second | {"client_id": "c1", "status": "repeated"}


async def test_a_repeat_is_recognised_whatever_became_of_the_answer(labelling):
    await labelling.stored("operator", kind="tie")
    first = await labelling.stored(chosen_index=0, client_id="c1")
    assert first["surplus"] is True
    async with nothing_changes(labelling.database):
        again = await labelling.stored(chosen_index=0, client_id="c1")
    assert again == first | {"status": "repeated"}


async def test_one_client_id_for_two_batches_is_refused(labelling):
    await labelling.stored(batch=0, chosen_index=0, client_id="c1")
    async with nothing_changes(labelling.database):
        answer = await labelling.post(batch=1, chosen_index=0, client_id="c1")

    assert (answer.status_code, answer.json()["code"]) == (409, "client_id_reused")
    assert answer.json()["error"].startswith("client_id c1 was used before, for something else")
    assert (await labelling.stored("operator", batch=1, chosen_index=0, client_id="c1"))["status"] == "stored"


async def test_two_batches_answered_at_once_under_one_client_id_give_one_answer(labelling):
    answers = await asyncio.gather(*(labelling.post(batch=batch, chosen_index=0, client_id="c1") for batch in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"client_id_reused"}
    assert len(await labelling.rows()) == 1


async def test_one_answer_sent_eight_times_at_once_is_one_row(labelling):
    answers = await asyncio.gather(*(labelling.stored(chosen_index=0, client_id="c1") for _ in range(8)))

    assert sorted(answer["status"] for answer in answers) == ["repeated"] * 7 + ["stored"]
    assert len({answer["id"] for answer in answers}) == 1
    assert len(await labelling.rows()) == 1
    assert await labelling.value("select count(*) from annotation_history") == 0


async def crowd(labelling: Labelling, count: int) -> list[Principal]:
    async with labelling.database.connection() as connection:
        users = [await add_user(connection, f"person {number}") for number in range(count)]
    return [Principal(user, f"person {number}", Role.ANNOTATOR, None) for number, user in enumerate(users)]


def choice(labelling: Labelling, **changes: Any) -> NewAnnotation:
    return NewAnnotation.model_validate(labelling.payload(**({"chosen_index": 0} | changes)))


async def test_an_ordinary_answer_is_one_round_trip(labelling):
    (person,) = await crowd(labelling, 1)
    service: AnnotationService = labelling.api.app.state.annotations
    for _ in range(2):  # a new connection asks for the types of the columns first
        await service.submit(person, choice(labelling, batch=1, client_id="c0"))
    said: list[str] = []
    async with service._database.connection() as connection:
        connection.add_query_logger(lambda record: said.append(record.query))

    await service.submit(person, choice(labelling, client_id="c1", rejected_index=1))
    assert said == [first_answer_repository.STORE]

    said.clear()
    await service.submit(person, choice(labelling, client_id="c1"))
    assert said == [first_answer_repository.STORE, "BEGIN;", answers_repository.HOLD, "COMMIT;"]


@pytest.mark.postgres_16_too  # what a statement sees that waited for a lock
@pytest.mark.parametrize("overlap", [1, 3])
async def test_however_many_answer_at_once_only_the_overlap_counts(labelling, overlap):
    await labelling.execute("update tasks set overlap = $1", overlap)
    people = await crowd(labelling, 8)
    service = labelling.api.app.state.annotations

    answers = await asyncio.gather(*(service.submit(person, choice(labelling)) for person in people))

    assert sum(not answer.surplus for answer in answers) == overlap
    rows = {row["id"]: row["surplus"] for row in await labelling.rows()}
    assert rows == {answer.id: answer.surplus for answer in answers}


async def test_an_answer_beyond_the_overlap_is_accepted_as_surplus(labelling):
    assert (await labelling.stored("operator", chosen_index=0))["surplus"] is False
    assert (await labelling.stored(chosen_index=1))["surplus"] is True
    assert (await labelling.stored("operator", chosen_index=2))["surplus"] is False
    assert [row["surplus"] for row in await labelling.rows()] == [False, True]


async def test_a_skip_takes_no_place(labelling):
    assert (await labelling.stored("operator", kind="skip"))["surplus"] is False
    assert (await labelling.stored(chosen_index=1))["surplus"] is False
    late = await labelling.stored("operator", chosen_index=0)
    assert late["surplus"] is True


async def test_a_place_given_up_goes_to_the_answer_that_waits_longest(labelling):
    await labelling.stored("operator", chosen_index=0)
    await labelling.stored("annotator", chosen_index=1)
    await labelling.stored("admin", chosen_index=2)

    await labelling.stored("operator", kind="skip")

    assert [(row["kind"], row["surplus"]) for row in await labelling.rows()] == [
        ("skip", False),
        ("choice", False),
        ("choice", True),
    ]


async def test_a_spam_closes_the_batch_until_it_is_taken_back(labelling):
    await labelling.execute("update tasks set overlap = 2")
    spam_at = "select spam_at from batches where id = $1"
    batch = labelling.task.batches[0]

    await labelling.stored("operator", chosen_index=0, spam=True)
    assert await labelling.value(spam_at, batch) is not None
    assert (await labelling.stored(chosen_index=1))["surplus"] is True

    await labelling.stored("operator", chosen_index=0, spam=False)
    assert await labelling.value(spam_at, batch) is None
    assert [row["surplus"] for row in await labelling.rows()] == [False, False]


async def test_a_surplus_spam_closes_nothing(labelling):
    await labelling.stored("operator", chosen_index=0)
    assert (await labelling.stored(spam=True))["surplus"] is True
    assert await labelling.value("select count(*) from batches where spam_at is not null") == 0


async def add_test(labelling: Labelling, *, expired: bool = False) -> None:
    """Everybody who is assigned gets B; A is first, so it is what an expired test gives."""
    await labelling.execute(
        "insert into ab_tests (id, name, variants, expires_at) values ($1, 'prefetch', $2, now() + $3 * interval '1d')",
        test_id := uuid4(),
        [{"key": "A", "weight": 0}, {"key": "B", "weight": 1}],
        -1 if expired else 1,
    )
    await labelling.execute("update tasks set ab_test_id = $1", test_id)


async def test_an_answer_in_a_tested_task_carries_the_variant_of_its_person(labelling):
    await add_test(labelling)

    await labelling.stored(chosen_index=0)

    (row,) = await labelling.rows()
    assert row["variant_key"] == "B"
    annotator = await labelling.api.as_role("annotator")
    assigned = await annotator.post("/api/ab-tests/assign", json={"test_name": "prefetch"})
    assert assigned.json()["data"] == {"variant": "B"}
    assert await labelling.value("select user_id from ab_assignments") == await labelling.user_id()


async def test_an_expired_test_stamps_its_first_variant_and_assigns_nobody(labelling):
    await add_test(labelling, expired=True)

    await labelling.stored(chosen_index=0)

    assert [row["variant_key"] for row in await labelling.rows()] == ["A"]
    assert await labelling.value("select count(*) from ab_assignments") == 0


async def test_a_refused_answer_assigns_nobody(labelling):
    await add_test(labelling)
    async with nothing_changes(labelling.database):
        assert (await labelling.post(chosen_index=9)).status_code == 422


async def test_an_answer_needs_a_signed_in_person(labelling):
    async with nothing_changes(labelling.database):
        answer = await labelling.api.anonymous.post("/api/annotations", json=labelling.payload(chosen_index=0))
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
