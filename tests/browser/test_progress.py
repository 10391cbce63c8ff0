"""The page of one task in a real Chromium, over a real server and, where images are made, a real orchestrator with
simulated workers: what it shows follows by itself, whatever happens to the server meanwhile.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Request, Route, expect

from comfylabel.accounts.schemas import Role
from comfylabel.accounts.service import SESSION_COOKIE
from comfylabel.comfy.simulator import Simulator, running_simulator
from comfylabel.db.notifications import notify
from tests.browser.conftest import DESK, PHONE, Check, People
from tests.browser.site import HOSTILE, Person, Site
from tests.support.app import settings_for
from tests.support.pipeline import Line, running_orchestrator
from tests.support.rows import TaskRows
from tests.support.waiting import until


@pytest_asyncio.fixture(loop_scope="session")
async def line(site: Site) -> AsyncIterator[Line]:
    """An admin's client of the running server."""
    admin = await site.add_person(Role.ADMIN)
    cookies = {SESSION_COOKIE: await site.session_of(admin)}
    headers = {"origin": site.origin}
    async with httpx.AsyncClient(base_url=site.origin, cookies=cookies, headers=headers, timeout=60) as client:
        yield Line(client, site.database)


@asynccontextmanager
async def running_task(line: Line, site: Site, **more: Any) -> AsyncIterator[tuple[str, Simulator]]:
    """A task of 3 x 4 images that runs on one worker, which holds them until the test lets it."""
    async with running_simulator() as simulator:
        simulator.faults.hold_jobs = True
        await line.add_worker(simulator.url, max_concurrent_jobs=2)
        task = await line.frozen_task(prompts=3, **more)
        async with running_orchestrator(settings_for(site.data_dir, port=site.port), line.database.url):
            await line.run(task)
            yield task, simulator


async def opened(people: People, task: str | UUID, role: Role = Role.OPERATOR, device: dict[str, Any] = DESK) -> Page:
    page = await people.signed_in(role, device)
    await page.goto(f"/tasks/{task}")
    return page


