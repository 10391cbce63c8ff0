"""Kind to everybody: no eyes, no mouse, other eyes, small screens, little light, less movement."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import DESK, PHONE, Check, People, pictures_shown
from tests.browser.outbox import tiles_fetched
from tests.browser.site import Site
from tests.browser.sitting import Sitting
from tests.browser.touch import Touch, middle_of

DEVICES = pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
MOST_SHIFT = 0.001
MOST_HEAP = 10_000_000  # bytes of scripts and what they hold; pictures are beside it

_SMALL_TARGETS = """() => [...document.querySelectorAll('a, button, input, label:has(input), summary')]
  .filter((it) => it.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !it.closest('[inert]'))
  .filter((it) => !(it.matches('input') && it.closest('label')))
  .filter((it) => it.getBoundingClientRect().width < 44 || it.getBoundingClientRect().height < 44)
  .map((it) => it.outerHTML.slice(0, 100))"""


@pytest.fixture
def fit(axe: Check) -> Check:
    """axe finds nothing, every target is large enough for a thumb, and nothing sticks out sideways."""

    async def check(page: Page) -> None:
        await axe(page)
        assert await page.evaluate(_SMALL_TARGETS) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    return check


@DEVICES
async def test_the_screen_while_one_batch_is_judged(people: People, site: Site, fit: Check, device: dict[str, Any]):
    sitting = await Sitting.begin(people, await site.add_task(prompts=2, texts=["a long prompt " * 30]), device)
    page = sitting.page

    await sitting.shown(0)
    await fit(page)
    await sitting.button("Worst").click()
    await fit(page)
    await sitting.button("Mark B as worst").click()
    await sitting.marked(1, "rejected")
    await page.keyboard.press("f")
    await sitting.is_zoomed()
    await fit(page)
    await page.keyboard.press("f")
    await page.keyboard.press("g")
    await page.wait_for_selector("main[data-mode='single']")
    await fit(page)
    await page.keyboard.press("g")
    await sitting.answer(0, "1")
    await sitting.shown(1)
    await page.keyboard.press("ArrowLeft")
    await sitting.shown(0)
    await sitting.marked(0, "chosen")
    await fit(page)


@DEVICES
async def test_the_sheets(people: People, site: Site, fit: Check, device: dict[str, Any]):
    sitting = await Sitting.begin(people, await site.add_task(prompts=1, variables={"dress": "red"}), device)
    page = sitting.page
    await sitting.shown(0)

    for key, title in (("i", "About this batch"), ("?", "Keys and gestures")):
        await page.keyboard.press(key)
        await page.get_by_role("dialog", name=title).wait_for()
        await fit(page)
        await page.keyboard.press("Escape")
    await sitting.button("Settings").click()
    await page.get_by_role("dialog", name="Settings").wait_for()
    await fit(page)


@DEVICES
async def test_the_screen_when_something_is_missing(people: People, site: Site, fit: Check, device: dict[str, Any]):
    """A picture, the next batch, the server."""
    people.expected.append("Failed to load resource")
    task = await site.add_task("RUNNING", prompts=2, finished=False)
    await site.finish(task, slice(0, 1))
    await site.delete_images(task, 0, 1)
    sitting = await Sitting.begin(people, task, device)
    page = sitting.page
    await sitting.shown(0)
    await sitting.button("Load again").wait_for()
    await fit(page)

    await page.keyboard.press("t")
    await sitting.phase("waiting")
    await sitting.unsent(0)
    await fit(page)
    await page.context.set_offline(offline=True)
    await page.keyboard.press("z")
    await sitting.answer(0, "s")
    await sitting.unsent(2)
    await sitting.phase("away")
    await fit(page)


@DEVICES
async def test_the_quiet_states(people: People, site: Site, fit: Check, device: dict[str, Any]):
    people.expected.extend(["401", "404"])
    task = await site.add_task(prompts=1)
    sitting = await Sitting.begin(people, task, device)
    page = sitting.page
    await page.get_by_role("link", name="Back to the list").click()
    await page.get_by_role("heading", name="Label", exact=True).wait_for()
    await fit(page)
    await page.go_back()
    await sitting.answer(0, "t")
    await page.get_by_role("heading", name="All done, thank you").wait_for()
    await fit(page)
    await sitting.sent([(0, "tie", None, None)])

    later = await people.label(task, device)
    await later.wait_for_selector("main[data-phase='nothing']")
    await fit(later)
    await later.goto("/label/00000000-0000-4000-8000-000000000000")
    await later.wait_for_selector("main[data-phase='gone']")
    await fit(later)
    await site.database.pool.execute("delete from sessions")
    await page.reload()
    await page.get_by_role("heading", name="Sign in with your link").wait_for()
    await fit(page)


async def test_a_person_who_hears_the_page(people: People, site: Site):
    """What changes is said: where one is, what is marked, what waits."""
    people.expected.append("Failed to load resource")
    sitting = await Sitting.begin(people, await site.add_task(prompts=3))
    page = sitting.page
    await tiles_fetched(page, site, sitting.task, range(2))
    await sitting.shown(0)
    position = page.locator("[role=status].position")
    await expect(position).to_have_text("Batch 1 of 3")

    await page.keyboard.press("x")
    await page.keyboard.press("2")
    await page.get_by_role("button", name="Choose picture B, worst").wait_for()
    await page.context.set_offline(offline=True)
    await page.keyboard.press("1")
    await sitting.shown(1)
    await expect(position).to_have_text("Batch 2 of 3")
    await expect(page.get_by_role("status").filter(has_text="1 unsent")).to_have_count(1)
    await page.keyboard.press("ArrowLeft")
    await page.get_by_role("button", name="Choose picture A, best").wait_for()


async def test_never_by_colour_alone(people: People, site: Site):
    """Best and worst differ in line, sign and word; the page draws for every kind of eye."""
    sitting = await Sitting.begin(people, await site.add_task(prompts=2), PHONE)
    touch = await Touch.of(sitting.page)
    await sitting.shown(0)
    await touch.down(await middle_of(sitting.tile(2)))
    await sitting.marked(2, "rejected")
    await touch.up()
    await sitting.page.keyboard.press("1")
    await sitting.shown(1)
    await touch.drag((80, 400), (320, 400))
    await sitting.shown(0)

    best, worst = [await sitting.tile(place).evaluate(_LOOKS) for place in (0, 2)]
    assert "solid" in best["lines"]
    assert "dashed" in worst["lines"]
    assert re.search("best", best["words"], re.IGNORECASE)
    assert re.search("worst", worst["words"], re.IGNORECASE)
    assert best["sign"] != worst["sign"]
    for eye in ("achromatopsia", "deuteranopia", "protanopia", "tritanopia", "blurredVision"):
        await touch.cdp.send("Emulation.setEmulatedVisionDeficiency", {"type": eye})
        assert await sitting.page.screenshot(type="jpeg", quality=10)


_LOOKS = """(tile) => ({
  lines: [tile, ...tile.querySelectorAll('*')].flatMap((it) => [null, '::before', '::after'].flatMap((part) => {
    const looks = getComputedStyle(it, part);
    return [
      parseFloat(looks.borderTopWidth) && looks.borderTopStyle,
      parseFloat(looks.outlineWidth) && looks.outlineStyle,
    ];
  })).filter(Boolean),
  words: tile.innerText,
  sign: tile.querySelector('svg')?.innerHTML ?? '',
})"""


@DEVICES
async def test_nothing_moves_over_twenty_batches(people: People, site: Site, device: dict[str, Any]):
    """Prompts of one line and of two; counted with what follows a key at once, which browsers leave out."""
    task = await site.add_task(prompts=21, seeds=2, texts=["short", "a long prompt " * 30] * 10)
    sitting = await Sitting.begin(people, task, device)

    for number in range(20):
        await sitting.answer(number, "t")
    await sitting.shown(20)
    await pictures_shown(sitting.page)

    assert await sitting.page.evaluate("[shifted, shiftedInAll]") == [
        pytest.approx(0, abs=MOST_SHIFT),
        pytest.approx(0, abs=MOST_SHIFT),
    ]


async def test_before_the_next_pictures_are_painted_nothing_else_is_touched(people: People, site: Site):
    """Rail, numbers and what may not be touched follow a frame later: on a slow phone they would delay the pictures."""
    sitting = await Sitting.begin(people, await site.add_task(prompts=4), PHONE)
    await sitting.answer(0, "1")
    await sitting.shown(1)

    touched = await sitting.page.evaluate(_TOUCHED_BEFORE_PAINT)
    await sitting.shown(2)

    assert set(touched) == {"prompt-text", "slide"}
    assert "inert" not in touched["slide"], "it restyles every tile"
    rail = sitting.page.get_by_role("navigation", name="Batches")
    await rail.get_by_role("button", name="Batch 2, answered").wait_for()
    await expect(sitting.page.locator(".count")).to_have_text("3 of 4")
    assert await sitting.page.locator(".slide[inert]").count() == 2, "the shown one is the one that takes keys"


_TOUCHED_BEFORE_PAINT = """async () => {
  const touched = {};
  const note = (records) => {
    for (const { target, type, attributeName } of records) {
      const element = target.nodeType === 1 ? target : target.parentElement;
      const part = element.closest('.slide, .prompt-text, .rail, header');
      (touched[part?.className ?? target.nodeName] ??= []).push(attributeName ?? type);
    }
  };
  const observer = new MutationObserver(note);
  const all = { subtree: true, childList: true, attributes: true, characterData: true };
  observer.observe(document.querySelector('main'), all);
  document.querySelector(".bar [aria-label='Choose A']").click();
  await new Promise(requestAnimationFrame);
  observer.disconnect();
  return touched;
}"""


async def test_a_long_sitting_fits_into_a_small_phone(people: People, site: Site):
    task = await site.add_task(prompts=31, seeds=2)
    sitting = await Sitting.begin(people, task, PHONE)
    for number in range(30):
        await sitting.answer(number, "t")
    await sitting.shown(30)

    devtools = await sitting.page.context.new_cdp_session(sitting.page)
    await devtools.send("HeapProfiler.collectGarbage")
    await devtools.send("Performance.enable")
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]

    assert next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize") < MOST_HEAP


async def test_people_who_want_less_movement(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=2), PHONE | {"reduced_motion": "reduce"})
    touch = await Touch.of(sitting.page)
    await sitting.shown(0)

    await touch.drag((320, 400), (80, 400))
    await sitting.page.wait_for_selector(f"[data-shown][data-batch='{sitting.task.batches[1]}']")

    assert await sitting.page.evaluate(_MOVING) == []


_MOVING = """() => document.getAnimations().filter((it) => it.playState === 'running'
  && it.effect.getComputedTiming().duration > 1).map((it) => it.effect.target?.className)"""


async def test_the_page_can_be_enlarged_and_the_stage_takes_fingers_for_itself(people: People, site: Site):
    sitting = await Sitting.begin(people, await site.add_task(prompts=1), PHONE)

    viewport = await sitting.page.locator("meta[name=viewport]").get_attribute("content") or ""
    assert "user-scalable" not in viewport
    assert "maximum-scale" not in viewport
    looks = await sitting.page.evaluate(
        "() => [getComputedStyle(document.querySelector('.stage')).touchAction,"
        " getComputedStyle(document.querySelector('main')).touchAction,"
        " getComputedStyle(document.documentElement).overscrollBehaviorY]"
    )
    assert looks[0] == "none"
    assert looks[1] != "none"
    assert looks[2] == "none"


async def test_dark_or_light_as_the_device_asks(people: People, site: Site):
    task = await site.add_task(prompts=2, overlap=2)
    light = {}
    for scheme in ("dark", "light"):
        sitting = await Sitting.begin(people, task, PHONE | {"color_scheme": scheme}, await site.add_person())
        light[scheme] = await sitting.page.evaluate(_LIGHT_OF_THE_PAGE)

    assert light["dark"] < 80
    assert light["light"] > 200


_LIGHT_OF_THE_PAGE = """() => {
  const colour = getComputedStyle(document.querySelector('main')).backgroundColor.match(/[\\d.]+/g).map(Number);
  return (colour[0] + colour[1] + colour[2]) / 3;
}"""


async def test_the_screen_stays_awake(people: People, site: Site):
    """Asked for when the page is seen, and again when it is seen again: the browser lets go in between."""
    task = await site.add_task(prompts=1)
    page = await people.visitor(PHONE)
    await page.add_init_script(_WAKE_LOCKS)
    await people.sign_in(page, await site.add_person())
    await page.goto(f"/label/{task.id}")
    await pictures_shown(page)
    await page.wait_for_function("() => locks.length === 1")

    await page.evaluate(
        "() => { locks[0].lose(); isHidden = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await page.evaluate("() => { isHidden = false; document.dispatchEvent(new Event('visibilitychange')); }")

    await page.wait_for_function("() => locks.length === 2")


_WAKE_LOCKS = """
window.locks = [];
window.isHidden = false;
Object.defineProperty(document, 'visibilityState', { get: () => (window.isHidden ? 'hidden' : 'visible') });
Object.defineProperty(document, 'hidden', { get: () => window.isHidden });
class Lock extends EventTarget {
  released = false;
  async release() { this.lose(); }
  lose() { this.released = true; this.dispatchEvent(new Event('release')); }
}
Object.defineProperty(navigator, 'wakeLock', {
  value: { async request() { const lock = new Lock(); window.locks.push(lock); return lock; } },
});
"""
