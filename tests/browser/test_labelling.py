"""The labelling page in a real Chromium on the real server: by finger, by key, and when things go wrong."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, Route

from comfylabel.accounts.schemas import Role
from tests.browser.conftest import DESK, PHONE, Check, People, pictures_shown
from tests.browser.site import HOSTILE, Site
from tests.support.rows import TaskRows
from tests.support.waiting import until


async def open_task(people: People, task: TaskRows, device: dict[str, Any] = DESK) -> Page:
    page = await people.signed_in(Role.ANNOTATOR, device)
    await page.goto(f"/label/{task.id}")
    await pictures_shown(page)
    return page


async def shown(page: Page, task: TaskRows, number: int) -> None:
    """The batch with that number is on the screen, long enough for an answer not to be a double tap."""
    await page.wait_for_selector(f"[data-shown][data-batch='{task.batches[number]}']")
    await page.evaluate("() => new Promise((done) => setTimeout(done, 160))")


async def test_three_batches_by_finger(people: People, site: Site):
    task = await site.add_task(prompts=3)
    page = await open_task(people, task, PHONE)

    for number, picture in enumerate(["3", "1", "2"]):
        await shown(page, task, number)
        await page.get_by_role("button", name=f"Choose picture {picture}").tap()

    await page.get_by_role("heading", name="All done, thank you").wait_for()
    await site.until_answers(task, [(0, "choice", 2, None), (1, "choice", 0, None), (2, "choice", 1, None)])


async def test_every_kind_of_answer_by_key(people: People, site: Site):
    task = await site.add_task(prompts=5)
    page = await open_task(people, task)

    for number, keys in enumerate(["2", "x31", "t", "s", "k"]):
        await shown(page, task, number)
        for key in keys:
            await page.keyboard.press(key)

    await page.get_by_role("heading", name="All done, thank you").wait_for()
    await site.until_answers(
        task,
        [
            (0, "choice", 1, None),
            (1, "choice", 0, 2),
            (2, "tie", None, None),
            (3, "spam", None, None),
            (4, "skip", None, None),
        ],
    )


async def test_going_back_changes_the_answer(people: People, site: Site):
    task = await site.add_task(prompts=2)
    page = await open_task(people, task)
    await shown(page, task, 0)
    await page.keyboard.press("1")
    await shown(page, task, 1)

    await page.get_by_role("button", name="Back", exact=True).click()
    await shown(page, task, 0)
    assert await page.get_by_role("button", name="Choose picture 1, chosen").is_visible()
    await page.keyboard.press("4")
    await shown(page, task, 1)

    await site.until_answers(task, [(0, "choice", 3, None)])


async def test_a_second_sitting_goes_on_where_the_first_one_ended(people: People, site: Site):
    task = await site.add_task(prompts=3)
    page = await open_task(people, task)
    await shown(page, task, 0)
    await page.keyboard.press("1")
    await site.until_answers(task, [(0, "choice", 0, None)])

    await page.reload()

    await shown(page, task, 1)
    assert "1 of 3" in await page.locator(".label-top").inner_text()


async def test_texts_of_strangers_stay_texts(people: People, site: Site):
    task = await site.add_task(prompts=1, texts=[HOSTILE], notes=HOSTILE)
    page = await open_task(people, task)

    assert HOSTILE in await page.locator(".prompt-text").inner_text()
    assert await page.locator(".label-title").inner_text() == HOSTILE
    assert await page.locator("img[src='x'], .prompt b").count() == 0
    assert await page.title() == "ComfyUI Data Label"


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
async def test_a_long_prompt_is_cut_at_its_end_and_opens_whole(people: People, site: Site, device: dict[str, Any]):
    text = ("an old fisherman on a wooden pier at golden hour, " * 40).strip()
    task = await site.add_task(prompts=1, texts=[text])
    page = await open_task(people, task, device)

    assert await page.evaluate(_FIRST_LETTER_SEEN)
    await page.locator(".prompt-text").click()
    sheet = page.locator("#prompt-sheet p")
    await sheet.wait_for()
    assert await sheet.inner_text() == text


_FIRST_LETTER_SEEN = """() => {
  const shown = document.querySelector('.prompt-text span');
  const letter = new Range();
  letter.setStart(shown.firstChild, 0);
  letter.setEnd(shown.firstChild, 1);
  return letter.getBoundingClientRect().top >= shown.getBoundingClientRect().top - 1;
}"""


async def test_leaving_a_task_does_not_throw_unsent_answers_away(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=2)
    page = await open_task(people, task)
    await shown(page, task, 0)
    await page.route("**/api/annotations", lambda route: route.abort())
    await page.keyboard.press("1")
    await page.get_by_text("1 unsent").wait_for()

    await page.get_by_role("link", name="Back to the list").click()
    await page.get_by_role("heading", name="Label").wait_for()
    await page.unroute("**/api/annotations")
    await page.get_by_role("link", name=re.compile("labelling")).first.click()
    await site.until_answers(task, [(0, "choice", 0, None)])


async def test_answers_wait_while_the_server_is_away(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=4)
    page = await open_task(people, task)
    tried: list[str] = []

    async def cut(route: Route) -> None:
        tried.append((route.request.post_data_json or {})["client_id"])
        await route.abort()

    await page.route("**/api/annotations", cut)
    for number in range(3):
        await shown(page, task, number)
        await page.keyboard.press("1")
    await page.get_by_text("3 unsent").wait_for()
    await pictures_shown(page)

    await page.unroute("**/api/annotations")
    await page.evaluate("dispatchEvent(new Event('online'))")

    await site.until_answers(task, [(number, "choice", 0, None) for number in range(3)])
    await page.wait_for_function("() => document.querySelector('.unsent').textContent === ''")
    assert len(set(tried)) == 1, "the oldest answer goes first, under the id it always had"


async def test_answers_wait_for_a_new_sign_in(people: People, site: Site):
    people.expected.append("401")
    task = await site.add_task(prompts=2)
    page = await open_task(people, task)
    await site.database.pool.execute("delete from sessions")

    await shown(page, task, 0)
    await page.keyboard.press("2")
    await page.get_by_role("heading", name="Your session has ended").wait_for()
    assert await page.get_by_text("One answer waits here").is_visible()

    second_tab = await page.context.new_page()
    await second_tab.goto(await site.link(Role.ANNOTATOR))
    await second_tab.get_by_role("button", name="Sign out").wait_for()
    await page.get_by_role("button", name="I have signed in").click()

    await shown(page, task, 1)
    await site.until_answers(task, [(0, "choice", 1, None)])


async def test_new_batches_appear_by_themselves(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=2, finished=False)
    await site.finish(task, slice(0, 1))
    page = await open_task(people, task)
    await shown(page, task, 0)
    await page.keyboard.press("1")
    await page.get_by_role("heading", name="More pictures are on their way").wait_for()

    await site.finish(task, slice(1, 2))

    await shown(page, task, 1)


async def test_a_task_without_pictures_says_so(people: People, site: Site):
    task = await site.add_task("RUNNING", finished=False)
    page = await people.signed_in(Role.ANNOTATOR)

    await page.goto(f"/label/{task.id}")

    await page.get_by_role("heading", name="There is nothing to label here").wait_for()


async def test_a_broken_address_is_renewed(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=1, seeds=2)
    page = await people.signed_in(Role.ANNOTATOR)
    broken = True

    async def expired(route: Route) -> None:
        await (route.fulfill(status=403) if broken else route.continue_())

    await page.route("**/*.1024.webp?*", expired)
    await page.goto(f"/label/{task.id}")
    await page.get_by_role("button", name="Load again").first.wait_for()
    broken = False
    await page.get_by_role("button", name="Load again").first.click()

    await page.wait_for_function("() => document.querySelector('[data-shown] img:not(.under)')?.naturalWidth > 0")


async def test_coming_pictures_are_fetched_before_they_are_asked_for_and_once(people: People, site: Site):
    task = await site.add_task(prompts=24, seeds=2)
    page = await people.signed_in(Role.ANNOTATOR)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    await page.goto(f"/label/{task.id}")
    await pictures_shown(page)

    def of_size(size: str) -> list[str]:
        return [url for url in asked if f".{size}.webp" in url]

    # The shown batch and the twenty after it, two pictures each; previews of the next six.
    await until(lambda: len(of_size("256")) >= 42 and len(of_size("1024")) >= 14)
    await shown(page, task, 0)
    await page.keyboard.press("1")
    await shown(page, task, 1)
    await until(lambda: len(of_size("256")) >= 44 and len(of_size("1024")) >= 16)
    assert len(set(of_size("256"))) == len(of_size("256")) == 44
    assert len(set(of_size("1024"))) == len(of_size("1024")) == 16


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
async def test_nothing_moves_and_every_target_is_large_enough(people: People, site: Site, device: dict[str, Any]):
    task = await site.add_task(prompts=3, texts=["short", "a long prompt " * 30])
    page = await open_task(people, task, device)
    for number in range(2):
        await shown(page, task, number)
        small = await page.evaluate(_SMALL_TARGETS)
        assert small == []
        await page.keyboard.press("1")
    await shown(page, task, 2)

    assert await page.evaluate("window.shifted") < 0.001


_SMALL_TARGETS = """() => [...document.querySelectorAll('a, button')]
  .filter((it) => it.checkVisibility({ visibilityProperty: true }) && !it.closest('[inert]'))
  .filter((it) => it.getBoundingClientRect().width < 44 || it.getBoundingClientRect().height < 44)
  .map((it) => it.outerHTML.slice(0, 100))"""


@pytest.mark.parametrize(("seeds", "columns", "rows"), [(4, 2, 2), (2, 1, 2)])
async def test_how_pictures_stand_on_a_phone(people: People, site: Site, seeds: int, columns: int, rows: int):
    task = await site.add_task(prompts=1, seeds=seeds)
    page = await open_task(people, task, PHONE)

    places = await page.evaluate(
        "() => [...document.querySelectorAll('[data-shown] .tile')].map((tile) => tile.getBoundingClientRect())"
    )

    assert len({round(place["x"]) for place in places}) == columns
    assert len({round(place["y"]) for place in places}) == rows
    assert all(place["y"] + place["height"] <= 844 for place in places)


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
async def test_people_who_use_no_eyes_or_no_mouse(people: People, site: Site, axe: Check, device: dict[str, Any]):
    task = await site.add_task(prompts=2)
    page = await open_task(people, task, device)
    await axe(page)
    await page.keyboard.press("x")
    await page.keyboard.press("2")
    await axe(page)
    for number in range(2):
        await shown(page, task, number)
        await page.keyboard.press("1")
    await page.get_by_role("heading", name="All done, thank you").wait_for()
    await axe(page)
    await page.get_by_role("link", name="To the list", exact=True).click()
    await page.get_by_role("heading", name="Label").wait_for()
    await axe(page)
