"""PATCH of a task's overlap: answers that were beyond it."""

import asyncio

from tests.annotations.conftest import Labelling
from tests.support.waiting import until

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def change_overlap(labelling: Labelling, overlap: int) -> None:
    operator = await labelling.api.as_role("operator")
    answer = await operator.patch(f"/api/tasks/{labelling.task.id}", json={"overlap": overlap})
    assert answer.status_code == 200, answer.text


async def three_answers(labelling: Labelling, *kinds: str) -> None:
    for role, kind in zip(("operator", "annotator", "admin"), kinds, strict=True):
        await labelling.stored(role, kind=kind, **({"chosen_index": 0} if kind == "choice" else {}))


async def surplus(labelling: Labelling) -> list[bool]:
    return [row["surplus"] for row in await labelling.rows()]


async def test_who_has_waited_longest_counts_when_a_place_is_added(labelling):
    await three_answers(labelling, "choice", "tie", "choice")
    assert await surplus(labelling) == [False, True, True]

    await change_overlap(labelling, 2)
    assert (await surplus(labelling), await labelling.taken()) == ([False, False, True], 2)

    await change_overlap(labelling, 5)
    assert (await surplus(labelling), await labelling.taken()) == ([False, False, False], 3)


async def test_nobody_counts_after_a_spam_that_does(labelling):
    await three_answers(labelling, "choice", "spam", "choice")

    await change_overlap(labelling, 3)

    assert (await surplus(labelling), await labelling.taken()) == ([False, False, True], 2)
    closed = await labelling.value("select spam_at is not null from batches where id = $1", labelling.task.batches[0])
    assert closed


async def test_a_closed_batch_stays_closed(labelling):
    await three_answers(labelling, "spam", "choice", "choice")
    await change_overlap(labelling, 3)
    assert (await surplus(labelling), await labelling.taken()) == ([False, True, True], 1)


async def test_who_counts_goes_on_counting_when_places_are_taken_away(labelling):
    await change_overlap(labelling, 3)
    await three_answers(labelling, "choice", "choice", "choice")
    await change_overlap(labelling, 1)
    assert (await surplus(labelling), await labelling.taken()) == ([False, False, False], 3)


async def test_only_this_tasks_answers_are_looked_at(labelling):
    await three_answers(labelling, "choice", "choice", "skip")
    labelling.task, other = (await labelling.another_task()), labelling.task
    await change_overlap(labelling, 2)
    labelling.task = other
    assert (await surplus(labelling), await labelling.taken()) == ([False, True, False], 1)


async def test_an_answer_under_way_does_not_wait_beside_a_free_place(labelling):
    """It saw one place and found it taken; the second one is made before it is stored."""
    await labelling.stored("operator", chosen_index=0)
    async with labelling.database.transaction() as connection:
        await connection.execute("select from batches where id = $1 for update", labelling.task.batches[0])
        answering = asyncio.create_task(labelling.stored("annotator", chosen_index=1))
        await until(lambda: waiting(labelling, 1))
        changing = asyncio.create_task(change_overlap(labelling, 2))
        await until(lambda: waiting(labelling, 2))
    await asyncio.gather(answering, changing)

    assert (await surplus(labelling), await labelling.taken()) == ([False, False], 2)


async def waiting(labelling: Labelling, count: int) -> bool:
    return bool(await labelling.value(WAITING) == count)
