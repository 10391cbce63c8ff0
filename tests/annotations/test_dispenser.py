"""Who gets which batch: the rules of leasing, one person after the other."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from comfylabel.annotations.answer import Kind
from comfylabel.annotations.deal import deal
from comfylabel.db.pool import Database
from comfylabel.errors import InvalidField, NotFound, WrongState
from tests.support.labelling_desk import Desk, ids
from tests.support.rows import TaskRows, add_task, annotate, finish_batches
from tests.support.unchanged import nothing_changes

pytestmark = pytest.mark.postgres_16_too

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONGER_THAN_A_LEASE = timedelta(minutes=15, seconds=1)
OVER_A_MINUTE = timedelta(seconds=61)


async def desk_of(database: Database, prompts: int, **columns: Any) -> tuple[Desk, TaskRows]:
    """Batch i became ready i seconds after the start."""
    given: dict[str, Any] = {"state": "DONE", "finished": False, "seeds": 2, "batch_size": 2} | columns
    async with database.transaction() as connection:
        task = await add_task(connection, prompts=prompts, **given)
        for number, batch in enumerate(task.batches):
            await finish_batches(connection, [batch], ready_at=START + timedelta(seconds=number))
    return Desk.at(database, task), task


async def test_batches_come_in_the_order_in_which_they_became_ready(database):
    desk, task = await desk_of(database, 5)
    ann = await desk.person("ann")

    answer = await desk.next(ann, count=3)

    assert ids(answer) == task.batches[:3]
    assert [item["position"] for item in answer["items"]] == [1, 2, 3]
    assert answer | {"items": []} == {
        "items": [],
        "dropped": [],
        "done_by_me": 0,
        "open": 5,
        "hold": 5,
        "state": "work",
        "retry_after": None,
        "lease_seconds": 900,
        "variant": None,
    }
    await desk.check()


async def test_an_item_tells_the_dealt_order_and_how_long_it_is_held(database):
    desk, task = await desk_of(database, 1)
    ann = await desk.person("ann")

    (item,) = (await desk.next(ann))["items"]

    seen_at = await desk.value("select seen_at from labellers")
    assert item["slot_order"] == deal(task.batches[0], ann.user_id, 2)
    assert item["leased_until"] == seen_at + timedelta(minutes=15)
    assert (item["prompt"], item["my_annotation"], len(item["tiles"])) == ("prompt 0", None, 2)


async def test_nobody_gets_what_another_person_holds(database):
    desk, task = await desk_of(database, 40)
    ann, ben = await desk.person("ann"), await desk.person("ben")

    first, second = await desk.ask(ann), await desk.ask(ben)

    assert (first, second) == (task.batches[:20], task.batches[20:])
    await desk.check()


async def test_asking_again_gives_the_same_first(database):
    desk, task = await desk_of(database, 6)
    ann = await desk.person("ann")
    await desk.ask(ann, count=2)

    assert await desk.ask(ann, count=4) == task.batches[:4]
    assert await desk.ask(ann, count=2) == task.batches[:2]
    assert len(await desk.holders()) == 4


async def test_what_the_page_has_is_left_out_and_counts_towards_what_it_wants(database):
    desk, task = await desk_of(database, 10)
    ann = await desk.person("ann")
    await desk.ask(ann, count=4)

    answer = await desk.next(ann, count=5, have=[task.batches[2], task.batches[0]])

    assert ids(answer) == [task.batches[1], task.batches[3], task.batches[4]]
    assert [item["position"] for item in answer["items"]] == [3, 4, 5]
    assert answer["dropped"] == []


async def test_an_answer_moves_the_queue_on(database):
    desk, task = await desk_of(database, 10)
    ann = await desk.person("ann")
    await desk.ask(ann, count=3)
    await desk.answer(ann, task.batches[0])

    answer = await desk.next(ann, count=3, have=task.batches[:3])

    assert (answer["dropped"], ids(answer)) == ([task.batches[0]], [task.batches[3]])
    assert (answer["done_by_me"], answer["open"]) == (1, 9)
    assert answer["items"][0]["position"] == 4
    await desk.check()


async def test_a_person_with_two_tabs_has_one_queue(database):
    desk, task = await desk_of(database, 10)
    ann = await desk.person("ann")
    here = await desk.ask(ann, count=3)
    there = await desk.ask(ann, count=3)
    await desk.answer(ann, here[0])

    seen_there = await desk.next(ann, count=3, have=there)

    assert here == there
    assert seen_there["dropped"] == [here[0]]
    assert ids(seen_there) == [task.batches[3]]


async def test_two_tabs_that_ask_at_the_same_time_hold_no_more_than_one(database):
    desk, task = await desk_of(database, 30)
    ann = await desk.person("ann")

    answers = await asyncio.gather(*(desk.beside().ask(ann, count=4) for _ in range(4)))

    assert answers == [task.batches[:4]] * 4
    await desk.check()


# --- overlap


async def test_with_overlap_each_batch_goes_to_so_many_people_and_no_more(database):
    desk, task = await desk_of(database, 3, overlap=2)
    ann, ben, cem = [await desk.person(name) for name in ("ann", "ben", "cem")]

    assert await desk.ask(ann) == task.batches
    assert await desk.ask(ben) == task.batches[:2]  # ceil(3 / 2): a third was leased to ann before ben came
    assert await desk.ask(ben, have=task.batches[:2]) == []
    assert await desk.ask(cem) == task.batches[2:]
    await desk.check()


async def test_what_others_have_begun_is_finished_first(database):
    desk, task = await desk_of(database, 6, overlap=3)
    ann, ben, cem = [await desk.person(name) for name in ("ann", "ben", "cem")]
    for batch in (4, 5):
        await desk.answer(ann, task.batches[batch])
    await desk.answer(ben, task.batches[5])
    for gone in (ann, ben):
        await desk.away_for(gone, LONGER_THAN_A_LEASE)

    assert await desk.ask(cem, count=4) == [task.batches[5], task.batches[4], *task.batches[:2]]


async def test_a_person_never_gets_a_batch_twice_whatever_they_said(database):
    desk, task = await desk_of(database, 4, overlap=3)
    ann = await desk.person("ann")
    for batch, kind in zip(task.batches, [Kind.TIE, Kind.SKIP, Kind.SPAM], strict=False):
        await desk.answer(ann, batch, kind)

    assert await desk.ask(ann) == task.batches[3:]
    assert (await desk.next(ann, have=task.batches[:3]))["dropped"] == task.batches[:3]


async def test_raising_the_overlap_opens_what_was_labelled(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    for batch in task.batches:
        await desk.answer(ann, batch)
    assert (await desk.next(ben))["state"] == "finished"

    await desk.execute("update tasks set overlap = 2")

    assert await desk.ask(ben) == task.batches[:1]
    await desk.away_for(ann, LONGER_THAN_A_LEASE)
    assert await desk.ask(ben) == task.batches
    assert (await desk.next(ann))["state"] == "finished"


async def test_a_lease_in_a_batch_that_others_filled_is_given_back(database):
    """An answer counts whoever held the batch; the holder's would be surplus."""
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann, count=1)
    await desk.answer(ben, task.batches[0])

    answer = await desk.next(ann, count=1, have=[task.batches[0]])

    assert (answer["dropped"], ids(answer)) == ([task.batches[0]], [task.batches[1]])
    await desk.check()


