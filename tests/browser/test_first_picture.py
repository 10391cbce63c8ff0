"""What the page brings with it: the first batch inside the HTML, its pictures asked for before any script has run."""

import asyncio
import json
import re

from playwright.async_api import Route

from tests.browser.conftest import PHONE, People, pictures_shown
from tests.browser.request_log import RequestLog
from tests.browser.site import HOSTILE, Site
from tests.browser.sitting import Sitting
from tests.support.waiting import until

EMBEDDED = re.compile(r'<script type="application/json" id="first">(.*?)</script>', re.DOTALL)


async def test_the_first_pictures_are_asked_for_before_the_script_runs(people: People, site: Site):
    task = await site.add_task(prompts=4)
    page = await people.visitor(PHONE)
    await people.sign_in(page, await site.add_person())
    log = await RequestLog.of(page, site, task)
    may_run = asyncio.Event()

    async def hold_scripts(route: Route) -> None:
        await may_run.wait()
        await route.continue_()

    await page.route("**/assets/*.js", hold_scripts)
    await page.goto(f"/label/{task.id}", wait_until="commit")
    await until(lambda: {candidate for number, candidate, _ in log.asked if number == 0} == {0, 1, 2, 3})
    may_run.set()
    sitting = Sitting(page, site, task)
    await sitting.shown(0)
    await pictures_shown(page)
    await sitting.answer(0, "t")
    await sitting.sent([(0, "tie", None, None)])

    # Through a route the browser's cache does not answer: only what is shown first can be counted here.
    first = [picture for picture in log.asked if picture[0] == 0]
    assert len(first) == len(set(first)), "what was preloaded is what is shown: nothing is fetched twice"


async def test_the_page_shows_the_first_batch_without_asking_the_api(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=4, texts=["a lighthouse at dusk"])
    page = await people.visitor()
    await people.sign_in(page, await site.add_person())
    await page.route("**/api/**", lambda route: route.abort())

    await page.goto(f"/label/{task.id}")

    await page.locator(".prompt-text").get_by_text("a lighthouse at dusk").wait_for()
    await pictures_shown(page)


async def test_looking_at_the_page_takes_nothing(people: People, site: Site):
    """A link preview or a second tab asks for the page: no batch may be held for it."""
    task = await site.add_task(prompts=2)
    page = await people.visitor()
    ann = await site.add_person()
    await people.sign_in(page, ann)

    answer = await page.context.request.get(f"/label/{task.id}")

    assert answer.headers["cache-control"] == "private, no-store"
    first = json.loads(_embedded(await answer.text()))
    assert [item["batch_id"] for item in first["next"]["items"]] == [str(task.batches[0])]
    for table in ("leases", "labellers", "ab_assignments"):
        assert await site.database.pool.fetchval(f"select count(*) from {table}") == 0


async def test_what_a_stranger_wrote_cannot_leave_the_data(people: People, site: Site):
    task = await site.add_task(prompts=1, texts=[HOSTILE + "\u2028\u2029&amp;"], notes=HOSTILE)
    sitting = await Sitting.begin(people, task)

    source = await (await sitting.page.context.request.get(f"/label/{task.id}")).text()
    embedded = _embedded(source)
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded)["next"]["items"][0]["prompt"] == HOSTILE + "\u2028\u2029&amp;"
    assert HOSTILE in await sitting.page.locator(".prompt-text").inner_text()
    assert await sitting.page.locator("img[src='x'], main b:text('bold')").count() == 0
    assert await sitting.page.title() == "ComfyUI Data Label"


async def test_nobody_signed_in_gets_the_plain_page(people: People, site: Site):
    task = await site.add_task(prompts=1, texts=["a secret"])
    people.expected.append("401")
    page = await people.visitor()

    answer = await page.goto(f"/label/{task.id}")

    assert answer is not None
    source = await answer.text()
    assert "a secret" not in source
    assert not EMBEDDED.search(source)
    await page.get_by_role("heading", name="Sign in with your link").wait_for()


def _embedded(source: str) -> str:
    found = EMBEDDED.search(source)
    assert found is not None
    return found[1]
