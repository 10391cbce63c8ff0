"""The labelling page under real fingers on a phone: what each gesture does, and what it must not do."""

import re

from tests.browser.conftest import PHONE, People
from tests.browser.site import Site
from tests.browser.sitting import Sitting
from tests.browser.touch import Touch, middle_of

AS_IT_IS = "matrix(1, 0, 0, 1, 0, 0)"


async def begin(people: People, site: Site, prompts: int = 3) -> tuple[Sitting, Touch]:
    sitting = await Sitting.begin(people, await site.add_task(prompts=prompts), PHONE)
    await sitting.shown(0)
    return sitting, await Touch.of(sitting.page)


async def test_a_swipe_changes_the_batch_and_nothing_else_does(people: People, site: Site):
    sitting, touch = await begin(people, site)

    await touch.drag((320, 400), (80, 400))
    await sitting.shown(1)
    await touch.drag((6, 400), (300, 400))  # from the edge: the browser's own way back
    await touch.drag((386, 400), (90, 400))
    await touch.drag((200, 300), (230, 620))  # down
    await touch.drag((200, 400), (150, 400), seconds=0.4)  # neither far nor fast
    await touch.drag((320, 400), (80, 400))
    await sitting.shown(2)
    await touch.drag((80, 400), (320, 400))
    await sitting.shown(1)

    assert await site.answers(sitting.task) == []


async def test_a_quick_flick_is_enough(people: People, site: Site):
    sitting, touch = await begin(people, site)

    await touch.drag((220, 400), (160, 400), seconds=0.08, leave_at_speed=True)

    await sitting.shown(1)


async def test_the_pictures_follow_the_finger(people: People, site: Site):
    sitting, touch = await begin(people, site)
    slide = sitting.page.locator(f"[data-batch='{sitting.task.batches[0]}']")
    before = await slide.bounding_box()
    assert before is not None

    await touch.down((320, 400))
    await touch.move((300, 400))
    await touch.move((270, 400))
    await sitting.page.wait_for_function(_STANDS_AT, arg=[str(sitting.task.batches[0]), before["x"] - 50, 20])
    await touch.move((318, 400), after=1)
    await touch.up()

    await sitting.page.wait_for_function(_STANDS_AT, arg=[str(sitting.task.batches[0]), before["x"], 0.1])
    assert await sitting.number() == 0


_STANDS_AT = """([batch, x, off]) =>
  Math.abs(document.querySelector(`[data-batch='${batch}']`).getBoundingClientRect().x - x) < off"""


async def test_a_pinch_zooms_all_candidates_in_step(people: People, site: Site):
    sitting, touch = await begin(people, site)
    x, y = await middle_of(sitting.tile(0))

    await touch.spread((x - 20, y - 20), (x + 20, y + 20), by=40)
    await sitting.is_zoomed()
    pinched = await sitting.views()
    assert len(pinched) == 4
    assert len(set(pinched)) == 1
    assert pinched[0] not in {"none", AS_IT_IS}
    await touch.up()

    # While zoomed a finger moves the pictures, however far and fast it goes.
    await touch.drag((320, y), (80, y))
    panned = await sitting.views()
    assert len(set(panned)) == 1
    assert panned != pinched
    assert await sitting.number() == 0

    await touch.spread((x - 10, y - 10), (x + 10, y + 10), by=300)
    largest = await sitting.views()
    await touch.up()
    assert {view.split(",")[0] for view in largest} == {"matrix(6"}, "six times at most"

    await sitting.button("Choose A").tap()
    await sitting.shown(1)
    assert set(await sitting.views()) <= {"none", AS_IT_IS}, "the next batch is whole"


async def test_a_pinch_keeps_the_point_under_the_fingers(people: People, site: Site):
    sitting, touch = await begin(people, site)
    box = await sitting.tile(1).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5

    await touch.spread((x - 15, y), (x + 15, y), by=15)
    await sitting.is_zoomed()
    views = await sitting.views()
    await touch.up()

    zoom, _, _, _, moved, _ = (float(number) for number in re.findall(r"-?[\d.]+", views[1]))
    # A quarter from the left of a picture that is zoomed about its middle: the middle moves right by what is added.
    assert abs(moved - (zoom - 1) * box["width"] * 0.25) < 2


async def test_two_fingers_together_end_in_no_swipe(people: People, site: Site):
    sitting, touch = await begin(people, site)

    await touch.spread((60, 400), (330, 400), by=-60)
    await touch.move((120, 400))
    await touch.up()
    await sitting.is_zoomed(zoomed=False)
    await sitting.timers_over()

    assert await sitting.number() == 0
    assert await site.answers(sitting.task) == []


async def test_a_double_tap_zooms_and_submits_nothing(people: People, site: Site):
    sitting, touch = await begin(people, site)
    picture = await middle_of(sitting.tile(2))

    await touch.double_tap(picture)
    await sitting.is_zoomed()
    views = await sitting.views()
    assert {view.split(",")[0] for view in views} == {"matrix(2.5"}
    await sitting.timers_over()
    assert await sitting.number() == 0

    await touch.double_tap(picture)
    await sitting.is_zoomed(zoomed=False)
    await sitting.timers_over()
    assert await sitting.number() == 0

    # The one answer is the one that was meant.
    chosen = (await sitting.order())[3]
    await touch.tap(await middle_of(sitting.tile(3)))
    await sitting.shown(1)
    await sitting.sent([(0, "choice", chosen, None)])