# --- shares


async def test_the_last_ones_are_shared(database):
    desk, task = await desk_of(database, 10)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    assert len(await desk.ask(ann)) == 10
    await desk.next(ben)

    answer = await desk.next(ann, have=task.batches)

    assert (answer["hold"], answer["dropped"]) == (5, task.batches[5:])
    assert await desk.ask(ben) == task.batches[5:]
    await desk.check()


async def test_who_comes_back_after_a_quarter_of_an_hour_no_longer_shrinks_the_shares(database):
    desk, _ = await desk_of(database, 10)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.next(ben, count=1)
    assert (await desk.next(ann))["hold"] == 5

    await desk.away_for(ben, LONGER_THAN_A_LEASE)

    assert (await desk.next(ann))["hold"] == 10


async def test_who_will_be_offline_may_hold_200(database):
    desk, _ = await desk_of(database, 30)
    ann = await desk.person("ann")

    assert len(await desk.ask(ann, count=200, offline=True)) == 30
    with pytest.raises(InvalidField, match="at most 20"):
        await desk.ask(ann, count=21)

    back = await desk.next(ann, count=20)
    assert (len(ids(back)), len(await desk.holders())) == (20, 20)
    await desk.check()


# --- what comes back


async def test_what_is_released_goes_to_others_at_once(database):
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)

    assert await desk.release(ann, [task.batches[1], uuid4()]) == 1
    assert await desk.ask(ben, count=1) == [task.batches[1]]
    assert await desk.release(ann) == 2
    assert await desk.release(ann) == 0
    assert await desk.holders() == {task.batches[1]: {ben.user_id}}
    await desk.check()


