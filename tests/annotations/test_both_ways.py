"""The ordinary answer goes a short way (first_answer_repository): it leaves behind what the long way leaves."""

from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfylabel.annotations import first_answer_repository
from comfylabel.annotations.deal import deal
from tests.annotations.conftest import Labelling
from tests.annotations.test_stories import BATCHES, start_over
from tests.annotations.test_submit import add_test

PEOPLE = ("annotator", "operator")
BATCH = st.integers(0, BATCHES - 1)
MORE: dict[str, st.SearchStrategy[Any]] = {
    "client_id": st.sampled_from("abcdef"),
    "elapsed_ms": st.integers(0, 2**31 - 1),
    "slot_order": st.sampled_from(["dealt", "dealt", "another", "short"]),
}
FINE = st.one_of(
    st.fixed_dictionaries({"batch": BATCH, "chosen_index": st.integers(0, 1)}, optional={"rejected_index": st.just(2)}),
    st.fixed_dictionaries({"batch": BATCH, "kind": st.sampled_from(["tie", "spam", "skip"])}),
)
INDEX = st.none() | st.integers(-1, 4) | st.just(2**31)
ANYTHING = st.fixed_dictionaries(
    {"batch": BATCH, "kind": st.sampled_from(["choice", "tie", "spam", "skip"])},
    optional={"chosen_index": INDEX, "rejected_index": INDEX, "spam": st.booleans()},
)
SAID = st.builds(lambda said, more: said | more, FINE | FINE | ANYTHING, st.fixed_dictionaries({}, optional=MORE))
STEP = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["answer"] * 4 + ["lease", "undo"]), SAID)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=10), overlap=st.integers(1, 2), tested=st.booleans())
async def test_both_ways_leave_the_same_rows(labelling: Labelling, steps: list[Any], overlap: int, tested: bool):
    left = []
    for store in (first_answer_repository.store, nothing_stored):
        await start_over(labelling, overlap)
        await labelling.execute("truncate ab_assignments")
        await labelling.execute("update tasks set ab_test_id = null")
        await labelling.execute("delete from ab_tests")
        if tested:
            await add_test(labelling)
        with patch.object(first_answer_repository, "store", store):
            answers = [await take(labelling, *step) for step in steps]
        left.append((answers, await everything(labelling)))
    assert left[0] == left[1]


async def nothing_stored(*_: object, **__: object) -> bool:
    return False


async def take(labelling: Labelling, who: str, does: str, said: dict[str, Any]) -> Any:
    """What the person is told."""
    batch, client_id = said["batch"], said.get("client_id", "a")
    user_id = await labelling.user_id(who)
    if does == "lease":
        return await lease(labelling, who, batch)
    if does == "undo":
        answer = await labelling.undo(client_id, f"undo {client_id}", who)
    else:
        dealt = deal(labelling.task.batches[batch], user_id, 4)
        orders = {"dealt": dealt, "another": dealt[::-1], "short": dealt[:2]}
        order = {"slot_order": orders[said["slot_order"]]} if "slot_order" in said else {}
        answer = await labelling.post(who, **said | order)
    body = answer.json()
    data = body.get("data") or {}
    return answer.status_code, body.get("code"), body.get("error"), data.get("status"), data.get("surplus")


async def lease(labelling: Labelling, who: str, batch: int) -> None:
    user_id, batch_id = await labelling.user_id(who), labelling.task.batches[batch]
    answered = "select exists (select from annotations where batch_id = $1 and user_id = $2)"
    if user_id not in await labelling.holders(batch) and not await labelling.value(answered, batch_id, user_id):
        await labelling.lease(who, batch)


UNLIKE = ["id", "annotation_id", "created_at", "updated_at", "seen_at", "replaced_at", "test_id", "answer"]
TABLES = ("annotations", "annotation_history", "leases", "labellers", "ab_assignments")
BATCH_ROWS = "select array_agg((id, taken, spam_at is not null) order by id) from batches"


async def everything(labelling: Labelling) -> list[Any]:
    """All rows, but for what differs from one time to the next."""
    rows = [await labelling.value(BATCH_ROWS)]
    for table in TABLES:
        query = f"select jsonb_agg(to_jsonb(t) - $1::text[] order by (to_jsonb(t) - $1::text[])::text) from {table} t"
        rows.append(await labelling.value(query, UNLIKE))
    rows.append(
        await labelling.value("select jsonb_agg(answer - $1::text[] order by 1) from annotation_history", UNLIKE)
    )
    return rows
