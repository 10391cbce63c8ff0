"""The labelling page in a real Chromium on the real server: the ordinary way through a task, and its texts."""

from typing import Any

import pytest
from playwright.async_api import expect

from comfylabel.accounts.schemas import Role
from tests.browser.conftest import DESK, PHONE, People
from tests.browser.site import HOSTILE, Site
from tests.browser.sitting import Sitting
from tests.support.waiting import until

LONG = ("an old fisherman on a wooden pier at golden hour, " * 40).strip()  # 1,999 characters
EMOJI = "a 👩🏽‍🚀 with a 🏳️‍🌈 on the 🌕"
RIGHT_TO_LEFT = "قطة تجلس على كرسي أزرق، photorealistic, 8k"


async def test_three_batches_by_finger(people: People, site: Site):
    task = await site.add_task(prompts=3)
    sitting = await Sitting.begin(people, task, PHONE)
    expected = []

    for number, (letter, place) in enumerate([("C", 2), ("A", 0), ("B", 1)]):
        await sitting.shown(number)
        expected.append((number, "choice", (await sitting.order())[place], None))
        await sitting.button(f"Choose {letter}").tap()

    await sitting.page.get_by_role("heading", name="All done, thank you").wait_for()
    await sitting.sent(expected)
    assert all(row["elapsed_ms"] > 0 for row in await site.rows(task))
    assert await site.database.pool.fetchval("select count(*) from leases") == 0


async def test_going_back_changes_the_answer(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=2))
    await sitting.shown(0)
    order = await sitting.order()
    await sitting.page.keyboard.press("1")
    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[0], None)])

    await sitting.page.keyboard.press("ArrowLeft")
    await sitting.shown(0)
    await sitting.marked(0, "chosen")
    await sitting.page.keyboard.press("4")
    await sitting.shown(1)

    async def changed() -> bool:
        return await site.answers(sitting.task) == [(0, "choice", order[3], None)]

    await until(changed)


async def test_a_second_sitting_goes_on_where_the_first_one_ended(people: People, site: Site):
    task = await site.add_task(prompts=3)
    sitting = await Sitting.begin(people, task)
    await sitting.answer(0, "t")
    await sitting.sent([(0, "tie", None, None)])

    await sitting.page.reload()

    await sitting.shown(1)
    await expect(sitting.page.locator("[role=status].position")).to_have_text("Batch 2 of 3")


async def test_new_batches_appear_by_themselves(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=2, finished=False)
    await site.finish(task, slice(0, 1))
    sitting = await Sitting.begin(people, task)
    await sitting.answer(0, "t")
    await sitting.page.get_by_role("heading", name="More pictures are on their way").wait_for()

    await site.finish(task, slice(1, 2))

    await sitting.shown(1)


async def test_a_task_without_pictures_shows_them_when_they_come(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=1, finished=False)
    sitting = Sitting(await people.label(task), site, task)
    await sitting.phase("waiting")

    await site.finish(task, slice(0, 1))

    await sitting.shown(0)


async def test_a_task_that_is_not_there_says_so(people: People):
    people.expected.append("404")
    page = await people.signed_in(Role.ANNOTATOR)

    await page.goto("/label/00000000-0000-4000-8000-000000000000")

    await page.get_by_role("heading", name="This task is not there").wait_for()


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
async def test_prompts_of_every_kind(people: People, site: Site, device: dict[str, Any]):
    """Two lines stand and begin with the first letter; the rest is one tap away, letter by letter as it was written."""
    texts = [LONG, EMOJI, RIGHT_TO_LEFT, HOSTILE, "line one\nline two\n\n\nline five"]
    task = await site.add_task(prompts=len(texts), texts=texts, notes=HOSTILE)
    sitting = await Sitting.begin(people, task, device)
    page = sitting.page
    heights = set()

    for number, text in enumerate(texts):
        await sitting.shown(number)
        prompt = page.locator(".prompt-text")
        assert await page.evaluate(_FIRST_LETTER_SEEN)
        heights.add(await prompt.evaluate("(it) => it.getBoundingClientRect().height"))
        assert await page.evaluate(_DIRECTION) == ("rtl" if text is RIGHT_TO_LEFT else "ltr")
        await prompt.click()
        sheet = page.get_by_role("dialog", name="About this batch")
        await sheet.wait_for()
        assert await sheet.locator(".full-prompt").text_content() == text
        await page.keyboard.press("Escape")
        await sheet.wait_for(state="detached")
        await page.keyboard.press("t")

    assert len(heights) == 1, "the room of the prompt is the same for all"
    assert await page.locator("img[src='x'], main b:text('bold')").count() == 0
    assert await page.locator(".label-title").inner_text() == HOSTILE
    assert await page.title() == "ComfyUI Data Label"
    await sitting.sent([(number, "tie", None, None) for number in range(len(texts))])


_FIRST_LETTER_SEEN = """() => {
  const shown = document.querySelector('.prompt-text span');
  const letter = new Range();
  letter.setStart(shown.firstChild, 0);
  letter.setEnd(shown.firstChild, 1);
  return letter.getBoundingClientRect().top >= shown.getBoundingClientRect().top - 1;
}"""
# `dir=auto` goes by the first letter that has a direction.
_DIRECTION = "() => getComputedStyle(document.querySelector('.prompt-text [dir], .prompt-text[dir]')).direction"


@pytest.mark.parametrize(("seeds", "columns", "rows"), [(4, 2, 2), (2, 1, 2)])
async def test_how_pictures_stand_on_a_phone(people: People, site: Site, seeds: int, columns: int, rows: int):
    task = await site.add_task(prompts=1, seeds=seeds)
    sitting = await Sitting.begin(people, task, PHONE)

    places = await sitting.page.evaluate(
        "() => [...document.querySelectorAll('[data-shown] .tile')].map((tile) => tile.getBoundingClientRect())"
    )

    assert len({round(place["x"]) for place in places}) == columns
    assert len({round(place["y"]) for place in places}) == rows
    assert all(place["y"] + place["height"] <= 844 for place in places)


async def test_the_list_tells_how_far_a_person_is(people: People, site: Site):
    task = await site.add_task(prompts=3, notes="harbour")
    sitting = await Sitting.begin(people, task)
    await sitting.answer(0, "t")
    await sitting.sent([(0, "tie", None, None)])

    await sitting.page.get_by_role("link", name="Back to the list").click()

    card = sitting.page.get_by_role("listitem").filter(has_text="harbour")
    await expect(card).to_contain_text("1 of 3 batches labelled by you")

    async def given_back() -> bool:
        return await site.database.pool.fetchval("select count(*) from leases") == 0

    await until(given_back)
    await card.get_by_role("link", name="Continue").click()
    await sitting.shown(1)