async def test_a_release_takes_nothing_from_others(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)

    assert await desk.release(ben, task.batches) == 0
    assert await desk.holders() == {batch: {ann.user_id} for batch in task.batches}


async def test_a_lease_that_ran_out_is_the_holders_until_somebody_asks(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.away_for(ann, LONGER_THAN_A_LEASE)
    assert await desk.ask(ann) == task.batches

    await desk.away_for(ann, LONGER_THAN_A_LEASE)
    assert await desk.ask(ben) == task.batches

    assert (await desk.next(ann, have=task.batches))["dropped"] == task.batches
    await desk.check()


async def test_a_lease_lives_for_a_quarter_of_an_hour(database):
    desk, task = await desk_of(database, 1)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.away_for(ann, timedelta(minutes=14, seconds=50))

    answer = await desk.next(ben)

    assert (ids(answer), answer["state"], answer["retry_after"]) == ([], "wait", 5)
    assert await desk.ask(ann) == task.batches


@pytest.mark.parametrize("contact", ["answer", "undo", "release", "next"])
async def test_every_contact_keeps_all_leases(database, contact):
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.answer(ann, task.batches[0], client_id="c1")
    await desk.away_for(ann, LONGER_THAN_A_LEASE)

    if contact == "answer":
        await desk.answer(ann, task.batches[1])
    elif contact == "undo":
        await desk.undo(ann, "c1")
    elif contact == "release":
        await desk.release(ann, [])
    else:
        await desk.next(ann)

    assert task.batches[2] not in await desk.ask(ben)
    assert await desk.ask(ann, count=1, have=[task.batches[2]]) == []
    await desk.check()


async def test_a_hungry_person_takes_what_an_idle_one_holds_beyond_their_share(database):
    desk, task = await desk_of(database, 6)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    assert await desk.ask(ben) == []  # ann is at work: what she holds is hers
    await desk.away_for(ann, OVER_A_MINUTE)

    assert sorted(await desk.ask(ben)) == sorted(task.batches[3:])
    assert await desk.ask(ann) == task.batches[:3]
    await desk.check()


async def test_a_hungry_person_takes_the_furthest_first(database):
    desk, task = await desk_of(database, 6)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.away_for(ann, OVER_A_MINUTE)

    assert await desk.ask(ben, count=1) == [task.batches[5]]


async def test_nobody_takes_over_what_they_have_judged_or_hold_already(database):
    desk, task = await desk_of(database, 4, overlap=2)
    ann, ben, cem = [await desk.person(name) for name in ("ann", "ben", "cem")]
    await desk.ask(ann)
    await desk.ask(cem)
    await desk.answer(ben, task.batches[3])  # beside two leases: beyond the overlap by now
    await desk.away_for(ann, OVER_A_MINUTE)
    await desk.away_for(cem, OVER_A_MINUTE)

    got = await desk.ask(ben)

    assert task.batches[3] not in got
    assert len(set(got)) == len(got)
    await desk.check()


async def test_what_an_idle_person_shares_is_theirs_until_it_runs_out(database):
    desk, task = await desk_of(database, 1)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.away_for(ann, timedelta(minutes=10))

    assert await desk.ask(ben) == []
    assert await desk.ask(ann) == task.batches


async def test_a_skip_frees_the_batch_for_others(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)
    await desk.answer(ann, task.batches[0], Kind.SKIP)

    assert await desk.ask(ben) == task.batches[:1]
    assert await desk.ask(ann) == task.batches[1:]
    await desk.check()


async def test_spam_leaves_every_queue(database):
    desk, task = await desk_of(database, 2, overlap=3)
    ann, ben, cem = [await desk.person(name) for name in ("ann", "ben", "cem")]
    await desk.ask(ann)
    await desk.ask(ben)
    await desk.answer(ben, task.batches[0], Kind.SPAM)

    assert await desk.ask(cem) == task.batches[1:]
    assert (await desk.next(ann, have=task.batches))["dropped"] == task.batches[:1]
    await desk.check()


async def test_an_undone_answer_is_on_the_persons_queue_again(database):
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann, count=1)
    await desk.answer(ann, task.batches[0], client_id="c1")
    await desk.undo(ann, "c1")

    answer = await desk.next(ann, count=1)

    assert (ids(answer), answer["done_by_me"]) == (task.batches[:1], 0)
    assert await desk.ask(ben, count=1) == [task.batches[1]]
    await desk.check()