async def test_a_tap_on_a_picture_waits_for_a_second_one_and_the_bar_does_not(people: People, site: Site):
    """With the page's clock in the test's hands: 260 ms, not about a quarter of a second."""
    task = await site.add_task(prompts=3)
    page = await people.visitor(PHONE)
    await page.clock.install()
    await people.sign_in(page, await site.add_person())
    await page.goto(f"/label/{task.id}")
    sitting, touch = Sitting(page, site, task), await Touch.of(page)
    await sitting.shown(0)
    order = await sitting.order()
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))

    await touch.tap(await middle_of(sitting.tile(1)))
    await sitting.marked(1, "chosen")
    await page.clock.run_for(255)
    assert await sitting.number() == 0
    await page.clock.run_for(10)
    assert await sitting.number() == 1

    await page.clock.run_for(1000)
    after = await sitting.order()
    await sitting.button("Choose C").tap()
    # The clock stands still: no timer can have had a part in this.
    await page.wait_for_selector(f"[data-shown][data-batch='{task.batches[2]}']")
    await page.clock.resume()
    await sitting.sent([(0, "choice", order[1], None), (1, "choice", after[2], None)])


async def test_a_long_press_names_the_worst_and_a_tap_the_best(people: People, site: Site):
    sitting, touch = await begin(people, site)
    order = await sitting.order()

    await touch.down(await middle_of(sitting.tile(3)))
    await sitting.marked(3, "rejected")
    await touch.up()
    await sitting.timers_over()
    assert await sitting.number() == 0, "lifting the finger is no tap"
    await touch.tap(await middle_of(sitting.tile(0)))
    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[0], order[3])])

    await sitting.button("Undo").tap()
    await sitting.shown(0)
    assert await sitting.page.locator("[data-shown] [data-mark]").count() == 0, "one undo takes back both"
    await sitting.button("Choose B").tap()
    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[1], None)])


async def test_the_bar_names_the_worst_too(people: People, site: Site):
    sitting, _ = await begin(people, site)
    order = await sitting.order()

    await sitting.button("Worst").tap()
    await sitting.button("Mark B as worst").tap()
    await sitting.marked(1, "rejected")
    await sitting.button("Choose A").tap()

    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[0], order[1])])


async def test_one_picture_at_a_time(people: People, site: Site):
    """Then a swipe goes from candidate to candidate, and the bar names them all the same."""
    sitting, touch = await begin(people, site)
    order = await sitting.order()
    await sitting.button("One picture at a time").tap()
    await sitting.page.wait_for_selector("main[data-mode='single']")
    picture = sitting.page.get_by_role("navigation", name="Pictures of this batch")

    await touch.drag((320, 400), (80, 400))
    await picture.locator("[aria-current='true']").get_by_text("B").wait_for()
    assert await sitting.number() == 0
    await touch.drag((80, 400), (320, 400))
    await picture.locator("[aria-current='true']").get_by_text("A").wait_for()
    await sitting.button("Choose C").tap()

    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[2], None)])


async def test_a_double_tap_on_a_slow_phone_is_one_answer(people: People, site: Site):
    sitting, touch = await begin(people, site)
    await touch.cdp.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    choose = await middle_of(sitting.button("Choose A"))
    chosen = (await sitting.order())[0]

    # The button stands where it stood, and the finger comes down again before the eye has seen another batch.
    await touch.double_tap(choose)
    await sitting.shown(1)

    await sitting.sent([(0, "choice", chosen, None)])
    assert await sitting.number() == 1


async def test_an_answer_is_felt_unless_it_is_turned_off(people: People, site: Site):
    task = await site.add_task(prompts=3)
    page = await people.visitor(PHONE)
    await page.add_init_script("window.felt = []; navigator.vibrate = (ms) => felt.push(ms)")
    await people.sign_in(page, await site.add_person())
    await page.goto(f"/label/{task.id}")
    sitting = Sitting(page, site, task)
    await sitting.shown(0)

    await sitting.button("Choose A").tap()
    await sitting.shown(1)
    assert await page.evaluate("felt") == [8]
    await sitting.button("Settings").tap()
    await page.get_by_role("dialog").get_by_label("Vibrate on an answer").tap()
    await page.keyboard.press("Escape")
    await sitting.button("Choose A").tap()
    await sitting.shown(2)

    assert await page.evaluate("felt") == [8]


async def test_more_candidates_than_fit_are_reached_by_finger(people: People, site: Site):
    """There, and only there, a drag up scrolls."""
    sitting = await Sitting.begin(people, await site.add_task(prompts=2, seeds=20, batch_size=1), PHONE)
    touch = await Touch.of(sitting.page)
    await sitting.shown(0)
    last = sitting.tile(19)
    assert (await middle_of(last))[1] > 844

    for _ in range(6):
        await touch.drag((200, 520), (200, 150))
    await sitting.page.wait_for_function(
        "() => document.querySelector('[data-shown] [data-place=\"19\"]').getBoundingClientRect().bottom < innerHeight"
    )
    await sitting.is_zoomed(zoomed=False)
    await touch.tap(await middle_of(last))

    await sitting.shown(1)
    row = (await site.until_rows(sitting.task, 1))[0]
    assert row["slot_order"][19] == row["chosen_index"]
