"""Pictures: which are fetched, in which order and size, and what happens when one cannot be had."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from playwright.async_api import Route

from comfylabel.storage import signing
from tests.browser.conftest import DESK, PHONE, People, pictures_shown, settled
from tests.browser.outbox import SHARP, wait_for_worker
from tests.browser.request_log import Picture, RequestLog, Valve
from tests.browser.site import Site
from tests.browser.sitting import LETTERS, Sitting
from tests.support.rows import TaskRows
from tests.support.waiting import until

SEEDS = 2


async def arrive(
    people: People, task: TaskRows, device: dict[str, Any] = DESK, script: str = ""
) -> tuple[Sitting, RequestLog]:
    """At the page, but nothing is waited for."""
    page = await people.visitor(device)
    if script:
        await page.add_init_script(script)
    await people.sign_in(page, await people.site.add_person())
    log = await RequestLog.of(page, people.site, task)
    return Sitting(page, people.site, task), log


def of(numbers: Iterable[int], size: str) -> set[Picture]:
    return {(number, candidate, size) for number in numbers for candidate in range(SEEDS)}


async def test_coming_pictures_are_fetched_before_they_are_asked_for_and_once(people: People, site: Site):
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task)

    await sitting.page.goto(f"/label/{task.id}")
    # A person holds twenty: the shown one and all after it as thumbnails, six ahead as tiles.
    await until(lambda: of(range(20), "thumbnail") <= set(log.asked))
    large = {size for _, _, size in log.asked} - {"thumbnail"}
    assert len(large) == 1, "one size stands in the tiles"
    size = large.pop()
    await until(lambda: of(range(7), size) <= set(log.asked))
    await sitting.answer(0, "t")
    await sitting.shown(1)
    await until(lambda: of([7], size) <= set(log.asked))
    await sitting.sent([(0, "tie", None, None)])

    assert log.batches("image") == set(), "nothing in full size was asked for"
    assert set(log.of_size(size)) == of(range(8), size)
    assert len(site.images_served()) == len(set(site.images_served())), "each address once"


async def test_a_service_worker_that_comes_in_the_middle_takes_no_picture_away(people: People, site: Site):
    """A first visit: the worker is there seconds after the page, whose coming pictures are in memory by then."""
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task)
    await sitting.page.goto(f"/label/{task.id}")
    await pictures_shown(sitting.page)
    await wait_for_worker(sitting.page)
    await until(lambda: len(log.batches("tile", "preview")) >= 7)

    for number in range(3):
        await sitting.answer(number, "t")
    await sitting.shown(3)
    await pictures_shown(sitting.page)
    await settled(sitting.page)

    assert len(log.asked) == len(set(log.asked)), "nothing was asked for twice, not even of the browser's cache"


async def test_the_nearest_comes_first_and_few_at_once(people: People, site: Site):
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task)
    async with Valve.on(log, site) as valve:
        await sitting.page.goto(f"/label/{task.id}")
        await pictures_shown(sitting.page)

        await until(lambda: len(valve.held) >= 4)
        await settled(sitting.page)
        assert len(valve.held) == 4
        assert {number for number, _, _ in valve.held} == {1}
        for _ in range(6):
            before = len(valve.waiting)
            valve.let_through(1)
            await until(partial(_more_than, valve, before))
            assert len(valve.held) == 4
        numbers = [picture[0] for picture, _ in valve.waiting]
        assert numbers == sorted(numbers), "nearest first"


def _more_than(valve: Valve, before: int) -> bool:
    return len(valve.waiting) > before


async def test_an_answer_under_way_goes_before_pictures(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task)
    async with Valve.on(log, site, first=8) as valve:
        await sitting.page.route("**/api/annotations", lambda route: route.abort())
        await sitting.page.goto(f"/label/{task.id}")
        await sitting.shown(0)
        await until(lambda: len(valve.held) >= 4)

        await sitting.page.keyboard.press("1")
        await sitting.unsent(1)
        valve.let_through(4)

        await until(lambda: len(valve.held) >= 2)
        await settled(sitting.page)
        assert len(valve.held) == 2


async def test_what_was_left_behind_is_not_fetched_any_more(people: People, site: Site):
    """A jump along the rail: the pictures on the way there are no longer first, and the ones there are."""
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task)
    async with Valve.on(log, site) as valve:
        await sitting.page.goto(f"/label/{task.id}")
        await sitting.shown(0)
        await until(lambda: len(valve.held) >= 4)

        await (
            sitting.page.get_by_role("navigation", name="Batches")
            .get_by_role("button", name="Batch 13", exact=True)
            .click()
        )
        await sitting.page.wait_for_selector(f"[data-shown][data-batch='{task.batches[12]}']")
        valve.open()
        await pictures_shown(sitting.page)
        await until(lambda: of(range(12, 19), "thumbnail") <= set(log.asked))

        large = [picture for picture in log.asked if picture[2] in {"tile", "preview"}]
        assert not [picture for picture in large if 3 <= picture[0] < 12 - 6], "nobody waits for these"


async def test_with_save_data_two_batches_ahead_are_enough(people: People, site: Site):
    task = await site.add_task(prompts=24, seeds=SEEDS)
    sitting, log = await arrive(people, task, PHONE, _SAVE_DATA)

    await sitting.page.goto(f"/label/{task.id}")
    await until(lambda: of(range(20), "thumbnail") <= set(log.asked))
    await until(lambda: log.batches("tile", "preview") >= {0, 1, 2})
    await sitting.shown(0)
    await sitting.button("Choose A").tap()
    await until(lambda: 3 in log.batches("tile", "preview"))
    await sitting.shown(1)

    assert log.batches("tile", "preview") == {0, 1, 2, 3}


_SAVE_DATA = """
Object.defineProperty(navigator, 'connection', {
  value: { saveData: true, addEventListener() {}, removeEventListener() {} },
});
"""


async def test_the_full_resolution_comes_with_the_zoom(people: People, site: Site):
    task = await site.add_task(prompts=2, seeds=SEEDS, shapes=[(4096, 4096)])
    sitting, log = await arrive(people, task)
    await sitting.page.goto(f"/label/{task.id}")
    await sitting.shown(0)
    await until(lambda: log.batches("tile", "preview") == {0, 1})
    assert log.of_size("image") == []

    await sitting.page.keyboard.press("f")
    await sitting.page.wait_for_function(
        "() => [...document.querySelectorAll('[data-shown] img')].some((it) => it.naturalWidth === 4096)"
    )

    assert set(log.of_size("image")) == of([0], "image")


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
async def test_pictures_of_every_shape(people: People, site: Site, device: dict[str, Any]):
    shapes = [(832, 1216), (1216, 832), (4096, 4096), (512, 1024)]
    task = await site.add_task(prompts=len(shapes), shapes=shapes)
    sitting = await Sitting.begin(people, task, device)

    for number, (width, height) in enumerate(shapes):
        await sitting.shown(number)
        await pictures_shown(sitting.page)
        boxes = await sitting.page.evaluate(_BOXES)
        assert len(boxes) == 4
        for box in boxes:
            assert abs(box["width"] / box["height"] - width / height) < 0.03 * width / height, "nothing is stretched"
            assert box["top"] >= 0
            assert box["bottom"] <= device["viewport"]["height"]
            assert box["left"] >= 0
            assert box["right"] <= device["viewport"]["width"]
        assert await sitting.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await sitting.page.keyboard.press("t")
    await sitting.sent([(number, "tie", None, None) for number in range(len(shapes))])


# How large the picture itself is painted, whatever box holds it.
_BOXES = """() => [...document.querySelectorAll('[data-shown] [data-place]')].map((tile) => {
  const picture = [...tile.querySelectorAll('img.sharp')].at(-1);
  const { left, top, width, height } = picture.getBoundingClientRect();
  const fit = getComputedStyle(picture).objectFit;
  const scale = Math.min(width / picture.naturalWidth, height / picture.naturalHeight);
  const [w, h] = fit === 'contain' ? [picture.naturalWidth * scale, picture.naturalHeight * scale] : [width, height];
  const [x, y] = [left + (width - w) / 2, top + (height - h) / 2];
  return { left: x, top: y, right: x + w, bottom: y + h, width: w, height: h };
})"""


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
async def test_nine_candidates(people: People, site: Site, device: dict[str, Any]):
    task = await site.add_task(prompts=2, seeds=9)
    sitting = await Sitting.begin(people, task, device)
    await sitting.shown(0)
    order = await sitting.order()
    assert sorted(order) == list(range(9))

    if device is PHONE:
        await sitting.button("Choose I").tap()
    else:
        await sitting.page.keyboard.press("9")

    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[8], None)])


async def test_a_batch_with_a_failed_image_has_the_others(people: People, site: Site):
    task = await site.add_task(prompts=2, failed=[1])
    sitting = await Sitting.begin(people, task, PHONE)
    await sitting.shown(0)

    order = await sitting.order()
    assert len(order) == 3
    names = [name for letter in LETTERS if await sitting.button(name := f"Choose {letter}").count()]
    assert names == ["Choose A", "Choose B", "Choose C"]
    await sitting.page.keyboard.press("4")
    assert await sitting.number() == 0
    await sitting.button("Choose C").tap()
    await sitting.shown(1)
    await sitting.sent([(0, "choice", order[2], None)])


async def test_an_image_that_was_deleted(people: People, site: Site):
    """The other three can still be judged, and the batch can be skipped."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=2)
    await site.delete_images(task, 0, 2)
    sitting = Sitting(await people.label(task, PHONE), site, task)
    await sitting.shown(0)

    again = sitting.button("Load again")
    await again.wait_for()
    assert await again.count() == 1
    await again.tap()
    await again.wait_for()
    await sitting.button("Skip").tap()

    await sitting.shown(1)
    await sitting.sent([(0, "skip", None, None)])


