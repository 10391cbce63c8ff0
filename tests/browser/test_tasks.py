"""The list of tasks in a real Chromium: live progress, reasons, and the buttons that each state allows."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from comfylabel.accounts.schemas import Role
from comfylabel.db.notifications import notify
from tests.browser.conftest import DESK, PHONE, Check, People
from tests.browser.site import HOSTILE, Site
from tests.browser.sitting import Sitting
from tests.support.waiting import until

BUTTONS = {
    "DRAFT": ["Pilot", "Freeze"],
    "FROZEN": ["Run"],
    "RUNNING": ["Pause", "Cancel"],
    "DONE": [],
    "FAILED": ["Run what is missing"],
}


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title, exact=True))


async def test_each_state_in_words_with_its_buttons(people: People, site: Site):
    for state in BUTTONS:
        await site.add_task(state, notes=f"task {state}")
    page = await people.signed_in(Role.OPERATOR)

    for state, buttons in BUTTONS.items():
        task = card(page, f"task {state}")
        await expect(task.locator(".badge")).to_have_text("Cancelled" if state == "FAILED" else state.capitalize())
        names = [name.split("\n")[0] for name in await task.locator("button:not(.quiet)").all_inner_texts()]
        assert names == buttons


async def test_the_title_of_a_task_without_notes_is_its_workflow(people: People, site: Site):
    task = await site.add_task("DRAFT")
    name = await site.database.pool.fetchval("select name from workflows where id = $1", task.workflow_id)
    page = await people.signed_in(Role.OPERATOR)

    await card(page, f"{name} v3").wait_for()


async def test_progress_follows_by_itself(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=3, finished=False, notes="harbour")
    page = await people.signed_in(Role.OPERATOR)
    numbers = card(page, "harbour").locator(".numbers")
    await expect(numbers).to_contain_text("0 of 12 images")

    await site.finish(task, slice(0, 2))

    await expect(numbers).to_contain_text("8 of 12 images", timeout=10_000)
    bar = card(page, "harbour").get_by_role("progressbar")
    assert await bar.get_attribute("aria-valuenow") == "8"
    await card(page, "harbour").get_by_role("link", name="Label").click()
    await page.wait_for_selector(f"[data-shown][data-batch='{task.batches[0]}']")


async def test_what_failed_is_counted_on_the_card(people: People, site: Site):
    await site.add_task(notes="teapots", prompts=2, failed=[3])
    page = await people.signed_in(Role.OPERATOR)

    await expect(card(page, "teapots").locator(".numbers")).to_contain_text("2 failed")


async def test_a_paused_task_says_so_and_can_be_resumed(people: People, site: Site):
    task = await site.add_task("RUNNING", notes="harbour", finished=False)
    page = await people.signed_in(Role.OPERATOR)

    await card(page, "harbour").get_by_role("button", name="Pause").click()

    await expect(card(page, "harbour").locator(".badge")).to_have_text("Paused")
    await expect(card(page, "harbour")).to_contain_text("what is being made is kept, nothing new is sent")
    assert await site.database.pool.fetchval("select paused_at is not null from tasks where id = $1", task.id)

    await card(page, "harbour").get_by_role("button", name="Resume").click()

    await expect(card(page, "harbour").locator(".badge")).to_have_text("Running")
    assert await site.database.pool.fetchval("select paused_at is null from tasks where id = $1", task.id)


async def test_a_change_is_heard_over_the_live_line(people: People, site: Site):
    """No question is answered once the page stands: only events can bring the change."""
    task = await site.add_task("RUNNING", prompts=3, finished=False, notes="harbour")
    page = await people.signed_in(Role.OPERATOR)
    numbers = card(page, "harbour").locator(".numbers")
    await expect(numbers).to_contain_text("0 of 12 images")
    await until(lambda: any("/api/events" in address for address in site.served))
    await page.route(re.compile(r"/api/tasks(\?|$)"), _never)

    await site.finish(task, slice(0, 2))
    async with site.database.transaction() as connection:
        await notify(connection, tasks=[task.id])

    await expect(numbers).to_contain_text("8 of 12 images", timeout=9_000)


async def _never(_: Route) -> None:
    """The request stays without an answer."""


async def test_a_new_task_appears_by_itself(people: People, site: Site):
    await site.add_task("DONE", notes="old")
    page = await people.signed_in(Role.OPERATOR)
    await card(page, "old").wait_for()

    await site.add_task("DRAFT", notes="new")

    await expect(card(page, "new")).to_be_visible(timeout=15_000)


async def test_freezing_asks_first(people: People, site: Site):
    task = await site.add_task("DRAFT", notes="harbour")
    page = await people.signed_in(Role.OPERATOR)

    async def state() -> str:
        return str(await site.database.pool.fetchval("select state from tasks where id = $1", task.id))

    freeze = card(page, "harbour").get_by_role("button", name="Freeze")
    await freeze.click()
    await expect(page.get_by_role("dialog")).to_contain_text("No pilot was run.")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert await state() == "DRAFT"

    await freeze.click()
    await page.get_by_role("dialog").get_by_role("button", name="Freeze").click()

    await card(page, "harbour").get_by_role("button", name="Run").wait_for()
    assert await state() == "FROZEN"


async def test_a_run_without_a_worker_says_why(people: People, site: Site):
    people.expected.append("409")
    task = await site.add_task("DRAFT", notes="harbour")
    await site.database.pool.execute("update workers set status = 'UNHEALTHY', reason = 'It is switched off.'")
    page = await people.signed_in(Role.OPERATOR)
    await card(page, "harbour").get_by_role("button", name="Freeze").click()
    await page.get_by_role("dialog").get_by_role("button", name="Freeze").click()

    await card(page, "harbour").get_by_role("button", name="Run").click()
    await page.get_by_role("dialog").get_by_role("button", name="Run").click()

    await expect(card(page, "harbour").get_by_role("alert")).to_contain_text("No healthy worker")
    assert await site.database.pool.fetchval("select state from tasks where id = $1", task.id) == "FROZEN"


async def test_cancelling_asks_first_and_ends_the_run(people: People, site: Site):
    await site.add_task("RUNNING", notes="harbour", finished=False)
    page = await people.signed_in(Role.OPERATOR)

    await card(page, "harbour").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the task").click()

    await expect(card(page, "harbour").locator(".badge")).to_have_text("Cancelled")


async def test_a_pilot_is_started_and_watched(people: People, site: Site):
    task = await site.add_task("DRAFT", notes="harbour")
    # The worker is asked whether it can run the workflow; nobody is there, which is no reason against it.
    people.expected.append("409")
    page = await people.signed_in(Role.OPERATOR)

    await card(page, "harbour").get_by_role("button", name="Pilot").click()
    await page.get_by_role("button", name="Start the pilot").click()

    async def told() -> bool:
        begun = await site.database.pool.fetchval("select count(*) from pilots where task_id = $1", task.id)
        refused = await card(page, "harbour").get_by_role("alert").count()
        return bool(begun or refused)

    await until(told)


async def test_answers_can_be_taken_home(people: People, site: Site):
    task = await site.add_task(notes="harbour", prompts=2)
    page = await people.signed_in(Role.OPERATOR)
    await page.goto(f"/label/{task.id}")
    sitting = Sitting(page, site, task)
    for number in range(2):
        await sitting.answer(number, "2")
    await page.get_by_role("heading", name="All done, thank you").wait_for()
    await site.until_rows(task, 2)
    await page.goto("/tasks")

    async with page.expect_download() as download:
        await card(page, "harbour").get_by_role("link", name="Export").click()

    lines = (await (await download.value).path()).read_text().splitlines()
    assert sorted(json.loads(line)["prompt"] for line in lines) == ["prompt 0", "prompt 1"]


async def test_older_tasks_are_shown_when_asked_for(people: People, site: Site):
    for number in range(23):
        await site.add_task("DRAFT", notes=f"number {number:02}", prompts=1, seeds=1)
    page = await people.signed_in(Role.OPERATOR)
    await card(page, "number 22").wait_for()
    assert await page.locator(".task").count() == 20

    await page.get_by_role("button", name="Show older tasks").click()

    await card(page, "number 00").wait_for()
    assert await page.locator(".task").count() == 23


async def test_notes_of_strangers_stay_texts(people: People, site: Site):
    await site.add_task("DRAFT", notes=HOSTILE)
    page = await people.signed_in(Role.OPERATOR)

    await card(page, HOSTILE).get_by_role("button", name="Freeze").click()
    await expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)

    assert await page.locator("img[src='x'], main b:text('bold'), dialog b:text('bold')").count() == 0
    assert await page.title() == "ComfyUI Data Label"


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
async def test_people_who_use_no_eyes_or_no_mouse(people: People, site: Site, axe: Check, device: dict[str, Any]):
    for state in BUTTONS:
        await site.add_task(state, notes=f"task {state}", failed=[1] if state == "DONE" else [])
    page = await people.signed_in(Role.OPERATOR, device)
    await card(page, "task DONE").wait_for()
    await axe(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"

    await card(page, "task DRAFT").get_by_role("button", name="Freeze").click()
    await page.get_by_role("dialog").wait_for()
    await axe(page)
