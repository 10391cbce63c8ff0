"""The labelling page by keyboard alone, and what the keys must leave alone."""

from playwright.async_api import Page

from tests.browser.conftest import DESK, People
from tests.browser.site import Site
from tests.browser.sitting import Sitting


async def test_every_kind_of_answer_by_key(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=5))
    seen: list[list[int]] = []

    for number, keys in enumerate(["2", "x31", "t", "s", "k"]):
        await sitting.shown(number)
        seen.append(await sitting.order())
        for key in keys:
            await sitting.page.keyboard.press(key)

    await sitting.page.get_by_role("heading", name="All done, thank you").wait_for()
    await sitting.sent(
        [
            (0, "choice", seen[0][1], None),
            (1, "choice", seen[1][0], seen[1][2]),
            (2, "tie", None, None),
            (3, "spam", None, None),
            (4, "skip", None, None),
        ]
    )


async def test_the_other_keys(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=3))
    page = sitting.page
    await sitting.shown(0)

    await page.keyboard.press("ArrowRight")
    await sitting.shown(1)
    await page.keyboard.press("ArrowLeft")
    await sitting.shown(0)
    await page.keyboard.press("f")
    await sitting.is_zoomed()
    await page.keyboard.press("f")
    await sitting.is_zoomed(zoomed=False)
    for key, title in (("i", "About this batch"), ("?", "Keys and gestures")):
        await page.keyboard.press(key)
        await page.get_by_role("dialog", name=title).wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="detached")
    await page.keyboard.press("1")
    await sitting.shown(1)
    await page.keyboard.press("z")
    await sitting.shown(0)

    await site.until_answers(sitting.task, [])


async def test_keys_that_are_not_for_the_screen(people: People, site: Site):
    """With a modifier they are the browser's, in a field the field's, in a sheet the sheet's."""
    sitting = await Sitting.begin(people, await site.add_task(prompts=3))
    page = sitting.page
    await sitting.shown(0)

    for modifier in ("Control", "Alt", "Meta"):
        await page.keyboard.press(f"{modifier}+1")
    await page.keyboard.press("5")  # there is no fifth candidate
    await page.keyboard.press("i")
    await page.get_by_role("dialog").wait_for()
    await page.keyboard.press("2")
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    await _type_into_a_field(page, "1s")
    assert await sitting.number() == 0

    await sitting.answer(0, "t")
    await sitting.shown(1)
    await sitting.sent([(0, "tie", None, None)])


async def _type_into_a_field(page: Page, text: str) -> None:
    await page.evaluate(
        "() => document.querySelector('main').append(Object.assign(document.createElement('input'), {id: 'field'}))"
    )
    await page.locator("#field").press_sequentially(text)
    await page.evaluate("document.querySelector('#field').remove()")


async def test_two_keys_at_once_are_one_answer(people: People, site: Site):
    """Both before the next batch was painted: the second was meant for the one that is gone."""
    sitting = await Sitting.begin(people, await site.add_task(prompts=3))
    await sitting.shown(0)
    chosen = (await sitting.order())[0]

    await sitting.page.evaluate(_PRESS_TWICE)
    await sitting.shown(1)

    await sitting.sent([(0, "choice", chosen, None)])
    assert await sitting.number() == 1


_PRESS_TWICE = """() => {
  for (const key of '11') document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
}"""


async def test_a_held_key_answers_once(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=3))
    await sitting.shown(0)
    chosen = (await sitting.order())[1]

    await sitting.page.keyboard.down("2")
    await sitting.shown(1)
    await sitting.page.keyboard.down("2")  # the keyboard's own repeat
    await sitting.timers_over()
    await sitting.page.keyboard.up("2")

    await sitting.sent([(0, "choice", chosen, None)])
    assert await sitting.number() == 1


async def test_the_keyboard_alone_reaches_every_button(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=2))
    await sitting.shown(0)
    order = await sitting.order()

    for _ in range(60):
        await sitting.page.keyboard.press("Tab")
        name = await sitting.page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
        )
        if "Choose picture C" in name:
            break
    assert await sitting.page.evaluate(_HAS_A_RING), "where one is can be seen"
    await sitting.page.keyboard.press("Enter")

    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[2], None)])


_HAS_A_RING = """() => {
  const looks = getComputedStyle(document.activeElement);
  return document.activeElement.matches(':focus-visible')
    && (parseFloat(looks.outlineWidth) >= 2 && looks.outlineStyle !== 'none' || looks.boxShadow !== 'none');
}"""


async def test_the_wheel_with_control_zooms_at_a_desk(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=1), DESK)
    await sitting.shown(0)
    await sitting.tile(1).hover()

    await sitting.page.keyboard.down("Control")
    await sitting.page.mouse.wheel(0, -300)
    await sitting.page.keyboard.up("Control")

    await sitting.is_zoomed()
    assert len(set(await sitting.views())) == 1