async def test_addresses_that_have_expired_are_renewed_by_themselves(
    people: People, site: Site, monkeypatch: pytest.MonkeyPatch
):
    """A page left open over the end of its addresses' window: the server signs new ones, and nobody notices."""
    people.expected.append("403")
    task = await site.add_task(prompts=20, seeds=SEEDS)
    sitting, log = await arrive(people, task)
    await sitting.page.goto(f"/label/{task.id}")
    await sitting.shown(0)
    await until(lambda: of(range(20), "thumbnail") <= set(log.asked))

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(hours=31)

    monkeypatch.setattr(signing, "datetime", Tomorrow)
    await (
        sitting.page.get_by_role("navigation", name="Batches")
        .get_by_role("button", name="Batch 15", exact=True)
        .click()
    )
    await sitting.page.wait_for_selector(f"[data-shown][data-batch='{task.batches[14]}']")

    await sitting.page.wait_for_function(SHARP)
    assert await sitting.button("Load again").count() == 0
    # What was here already is not fetched again under its new address.
    thumbnails = [address.partition("?")[0] for address in site.images_served() if ".256." in address]
    assert len(thumbnails) == len(set(thumbnails))


async def test_an_address_refused_once(people: People, site: Site):
    people.expected.append("403")
    task = await site.add_task(prompts=2, seeds=SEEDS)
    sitting, _ = await arrive(people, task)
    refused: set[str] = set()

    async def refuse_once(route: Route) -> None:
        if route.request.url in refused or ".256." in route.request.url:
            await route.continue_()
        else:
            refused.add(route.request.url)
            await route.fulfill(status=403)

    await sitting.page.route("**/images/**", refuse_once)
    await sitting.page.goto(f"/label/{task.id}")

    await sitting.page.wait_for_function(SHARP)
    assert refused


