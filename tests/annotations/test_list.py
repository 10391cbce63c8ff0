"""The list form of POST /api/annotations: what an outbox sends."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfylabel.annotations.schemas import NewAnnotation, Undo
from tests.annotations.conftest import Labelling, running_task
from tests.support.unchanged import nothing_changes
from tests.support.waiting import until


async def test_a_list_is_answered_in_its_order(labelling):
    first = await labelling.stored(batch=1, kind="tie", client_id="c2")

    outcomes = await labelling.outcomes(
        [
            labelling.payload(0, chosen_index=0, rejected_index=2, spam=False, client_id="c1", elapsed_ms=1830),
            labelling.payload(1, kind="tie", client_id="c2"),
            labelling.payload(2, chosen_index=9, spam=False, client_id="c3"),
            {"undo_of": "c1", "client_id": "c4"},
            labelling.payload(0, kind="skip"),
        ]
    )

    (kept,) = await labelling.history()
    skip = (await labelling.rows())[-1]
    assert outcomes == [
        {"client_id": "c1", "status": "stored", "id": str(kept["annotation_id"]), "surplus": False},
        first | {"status": "repeated"},
        {
            "client_id": "c3",
            "status": "refused",
            "code": "index_out_of_range",
            "error": "chosen_index 9: this batch has 4 images.",
        },
        {"client_id": "c4", "status": "stored", "id": str(kept["annotation_id"]), "surplus": False},
        {"client_id": None, "status": "stored", "id": str(skip["id"]), "surplus": False},
    ]


async def test_a_single_object_is_answered_by_a_single_object(labelling):
    assert (await labelling.stored(chosen_index=0, client_id="c1"))["status"] == "stored"
    assert [outcome["status"] for outcome in await labelling.outcomes([labelling.payload(1, kind="tie")])] == ["stored"]


async def answers_to_fifty_batches(labelling: Labelling) -> list[dict[str, Any]]:
    async with labelling.database.connection() as connection:
        labelling.task = await running_task(connection, prompts=50)
    return [labelling.payload(n, chosen_index=n % 4, client_id=f"c{n}") for n in range(50)]


@pytest.mark.parametrize(
    ("bad", "code", "sentence"),
    [
        ({"chosen_index": 4}, "index_out_of_range", "chosen_index 4: this batch has 4 images."),
        ({"chosen_index": "0"}, "invalid_field", "chosen_index must be a valid integer."),
        ({"chosen": 0}, "invalid_field", "chosen is not a known field."),
        ({"batch_id": "batch-555"}, "invalid_field", "batch_id must be a valid UUID, "),
        ({"batch_id": str(uuid4())}, "not_found", "There is no batch "),
        ({"kind": "tie"}, "kind_contradiction", "A tie names no image: leave chosen_index out."),
        ({"slot_order": [0, 1]}, "slot_order_not_dealt", "slot_order is not what was dealt: "),
        ({"user_id": str(uuid4())}, "other_user", "This answer was given by somebody else: "),
        ({"client_id": "c16"}, "client_id_reused", "client_id c16 was used before, for something else; "),
        ({"undo_of": "c0"}, "invalid_field", "task_id is not a known field."),
    ],
)
async def test_one_bad_answer_in_a_list_of_50_holds_back_no_other(labelling, bad, code, sentence):
    answers = await answers_to_fifty_batches(labelling)
    answers[17] |= bad

    outcomes = await labelling.outcomes(answers)

    refused = outcomes.pop(17)
    assert refused | {"error": ""} == {
        "client_id": answers[17]["client_id"],
        "status": "refused",
        "code": code,
        "error": "",
    }
    assert refused["error"].startswith(sentence)
    assert [outcome["status"] for outcome in outcomes] == ["stored"] * 49
    assert len(await labelling.rows()) == 49


@pytest.mark.parametrize("bad", [None, 7, "c1", [], [{}], True, 1.5])
async def test_an_element_that_is_no_object_is_refused_in_its_place(labelling, bad):
    outcomes = await labelling.outcomes([labelling.payload(0, chosen_index=0), bad, labelling.payload(1, kind="tie")])

    assert [outcome["status"] for outcome in outcomes] == ["stored", "refused", "stored"]
    assert outcomes[1] == {
        "client_id": None,
        "status": "refused",
        "code": "invalid_field",
        "error": "body[1] must be an object.",
    }


@pytest.mark.parametrize("client_id", [7, "", "a\x00", "\ud800", "x" * 201, {}, None])
async def test_what_is_no_client_id_is_not_said_again_unless_it_is_text(labelling, client_id):
    (outcome,) = await labelling.outcomes([labelling.payload(chosen_index=9, client_id=client_id)])
    assert outcome["status"] == "refused"
    assert outcome["client_id"] in (None, "")


@pytest.mark.parametrize("count", [0, 51, 1000])
async def test_a_list_of_any_other_length_is_refused_whole(labelling, count):
    async with nothing_changes(labelling.database):
        answer = await labelling.send([labelling.payload(chosen_index=0)] * count)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["error"] == f"body must hold 1 to 50 answers, not {count}."


async def test_a_list_sent_again_changes_nothing(labelling):
    answers = await answers_to_fifty_batches(labelling)
    answers[3] |= {"chosen_index": 9}
    answers[-1] = {"undo_of": "c0", "client_id": "u0"}
    first = await labelling.outcomes(answers)
    async with nothing_changes(labelling.database):
        again = await labelling.outcomes(answers)

    assert again == [
        outcome if outcome["status"] == "refused" else outcome | {"status": "repeated"} for outcome in first
    ]


async def test_two_tabs_that_send_the_same_list_at_once_store_each_answer_once(labelling):
    answers = await answers_to_fifty_batches(labelling)
    answers[-1] = {"undo_of": "c7", "client_id": "u7"}

    both = await asyncio.gather(labelling.outcomes(answers), labelling.outcomes(answers))

    for one, other in zip(*both, strict=True):
        assert {one["status"], other["status"]} == {"stored", "repeated"}
        assert one["id"] == other["id"]
    assert len(await labelling.rows()) == 48
    assert len(await labelling.history()) == 1
    assert await labelling.answered() == 48


async def test_a_list_of_two_people_is_stored_for_the_one_who_is_signed_in(labelling):
    """A shared phone: the other person's answers wait in the outbox until they sign in."""
    mine, theirs = str(await labelling.user_id()), str(await labelling.user_id("operator"))
    answers = [
        labelling.payload(0, chosen_index=0, client_id="c1", user_id=mine),
        labelling.payload(1, chosen_index=0, client_id="c2", user_id=theirs),
    ]

    as_me = await labelling.outcomes(answers, "annotator")
    as_them = await labelling.outcomes(answers, "operator")

    assert [outcome.get("code", outcome["status"]) for outcome in as_me] == ["stored", "other_user"]
    assert [outcome.get("code", outcome["status"]) for outcome in as_them] == ["other_user", "stored"]
    assert [str(row["user_id"]) for row in await labelling.rows()] == [mine, theirs]