def part(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


async def only_events(page: Page) -> None:
    """From now on no question is answered: what changes on the page came over the live line."""

    async def hold(route: Route) -> None:
        if "/events" in route.request.url or route.request.method != "GET":
            await route.continue_()

    await page.route("**/api/**", hold)


async def changed(site: Site, task: TaskRows) -> None:
    """As whoever changes a task says it."""
    async with site.database.transaction() as connection:
        await notify(connection, tasks=[task.id])


async def test_images_appear_over_the_live_line_as_they_are_made(people: People, site: Site, line: Line):
    async with running_task(line, site) as (task, simulator):
        page = await opened(people, task)
        await expect(page.locator(".headline")).to_contain_text("0 of 12 images")
        await expect(page.locator(".page-head .badge")).to_have_text("Running")
        await only_events(page)

        simulator.faults.hold_jobs = False

        await expect(page.locator(".headline")).to_contain_text("12 of 12 images", timeout=30_000)
        await expect(page.locator(".page-head .badge")).to_have_text("Done", timeout=30_000)


async def test_the_worker_that_makes_them_is_named_with_what_it_did(people: People, site: Site, line: Line):
    async with running_task(line, site) as (task, simulator):
        page = await opened(people, task)
        worker = part(page, "Workers").get_by_role("listitem").filter(has_text="gpu-1")
        await expect(worker.locator(".badge")).to_have_text("Working")
        await expect(worker).to_contain_text("2 in hand")
        await expect(part(page, "Workers")).to_contain_text("1 of 1 worker can make these images")

        simulator.faults.hold_jobs = False
        await line.until_ended(task)

        await expect(worker).to_contain_text("12 made", timeout=15_000)
        await expect(worker.locator(".badge")).to_have_text("Able")


async def test_a_pause_in_one_tab_is_seen_in_the_other_and_taken_back(people: People, site: Site, line: Line):
    async with running_task(line, site) as (task, simulator):
        page = await opened(people, task)
        other = await page.context.new_page()
        await other.goto("/tasks")
        card = other.get_by_role("listitem").filter(has=other.get_by_role("link", name="summer v1", exact=True))
        await expect(card.locator(".badge")).to_have_text("Running")

        await page.get_by_role("button", name="Pause").click()

        await expect(page.locator(".page-head .badge")).to_have_text("Paused")
        await expect(card.locator(".badge")).to_have_text("Paused", timeout=15_000)
        await expect(card).to_contain_text("what is being made is kept, nothing new is sent")
        simulator.faults.hold_jobs = False
        await until(lambda: _done(line, task))
        assert (await line.progress(task))["done"] < 12

        await card.get_by_role("button", name="Resume").click()

        await expect(page.locator(".page-head .badge")).to_have_text("Done", timeout=30_000)


async def _done(line: Line, task: str) -> int:
    progress = await line.progress(task)
    return int(progress["done"]) if progress["running"] == 0 else 0


async def test_a_server_that_is_restarted_in_the_middle(people: People, site: Site, line: Line):
    people.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET", "503"]
    task = await site.add_task("RUNNING", prompts=3, finished=False, notes="harbour")
    page = await opened(people, task.id)
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")

    await site.stop()
    await expect(page.get_by_text("The server does not answer; this is how things stood.")).to_be_visible(
        timeout=15_000
    )
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")
    await site.start()
    await site.finish(task, slice(0, 2))

    await expect(page.locator(".headline")).to_contain_text("8 of 12 images", timeout=15_000)
    await expect(page.get_by_text("The server does not answer")).to_have_count(0)
    await until(lambda: site.served[-1:] and any("/events" in one for one in site.served[-20:]))


async def test_without_events_the_page_asks(people: People, site: Site):
    people.expected.append("503")
    task = await site.add_task("RUNNING", prompts=3, finished=False, notes="harbour")
    page = await people.signed_in(Role.OPERATOR)
    await page.route("**/events", lambda route: route.fulfill(status=503))
    await page.goto(f"/tasks/{task.id}")
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")

    await site.finish(task, slice(0, 1))

    await expect(page.locator(".headline")).to_contain_text("4 of 12 images", timeout=15_000)


async def test_a_page_that_nobody_looks_at_asks_nothing(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=3, finished=False)
    page = await opened(people, task.id)
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    await page.evaluate(_HIDE)
    await page.evaluate("() => new Promise(requestAnimationFrame)")
    page.on("request", note)

    await site.finish(task, slice(0, 1))
    await changed(site, task)
    # A page that is looked at has asked by the time that another one shows the change.
    watcher = await opened(people, task.id)
    await expect(watcher.locator(".headline")).to_contain_text("4 of 12 images")
    assert asked == []
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")

    await page.evaluate(_SHOW)

    await expect(page.locator(".headline")).to_contain_text("4 of 12 images")


_HIDE = """() => {
  Object.defineProperty(document, 'hidden', { value: true, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
_SHOW = """() => {
  delete document.hidden;
  document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_who_is_signed_out_elsewhere_sees_no_more(people: People, site: Site):
    people.expected.append("401")
    task = await site.add_task("RUNNING", prompts=3, finished=False)
    page = await opened(people, task.id)
    await expect(page.locator(".headline")).to_contain_text("0 of 12 images")
    other = await page.context.new_page()
    await other.goto("/tasks")

    await other.get_by_role("button", name="Sign out").click()
    await other.get_by_role("heading", name="You are signed out").wait_for()

    await expect(page.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=20_000)
    assert await page.locator(".task-page").count() == 0


async def test_what_went_wrong_is_told_by_kind_and_by_prompt(people: People, site: Site, line: Line):
    async with running_task(line, site) as (task, simulator):
        simulator.faults.execution_errors = -1
        simulator.faults.hold_jobs = False
        ended = await line.until_ended(task)
        page = await opened(people, task)

        wrong = part(page, "What went wrong")
        await expect(wrong).to_contain_text("12 images were given up")
        for failure in ended["failures"]:
            row = wrong.locator(".failures > li").filter(has_text=failure["words"])
            await expect(row.locator(".times")).to_contain_text(str(failure["count"]))
        first = part(page, "Prompts").get_by_role("listitem").first
        await expect(first).to_contain_text("4 failed")
        await expect(first).to_contain_text("3 retries")
        await expect(page.get_by_role("button", name="Run what is missing")).to_be_visible()


async def test_running_again_makes_what_is_missing(people: People, site: Site, line: Line):
    async with running_task(line, site) as (task, simulator):
        simulator.faults.execution_errors = -1
        simulator.faults.hold_jobs = False
        await line.until_ended(task)
        simulator.faults.execution_errors = 0
        page = await opened(people, task)

        await page.get_by_role("button", name="Run what is missing").click()
        await page.get_by_role("dialog").get_by_role("button", name="Run").click()

        await expect(page.locator(".headline")).to_contain_text("12 of 12 images", timeout=30_000)
        await expect(page.locator(".page-head .badge")).to_have_text("Done", timeout=30_000)


async def test_prompts_come_a_page_at_a_time_and_can_be_narrowed_to_failures(people: People, site: Site):
    task = await site.add_task("DONE", prompts=45, seeds=2, texts=[HOSTILE])
    await _fail(site, task, [3, 30, 44])
    page = await opened(people, task.id)
    prompts = part(page, "Prompts")
    rows = prompts.locator(".prompt")
    await expect(rows).to_have_count(20)
    await expect(rows.first).to_contain_text(HOSTILE)

    await prompts.get_by_role("button", name="Next").click()
    await expect(rows.first).to_contain_text("prompt 20")
    await prompts.get_by_role("button", name="Next").click()
    await expect(rows).to_have_count(5)
    await expect(prompts.get_by_role("button", name="Next")).to_be_disabled()
    await prompts.get_by_role("button", name="Before").click()
    await expect(rows.first).to_contain_text("prompt 20")

    await prompts.get_by_role("button", name="With failures").click()

    await expect(rows).to_have_count(3)
    await expect(rows.nth(1)).to_contain_text("prompt 30")
    await expect(rows.nth(1)).to_contain_text("the sampler gave up")
    assert await page.title() == "ComfyUI Data Label"


async def _fail(site: Site, task: TaskRows, prompts: list[int]) -> None:
    await site.database.pool.execute(
        "update batches set done = 1, failed = 1, reason = 'the sampler gave up' where id = any($1)",
        [task.batches[number] for number in prompts],
    )


async def test_a_worker_that_lacks_something_is_named_before_anything_is_queued(people: People, site: Site, line: Line):
    async with running_simulator() as simulator, running_simulator() as poor:
        poor.faults.missing_nodes = {"LatentBatchSeedBehavior"}
        await line.add_worker(simulator.url)
        await line.add_worker(poor.url, name=HOSTILE[:60])
        workflow = await line.add_workflow()
        task = await line.add_task(workflow, [await line.add_pool()])
        page = await opened(people, task["id"])

        workers = part(page, "Workers")
        await expect(workers).to_contain_text("1 of 2 workers can make these images; 1 cannot.")
        row = workers.get_by_role("listitem").filter(has_text=HOSTILE[:60])
        await expect(row.locator(".badge")).to_have_text("Cannot run this")
        await expect(row).to_contain_text("LatentBatchSeedBehavior")


async def test_a_run_that_nobody_can_go_on_with_says_what_it_waits_for(people: People, site: Site):
    task = await site.add_task("RUNNING", prompts=3, finished=False)
    reason = "It is switched off."
    await site.database.pool.execute("update workers set status = 'UNHEALTHY', reason = $1", reason)

    page = await opened(people, task.id)

    await expect(page.locator(".waiting-for")).to_contain_text("No healthy worker can run this workflow")


async def test_the_priority_can_be_set_in_every_state(people: People, site: Site):
    for state in ("DRAFT", "RUNNING", "DONE"):
        task = await site.add_task(state)
        page = await opened(people, task.id)
        field = page.get_by_label("Priority")
        await expect(field).to_have_value("0")
        await field.fill("2000")
        await expect(page.get_by_role("button", name="Set")).to_be_disabled()

        await field.fill("7")
        await page.get_by_role("button", name="Set").click()

        await expect(page.get_by_role("button", name="Set")).to_be_disabled()
        assert await site.database.pool.fetchval("select priority from tasks where id = $1", task.id) == 7
        await page.reload()
        await expect(page.get_by_label("Priority")).to_have_value("7")
        await page.context.close()


async def test_a_frozen_task_shows_that_it_is_locked_and_hands_out_its_snapshot(people: People, site: Site, line: Line):
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.frozen_task(prompts=2)
        page = await opened(people, task)
        await expect(page.locator(".locked")).to_contain_text("prompts, seeds and workflow can no longer change")

        async with page.expect_download() as download:
            await page.get_by_role("link", name="Snapshot").click()

        assert (await download.value).suggested_filename == f"task-{task}-snapshot.json"


async def test_a_pilot_shows_its_samples_and_what_they_tell(people: People, site: Site, line: Line):
    async with running_simulator() as simulator:
        await line.add_worker(simulator.url)
        task = await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=3)
        async with running_orchestrator(settings_for(site.data_dir, port=site.port), line.database.url):
            page = await opened(people, task["id"])
            await expect(part(page, "Pilot")).to_contain_text("No pilot was run yet.")

            await page.get_by_role("button", name="Pilot").click()
            await page.get_by_role("button", name="Start the pilot").click()

            pilot = part(page, "Pilot")
            await expect(pilot.locator(".samples img")).to_have_count(10, timeout=60_000)
            await expect(pilot).to_contain_text("The images fit as they are.", timeout=30_000)
            await expect(pilot).to_contain_text("One image takes")


async def test_the_list_leads_to_the_page_and_back(people: People, site: Site):
    await site.add_task("DONE", notes="harbour")
    page = await people.signed_in(Role.OPERATOR)

    await page.get_by_role("link", name="harbour", exact=True).click()

    await page.get_by_role("heading", name="harbour", level=1).wait_for()
    await page.get_by_role("link", name="Label them").wait_for()
    await page.locator(".back").click()
    await page.get_by_role("heading", name="Tasks", level=1).wait_for()


async def test_no_such_task_and_not_for_annotators(people: People, site: Site):
    people.expected.append("404")
    page = await opened(people, "0199a0b0-0000-7000-8000-000000000000")
    await page.get_by_role("heading", name="There is no such task").wait_for()

    task = await site.add_task("DONE")
    annotator: Person = await site.add_person(Role.ANNOTATOR)
    page = await people.visitor()
    await people.sign_in(page, annotator)
    await page.goto(f"/tasks/{task.id}")
    await page.get_by_role("heading", name="There is nothing here").wait_for()


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
async def test_people_who_use_no_eyes_or_no_mouse(
    people: People, site: Site, line: Line, axe: Check, device: dict[str, Any]
):
    async with running_task(line, site) as (task, _):
        failed = await site.add_task("DONE", prompts=2, failed=[1])
        await site.database.pool.execute("update batches set reason = 'it broke' where task_id = $1", failed.id)
        draft = await site.add_task("DRAFT")
        for shown in (task, failed.id, draft.id):
            page = await opened(people, shown, Role.ADMIN, device)
            await part(page, "Prompts").locator(".prompt").first.wait_for()
            await part(page, "Workers").locator(".worker").first.wait_for()
            await axe(page)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
            assert await page.evaluate(_SMALL_TARGETS) == []
            await page.context.close()


_SMALL_TARGETS = """() => [...document.querySelectorAll('button, input, a')].filter((one) => {
  const { width, height } = one.getBoundingClientRect();
  return width > 1 && (height < 43.5 || width < 43.5) && !one.closest('h1, h2');
}).map((one) => one.outerHTML.slice(0, 120))"""
