"""Answers that cannot be sent at once: no network, no server, a reply that was lost, one that is refused."""

import json

from playwright.async_api import Route

from comfylabel.accounts.schemas import Role
from tests.browser.conftest import PHONE, People
from tests.browser.outbox import (
    SENDING,
    SHARP,
    block,
    elements,
    sent_by,
    tiles_fetched,
    try_again,
    unblock,
    wait_for_worker,
)
from tests.browser.site import Person, Site
from tests.browser.sitting import Sitting
from tests.support.waiting import until


async def test_offline_in_the_middle_and_back(people: People, site: Site):
    """Exactly what was answered arrives, once, under the person who answered, whatever was reloaded in between."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=8)
    ann = await site.add_person(name="Ann")
    sitting = await Sitting.begin(people, task, PHONE, ann)
    page = sitting.page
    await wait_for_worker(page)
    await tiles_fetched(page, site, task, range(6))

    await page.context.set_offline(offline=True)
    chosen = []
    for number in range(3):
        await sitting.shown(number)
        chosen.append((await sitting.order())[0])
        await sitting.button("Choose A").tap()
    await sitting.unsent(3)
    await page.wait_for_function(SHARP)

    await page.reload()
    await sitting.unsent(3)
    await sitting.shown(3)
    chosen.append((await sitting.order())[1])
    await sitting.button("Choose B").tap()
    await sitting.unsent(4)
    assert await site.answers(task) == []

    await page.context.set_offline(offline=False)
    await sitting.sent([(number, "choice", chosen[number], None) for number in range(4)])
    rows = await site.rows(task)
    assert {row["user_id"] for row in rows} == {ann.id}
    assert len({row["client_id"] for row in rows}) == 4
    assert await site.database.pool.fetchval("select count(*) from annotation_history") == 0


async def test_offline_with_every_fetched_batch_answered(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task("RUNNING", prompts=4, finished=False)
    await site.finish(task, slice(0, 2))
    sitting = await Sitting.begin(people, task)
    await tiles_fetched(sitting.page, site, task, range(2))

    await sitting.page.context.set_offline(offline=True)
    await sitting.answer(0, "t")
    await sitting.answer(1, "t")
    await sitting.phase("away")
    await sitting.page.get_by_text("2 answers").wait_for()
    await site.finish(task, slice(2, 4))
    await sitting.page.context.set_offline(offline=False)

    await sitting.shown(2)
    await sitting.sent([(0, "tie", None, None), (1, "tie", None, None)])


async def test_a_whole_pile_can_be_taken_along(people: People, site: Site):
    """Offline mode: more batches than a person usually holds, with the pictures that their tiles show."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=24, seeds=2)
    sitting = await Sitting.begin(people, task, PHONE)
    page = sitting.page
    await wait_for_worker(page)

    await sitting.button("Settings").tap()
    await page.get_by_role("dialog").get_by_label("Offline mode").tap()
    await page.get_by_text("24 of 24").wait_for()
    await page.keyboard.press("Escape")
    await page.context.set_offline(offline=True)
    await page.reload()
    await sitting.shown(0)
    for number in (15, 23):  # as far as the rail reaches
        await (
            page.get_by_role("navigation", name="Batches")
            .get_by_role("button", name=f"Batch {number}", exact=True)
            .tap()
        )
    await sitting.shown(22)
    await page.wait_for_function(SHARP)
    chosen = (await sitting.order())[1]
    await sitting.button("Choose B").tap()
    await sitting.unsent(1)

    await page.context.set_offline(offline=False)
    await sitting.sent([(22, "choice", chosen, None)])


