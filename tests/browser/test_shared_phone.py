"""One phone, several people, tabs and sessions: every answer is sent in its own person's session only."""

from tests.browser.conftest import PHONE, People
from tests.browser.outbox import SENDING, block, sent_by, tiles_fetched, try_again, unblock
from tests.browser.site import Site
from tests.browser.sitting import Sitting
from tests.support.waiting import until


async def test_two_people_share_a_phone(people: People, site: Site):
    """Ann's answers wait for Ann: Bob's session never sends them."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=4, overlap=2)
    ann, bob = await site.add_person(name="Ann"), await site.add_person(name="Bob")
    sitting = await Sitting.begin(people, task, PHONE, ann)
    page = sitting.page
    await block(page)
    for number in range(2):
        await sitting.shown(number)
        await sitting.button("Spam" if number else "Tie").tap()
    await sitting.unsent(2)

    await page.goto(await site.link_of(bob))
    await page.get_by_role("button", name="Sign out").wait_for()
    sent = sent_by(page.context)
    await unblock(page)
    await page.goto(f"/label/{task.id}")
    await sitting.shown(0)
    await sitting.unsent(0)
    await sitting.button("Skip").tap()
    await site.until_answers(task, [(0, "skip", None, None)])
    assert {row["user_id"] for row in await site.rows(task)} == {bob.id}
    assert len(sent) == 1, "nothing of Ann's left the phone while Bob was there"

    await page.goto(await site.link_of(ann))
    await page.get_by_role("button", name="Sign out").wait_for()
    await page.goto(f"/label/{task.id}")

    async def both_people() -> bool:
        return len(await site.rows(task)) == 3

    await until(both_people)
    by_person = [(row["user_id"], row["kind"]) for row in await site.rows(task)]
    assert sorted(by_person, key=str) == sorted([(bob.id, "skip"), (ann.id, "tie"), (ann.id, "spam")], key=str)
    await sitting.unsent(0)


async def test_a_session_that_ends_with_unsent_answers(people: People, site: Site):
    people.expected.append("401")
    task = await site.add_task(prompts=3)
    ann = await site.add_person(name="Ann")
    sitting = await Sitting.begin(people, task, person=ann)
    await tiles_fetched(sitting.page, site, task, range(2))
    await site.database.pool.execute("delete from sessions")

    await sitting.answer(0, "t")
    await sitting.page.get_by_role("heading", name="Your session has ended").wait_for()
    await sitting.page.get_by_text("1 answer waits on this device").wait_for()
    second_tab = await sitting.page.context.new_page()
    await second_tab.goto(await site.link_of(ann))
    await second_tab.get_by_role("button", name="Sign out").wait_for()
    await sitting.button("I have signed in").click()

    await sitting.shown(1)
    await sitting.sent([(0, "tie", None, None)])


async def test_signing_out_with_unsent_answers_asks(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=3)
    ann = await site.add_person(name="Ann")
    sitting = await Sitting.begin(people, task, person=ann)
    page = sitting.page
    await block(page)
    await sitting.answer(0, "t")
    await sitting.unsent(1)
    await page.get_by_role("link", name="Back to the list").click()

    await sitting.button("Sign out").click()
    question = page.get_by_role("dialog")
    await question.get_by_text("1 answer is not sent yet").wait_for()
    await question.get_by_role("button", name="Stay").click()
    await sitting.button("Sign out").click()
    await question.get_by_role("button", name="Leave them here").click()
    await page.get_by_role("heading", name="You are signed out").wait_for()
    assert await site.answers(task) == []

    await unblock(page)
    await page.goto(await site.link_of(ann))
    await page.get_by_role("button", name="Sign out").wait_for()
    await page.goto(f"/label/{task.id}")
    await site.until_answers(task, [(0, "tie", None, None)])


async def test_two_tabs_of_one_person(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=4)
    ann = await site.add_person(name="Ann")
    first = await Sitting.begin(people, task, person=ann)
    second = Sitting(await first.page.context.new_page(), site, task)
    await second.page.goto(f"/label/{task.id}")
    await second.shown(0)
    await block(first.page)

    # The same batch in both, then another one each.
    await first.answer(0, "t")
    await first.answer(1, "t")
    await second.answer(0, "s")
    await second.shown(1)
    await second.page.keyboard.press("ArrowRight")
    await second.answer(2, "t")
    await first.page.context.unroute(SENDING)
    for tab in (first, second):
        await try_again(tab.page)

    await first.unsent(0)
    await second.unsent(0)
    kinds = sorted((number, kind) for number, kind, *_ in await site.answers(task))
    assert kinds == [(0, "spam"), (1, "tie"), (2, "tie")], "one row a batch, the later answer stands"