# --- what a page only looked at


async def test_a_page_keeps_the_batch_that_it_looked_at(database):
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ben, count=1)
    (seen,) = ids(await desk.dispenser.peek(ann, task.id, 4))

    answer = await desk.next(ann, count=2, have=[seen])

    assert (seen, answer["dropped"], ids(answer)) == (task.batches[1], [], [task.batches[2]])
    assert answer["items"][0]["position"] == 2


async def test_a_batch_that_was_only_looked_at_is_dropped_when_another_was_faster(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    (seen,) = ids(await desk.dispenser.peek(ann, task.id, 4))
    await desk.ask(ben, count=1)

    answer = await desk.next(ann, have=[seen])

    assert (answer["dropped"], ids(answer)) == ([seen], task.batches[1:])


async def test_looking_shows_what_is_held_and_changes_nothing(database):
    desk, task = await desk_of(database, 8)
    ann = await desk.person("ann")
    asked = await desk.next(ann, count=6)
    await desk.answer(ann, task.batches[0])

    async with nothing_changes(database):
        seen = await desk.dispenser.peek(ann, task.id, 4)

    assert ids(seen) == task.batches[1:5]
    assert [item["position"] for item in seen["items"]] == [2, 3, 4, 5]
    assert {item["leased_until"] for item in seen["items"]} != {None}
    assert seen.keys() == asked.keys()
    assert seen["items"][0].keys() == asked["items"][0].keys()


async def test_looking_without_a_lease_shows_one_batch_and_changes_nothing(database):
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ben, count=1)

    async with nothing_changes(database):
        seen = await desk.dispenser.peek(ann, task.id, 4)

    assert (ids(seen), seen["state"], seen["open"]) == (task.batches[1:2], "work", 3)
    assert (seen["items"][0]["leased_until"], seen["items"][0]["position"]) == (None, 1)


async def test_looking_again_after_the_last_batch(database):
    desk, task = await desk_of(database, 1)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.answer(ann, task.batches[0])

    assert (await desk.dispenser.peek(ben, task.id, 4))["state"] == "finished"
    assert (await desk.dispenser.peek(ann, task.id, 4))["items"] == []


# --- work, wait, finished