async def test_the_server_is_restarted_in_the_middle(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task("RUNNING", prompts=6, finished=False)
    await site.finish(task, slice(0, 5))
    sitting = await Sitting.begin(people, task)
    await tiles_fetched(sitting.page, site, task, range(5))

    await site.stop()
    await sitting.answer(0, "t")
    await sitting.answer(1, "s")
    await sitting.unsent(2)
    await sitting.shown(2)
    await sitting.page.wait_for_function(SHARP)
    await site.start()
    await try_again(sitting.page)

    await sitting.sent([(0, "tie", None, None), (1, "spam", None, None)])
    await site.finish(task, slice(5, 6))
    for number in range(2, 6):
        await sitting.answer(number, "t")
    await site.until_answers(
        task, [(0, "tie", None, None), (1, "spam", None, None), *((n, "tie", None, None) for n in range(2, 6))]
    )


async def test_an_answer_whose_reply_was_lost_is_sent_again_and_stored_once(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=3)
    sitting = await Sitting.begin(people, task)
    bodies: list[str] = []

    async def lose_the_first_reply(route: Route) -> None:
        bodies.append(route.request.post_data or "")
        if len(bodies) == 1:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    await sitting.page.route(SENDING, lose_the_first_reply)
    await sitting.answer(0, "t")
    await until(lambda: len(bodies) >= 2)
    await sitting.sent([(0, "tie", None, None)])
    assert json.loads(bodies[0]) == json.loads(bodies[1])

    # Anybody may send it a third time.
    answer = await sitting.page.context.request.post(
        "/api/annotations", data=bodies[0], headers={"content-type": "application/json", "origin": site.origin}
    )
    told = (await answer.json())["data"]
    assert [one["status"] for one in (told if isinstance(told, list) else [told])] == ["repeated"]
    assert await site.answers(task) == [(0, "tie", None, None)]


async def test_one_bad_answer_holds_nothing_back(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=4)
    sitting = await Sitting.begin(people, task)
    await block(sitting.page)
    for number in range(3):
        await sitting.answer(number, "1")
    await sitting.unsent(3)

    async def spoil_the_second(route: Route) -> None:
        body = elements(route.request)
        for one in body:
            if one["batch_id"] == str(task.batches[1]):
                one["chosen_index"] = 99
        await route.continue_(post_data=json.dumps(body))

    await sitting.page.context.unroute(SENDING)
    await sitting.page.context.route(SENDING, spoil_the_second)
    await try_again(sitting.page)

    await sitting.page.get_by_role("alert").get_by_text("this batch has 4 images").wait_for()
    await sitting.unsent(0)
    assert [number for number, *_ in await site.answers(task)] == [0, 2]


async def test_undo_before_sending_leaves_no_trace(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=3)
    sitting = await Sitting.begin(people, task)
    await tiles_fetched(sitting.page, site, task, range(2))
    await sitting.page.context.set_offline(offline=True)
    await sitting.answer(0, "s")
    await sitting.unsent(1)
    await sitting.shown(1)

    await sitting.page.keyboard.press("z")
    await sitting.shown(0)
    await sitting.unsent(0)
    tried = sent_by(sitting.page.context)
    await sitting.page.context.set_offline(offline=False)
    await sitting.answer(0, "t")

    await sitting.sent([(0, "tie", None, None)])
    assert [one["kind"] for one in tried] == ["tie"]
    assert await site.database.pool.fetchval("select count(*) from annotation_history") == 0


async def test_undo_after_sending_takes_the_row_back(people: People, site: Site):
    task = await site.add_task(prompts=3)
    sitting = await Sitting.begin(people, task)
    for number in range(3):
        await sitting.answer(number, "t")
    await sitting.page.get_by_role("heading", name="All done, thank you").wait_for()
    await sitting.sent([(number, "tie", None, None) for number in range(3)])

    # As often as there are answers in this sitting, also from the end of the task.
    await sitting.page.keyboard.press("z")
    for number in (2, 1):
        await sitting.shown(number)
        await sitting.page.keyboard.press("z")
    await sitting.shown(0)

    async def all_gone() -> bool:
        return await site.answers(task) == []

    await until(all_gone)
    assert await site.database.pool.fetchval("select count(undone_by) from annotation_history") == 3
    await sitting.answer(0, "s")
    await sitting.sent([(0, "spam", None, None)])


async def test_leaving_and_coming_back_in_the_middle(people: People, site: Site):
    """By the browser's own buttons: what was answered stays answered, what was not sent is still sent."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=3)
    page = await people.signed_in(Role.ANNOTATOR)
    await page.get_by_role("link", name="labelling").first.click()
    sitting = Sitting(page, site, task)
    await block(page)
    await sitting.answer(0, "t")
    await sitting.unsent(1)

    await page.go_back()
    await page.get_by_role("heading", name="Label", exact=True).wait_for()
    await page.go_forward()
    await sitting.shown(1)
    await sitting.unsent(1)
    await unblock(page)
    await sitting.answer(1, "s")

    await sitting.sent([(0, "tie", None, None), (1, "spam", None, None)])


async def test_the_browser_is_asked_once_to_keep_what_waits(people: People, site: Site):
    """One that is short of room throws away what nobody asked it to keep."""
    task = await site.add_task(prompts=3)
    page = await people.visitor()
    await page.add_init_script("window.asked = 0; navigator.storage.persist = async () => (asked += 1) > 0")
    await people.sign_in(page, await site.add_person())
    await page.goto(f"/label/{task.id}")
    sitting = Sitting(page, site, task)
    await sitting.shown(0)
    assert await page.evaluate("asked") == 0, "not before there is something to keep"

    await sitting.answer(0, "t")
    await sitting.answer(1, "s")
    await sitting.sent([(0, "tie", None, None), (1, "spam", None, None)])

    assert await page.evaluate("asked") == 1


async def test_a_clock_that_is_wrong(people: People, site: Site):
    """Two hours ahead every lease seems over, a year behind none has begun: the server's time counts."""
    task = await site.add_task(prompts=4, overlap=2)
    for hours in (2, -24 * 365):
        page = await people.visitor()
        await page.add_init_script(_WRONG_CLOCK.replace("HOURS", str(hours)))
        person = await site.add_person()
        await people.sign_in(page, person)
        await page.goto(f"/label/{task.id}")
        sitting = Sitting(page, site, task)
        for number in range(3):
            await sitting.answer(number, "t")
        await sitting.shown(3)
        await sitting.unsent(0)

        async def all_stored(person: Person = person) -> bool:
            return len([row for row in await site.rows(task) if row["user_id"] == person.id]) == 3

        await until(all_stored)
    assert all(0 <= row["elapsed_ms"] < 60_000 and not row["surplus"] for row in await site.rows(task))


_WRONG_CLOCK = """
const right = Date.now;
const wrong = () => right() + HOURS * 3600e3;
window.Date = class extends Date {
  constructor(...given) { super(...(given.length > 0 ? given : [wrong()])); }
  static now() { return wrong(); }
};
"""