async def test_a_variant_changes_depth_and_size_and_where_pictures_come_from(people: People, site: Site):
    task = await site.add_task(prompts=12, seeds=SEEDS)
    await site.add_ab_test(task, {"prefetch_batches": 3, "image_size": 256})
    sitting, log = await arrive(people, task)

    await sitting.page.goto(f"/label/{task.id}")
    await until(lambda: log.batches("thumbnail") >= {0, 1, 2, 3})
    await sitting.answer(0, "t")
    await until(lambda: 4 in log.batches("thumbnail"))
    await sitting.shown(1)
    await sitting.sent([(0, "tie", None, None)])

    assert log.batches("thumbnail") == {0, 1, 2, 3, 4}
    assert log.of_size("tile", "preview", "image") == []
    assert [row["variant_key"] for row in await site.rows(task)] == ["A"]


async def test_a_variant_can_name_another_cdn(people: People, site: Site):
    """`localhost` is another origin than the server's own 127.0.0.1, and leads to the same images."""
    cdn = f"http://localhost:{site.port}"
    site.settings["cdn_alternatives"] = cdn
    await site.stop()
    await site.start()
    task = await site.add_task(prompts=3, seeds=SEEDS)
    await site.add_ab_test(task, {"cdn_url": cdn})
    sitting, _ = await arrive(people, task)
    origins: set[str] = set()
    sitting.page.on(
        "request", lambda request: origins.add(request.url.split("/images/")[0]) if "/images/" in request.url else None
    )

    await sitting.page.goto(f"/label/{task.id}")
    await pictures_shown(sitting.page)
    await sitting.answer(0, "t")
    await sitting.shown(1)
    await sitting.page.wait_for_function(SHARP)

    assert origins == {cdn}
    assert len(site.images_served()) == len(set(site.images_served()))