async def test_a_list_that_the_database_left_in_the_middle_is_sent_again(labelling):
    answers = [labelling.payload(n, chosen_index=0, client_id=f"c{n}") for n in range(3)]
    async with labelling.database.transaction() as connection:
        await connection.execute("select from batches where id = $1 for update", labelling.task.batches[1])
        sending = asyncio.create_task(labelling.send(answers))
        await until(lambda: labelling.value(WAITING))
        await labelling.value(f"select pg_terminate_backend(pid) from ({WAITING}) waiting")
        answer = await sending

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert len(await labelling.rows()) == 1
    outcomes = await labelling.outcomes(answers)
    assert [outcome["status"] for outcome in outcomes] == ["repeated", "stored", "stored"]
    assert len(await labelling.rows()) == 3


WAITING = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def test_no_clock_but_the_servers_is_read(labelling):
    """A phone that is a year late: answers stand at the time and in the order in which they came."""
    annotator = await labelling.api.as_role("annotator")
    began = datetime.now(UTC) - timedelta(seconds=1)
    answers = [labelling.payload(n, chosen_index=0, elapsed_ms=10_000 - n) for n in range(3)]

    await annotator.post("/api/annotations", json=answers, headers={"date": "Sat, 22 Nov 2025 18:00:00 GMT"})

    rows = await labelling.rows()
    assert [row["batch_id"] for row in rows] == labelling.task.batches
    assert began < rows[0]["created_at"] < rows[2]["created_at"] < datetime.now(UTC) + timedelta(seconds=1)
    (refused,) = await labelling.outcomes([labelling.payload(chosen_index=1, created_at="2025-11-22T18:00:00Z")])
    assert refused["error"] == "created_at is not a known field."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*NewAnnotation.model_fields, *Undo.model_fields, "who"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(elements=st.lists(JSON | st.dictionaries(FIELDS, JSON, max_size=4), min_size=1, max_size=8), data=st.data())
async def test_whatever_a_list_holds_it_has_one_outcome_for_each(labelling, elements, data):
    """Half of them are changed from an answer that would be stored."""
    elements = [
        labelling.payload(data.draw(st.integers(0, 2)), chosen_index=0) | element
        if isinstance(element, dict) and data.draw(st.booleans())
        else element
        for element in elements
    ]
    outcomes = await labelling.outcomes(elements)

    assert len(outcomes) == len(elements)
    for outcome in outcomes:
        assert outcome["status"] in ("stored", "repeated", "refused")
        assert outcome["status"] != "refused" or outcome["error"].endswith(".")
