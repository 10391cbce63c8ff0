"""Many people at one task, and what each of them is told."""

import asyncio

from playwright.async_api import Page, Response

from comfylabel.accounts.schemas import Role
from tests.browser.conftest import DESK, People
from tests.browser.outbox import tiles_fetched
from tests.browser.site import Site
from tests.browser.sitting import GUARD_OVER_MS, READY, Sitting
from tests.support.rows import TaskRows
from tests.support.waiting import until

EIGHT = 8


async def test_eight_people_answer_every_batch_once(people: People, site: Site):
    task = await site.add_task(prompts=24, seeds=2)
    pages = await asyncio.gather(
        *(people.label(task, DESK | {"viewport": {"width": 640, "height": 480}}) for _ in range(EIGHT))
    )

    await asyncio.gather(*(answer_all(page) for page in pages))

    rows = await site.rows(task)
    assert sorted(task.batches.index(row["batch_id"]) for row in rows) == list(range(24))
    assert not any(row["surplus"] for row in rows)
    assert len({row["user_id"] for row in rows}) > 1
    assert await site.database.pool.fetchval("select count(*) from leases") == 0
    assert await site.database.pool.fetchval("select max(taken) from batches") == 1


async def answer_all(page: Page) -> None:
    """As fast as the page lets a person, until it says that nothing is left."""
    batch = await _next(page, None)
    while batch != "none":
        await page.evaluate(READY, GUARD_OVER_MS)
        await page.keyboard.press("1")
        batch = await _next(page, batch)


async def _next(page: Page, answered: str | None) -> str:
    """The batch on the screen once it is another one, or "none"."""
    found = await page.wait_for_function(_NEXT, arg=answered, timeout=60_000)
    return str(await found.json_value())


_NEXT = """(answered) => {
  const phase = document.querySelector('main')?.dataset.phase;
  if (phase === 'finished' || phase === 'nothing') return 'none';
  const batch = document.querySelector('[data-shown]')?.dataset.batch;
  return phase === 'work' && batch !== answered && batch;
}"""


async def test_places_differ_between_people_and_rows_do_not(people: People, site: Site):
    task = await site.add_task(prompts=1, seeds=9, overlap=2)
    orders = []
    for letter in "AB":
        sitting = await Sitting.begin(people, task, person=await site.add_person(name=f"Person {letter}"))
        await sitting.shown(0)
        orders.append(await sitting.order())
        # Both mean the same picture, wherever it stands.
        await sitting.page.keyboard.press(str(orders[-1].index(4) + 1))
        await sitting.phase("finished")
        await sitting.unsent(0)

    assert orders[0] != orders[1]
    rows = await site.rows(task)
    assert [row["chosen_index"] for row in rows] == [4, 4]
    assert [row["slot_order"] for row in rows] == orders
    assert len({row["chosen_generation_id"] for row in rows}) == 1


async def test_a_blind_task_tells_annotators_nothing_of_seeds_and_models(people: People, site: Site):
    """Neither on the screen nor in anything that the browser was sent."""
    task = await site.add_task(prompts=2, blind=True)
    told: list[str] = []
    page = await people.visitor()

    async def read(response: Response) -> None:
        if "json" in response.headers.get("content-type", "") or response.request.resource_type == "document":
            told.append(await response.text())

    reading: list[asyncio.Task[None]] = []
    page.on("response", lambda response: reading.append(asyncio.create_task(read(response))))
    await people.sign_in(page, await site.add_person())
    await page.goto(f"/label/{task.id}")
    sitting = Sitting(page, site, task)
    await sitting.shown(0)
    await page.keyboard.press("i")
    sheet = page.get_by_role("dialog", name="About this batch")
    await sheet.get_by_text("prompt 0").wait_for()
    await asyncio.gather(*reading)

    seen = await page.locator("body").inner_text() + "".join(told)
    for secret in await _secrets(site, task):
        assert secret not in seen


async def _secrets(site: Site, task: TaskRows) -> list[str]:
    """1000..: the seeds of `add_task`."""
    name = await site.database.pool.fetchval("select name from workflows where id = $1", task.workflow_id)
    worker = await site.database.pool.fetchval("select name from workers where id = $1", task.worker_id)
    return [":1000,", "[1000", "1000 ", "sdxl", name, worker]


async def test_the_sheet_of_an_open_task_tells_where_the_pictures_come_from(people: People, site: Site):
    task = await site.add_task(prompts=1)
    sitting = await Sitting.begin(people, task)
    await sitting.shown(0)
    assert "1000" not in await sitting.page.locator("main").inner_text(), "on no picture"

    await sitting.page.keyboard.press("i")

    sheet = sitting.page.get_by_role("dialog", name="About this batch")
    await sheet.get_by_text("1000").first.wait_for()
    await sheet.get_by_text("sdxl").first.wait_for()


async def test_an_answer_after_the_batch_went_to_someone_else(people: People, site: Site):
    """Held too long offline: what was said is kept as surplus, and both people go on."""
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=2)
    ann = await Sitting.begin(people, task, person=await site.add_person(name="Ann"))
    await tiles_fetched(ann.page, site, task, range(2))
    await ann.page.context.set_offline(offline=True)
    await ann.answer(0, "1")
    await ann.unsent(1)
    await site.database.pool.execute("update labellers set seen_at = now() - interval '16 minutes'")

    bob = await Sitting.begin(people, task, person=await site.add_person(name="Bob"))
    await bob.answer(0, "2")
    await bob.shown(1)
    await until(lambda: site.answers(task))
    await ann.page.context.set_offline(offline=False)

    await ann.unsent(0)
    rows = {row["user_id"]: row["surplus"] for row in await site.rows(task)}
    assert sorted(rows.values()) == [False, True]


async def test_an_operator_labels_too(people: People, site: Site):
    task = await site.add_task(prompts=1)
    sitting = await Sitting.begin(people, task, person=await site.add_person(Role.OPERATOR))

    await sitting.answer(0, "t")

    await sitting.phase("finished")
    await sitting.sent([(0, "tie", None, None)])