async def test_a_task_is_finished_for_whom_nothing_is_left(database):
    desk, task = await desk_of(database, 1, overlap=2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.answer(ann, task.batches[0])

    mine = await desk.next(ann)

    assert (mine["state"], mine["retry_after"], mine["open"]) == ("finished", None, 1)
    assert (await desk.next(ben))["state"] == "work"


async def test_who_has_nothing_while_others_hold_some_waits(database):
    desk, task = await desk_of(database, 1)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    await desk.ask(ann)

    assert (await desk.next(ben))["state"] == "wait"
    await desk.answer(ann, task.batches[0])
    assert (await desk.next(ben))["state"] == "finished"


async def test_who_has_nothing_while_images_are_made_waits(database):
    async with database.transaction() as connection:
        task = await add_task(connection, state="RUNNING", prompts=2, seeds=2)
        await finish_batches(connection, task.batches[:1])
    desk = Desk.at(database, task)
    ann = await desk.person("ann")
    await desk.answer(ann, task.batches[0])
    assert (await desk.next(ann))["state"] == "wait"

    async with database.transaction() as connection:
        await finish_batches(connection, task.batches[1:])

    answer = await desk.next(ann)
    assert (answer["state"], ids(answer)) == ("work", task.batches[1:])
    await desk.answer(ann, task.batches[1])
    assert (await desk.next(ann))["state"] == "finished"


async def test_an_ended_task_waits_for_no_image(database):
    async with database.transaction() as connection:
        task = await add_task(connection, state="FAILED", prompts=1, seeds=2)
    desk = Desk.at(database, task)

    assert (await desk.next(await desk.person("ann")))["state"] == "finished"


@pytest.mark.parametrize("state", ["DRAFT", "FROZEN"])
async def test_nothing_is_handed_out_before_a_task_runs(database, state):
    async with database.transaction() as connection:
        task = await add_task(connection, state=state)
    desk = Desk.at(database, task)
    ann = await desk.person("ann")

    async with nothing_changes(database):
        for refused in (desk.next(ann), desk.dispenser.peek(ann, task.id, 4)):
            with pytest.raises(WrongState, match=state):
                await refused


async def test_no_task(database):
    desk = Desk(database, uuid4())
    ann = await desk.person("ann")
    asked = [desk.next(ann), desk.release(ann), desk.dispenser.peek(ann, desk.task_id, 4)]
    for refused in [*asked, desk.dispenser.batch(ann, desk.task_id, uuid4())]:
        with pytest.raises(NotFound, match="no task"):
            await refused


# --- one batch


async def test_a_batch_by_its_id_leases_nothing(database):
    desk, task = await desk_of(database, 2)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    (leased, _) = (await desk.next(ben))["items"]

    async with nothing_changes(database):
        shown = await desk.dispenser.batch(ann, task.id, task.batches[0])

    assert shown["slot_order"] == deal(task.batches[0], ann.user_id, 2)
    left_out = {"slot_order", "position", "leased_until"}
    assert {key: shown[key] for key in shown if key not in left_out} == {
        key: leased[key] for key in leased if key not in left_out
    }


async def test_a_batch_of_another_task_or_one_that_is_not_ready_is_not_there(database):
    desk, task = await desk_of(database, 1)
    ann = await desk.person("ann")
    async with database.transaction() as connection:
        other = await add_task(connection, state="RUNNING", prompts=2, seeds=2)
        await finish_batches(connection, other.batches[:1])

    for task_id, batch_id in [(task.id, other.batches[0]), (other.id, other.batches[1])]:
        with pytest.raises(NotFound, match="no batch"):
            await desk.dispenser.batch(ann, task_id, batch_id)


# --- strangers' ids


async def test_ids_of_other_tasks_and_of_nothing_are_dropped(database):
    desk, task = await desk_of(database, 2)
    other, their = await desk_of(database, 2)
    ann = await desk.person("ann")
    await other.ask(ann, count=1)
    strange = [*their.batches, uuid4(), task.batches[1]]

    answer = await desk.next(ann, have=[*strange, *strange])

    assert (answer["dropped"], ids(answer)) == (strange[:3], task.batches[:1])
    assert await other.holders() == {their.batches[0]: {ann.user_id}}
    await desk.check()


async def test_naming_200_batches_leases_no_more_than_a_share(database):
    desk, task = await desk_of(database, 30)
    ann = await desk.person("ann")

    answer = await desk.next(ann, count=1, have=task.batches[::-1])

    assert len(await desk.holders()) == 20
    assert (answer["dropped"], ids(answer)) == (task.batches[9::-1], [])


async def test_answers_of_before_do_not_disturb(database):
    """Rows as an import or a migration left them."""
    desk, task = await desk_of(database, 3)
    ann, ben = await desk.person("ann"), await desk.person("ben")
    async with database.connection() as connection:
        await annotate(connection, task.batches[0], ben.user_id, kind="tie", created_at=START)

    assert await desk.ask(ann) == task.batches[1:]
    await desk.check()
