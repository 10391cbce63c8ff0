"""The page of the workers in a real Chromium: health, figures, and what an admin can do about them."""

from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from comfylabel.accounts.schemas import Role
from comfylabel.comfy.simulator import running_simulator
from comfylabel.db.notifications import notify
from tests.browser.conftest import DESK, PHONE, Check, People
from tests.browser.site import HOSTILE, Site
from tests.support.rows import add_worker


async def opened(people: People, device: dict[str, Any] = DESK) -> Page:
    page = await people.signed_in(Role.ADMIN, device)
    await page.get_by_role("link", name="Workers", exact=True).click()
    await page.get_by_role("heading", name="Workers", level=1).wait_for()
    return page


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


async def test_health_in_words_and_why(people: People, site: Site):
    async with site.database.transaction() as connection:
        await add_worker(connection, "gpu-1")
        await add_worker(connection, "gpu-2", status="UNHEALTHY", reason="No answer within 5 s.")
        await add_worker(connection, HOSTILE, enabled=False)

    page = await opened(people)

    await expect(page.locator("main")).to_contain_text("1 of 3 workers are healthy, 1 switched off.")
    await expect(card(page, "gpu-1").locator(".badge")).to_have_text("Healthy")
    await expect(card(page, "gpu-2").locator(".badge")).to_have_text("Away")
    await expect(card(page, "gpu-2")).to_contain_text("No answer within 5 s.")
    await expect(card(page, HOSTILE).locator(".badge")).to_have_text("Switched off")
    assert await page.title() == "ComfyUI Data Label"


async def test_a_worker_that_goes_away_is_heard_of(people: People, site: Site):
    async with site.database.transaction() as connection:
        worker = await add_worker(connection, "gpu-1")
    page = await opened(people)
    await expect(card(page, "gpu-1").locator(".badge")).to_have_text("Healthy")

    async with site.database.transaction() as connection:
        await connection.execute("update workers set status = 'UNHEALTHY', reason = 'Unplugged.' where id = $1", worker)
        await notify(connection, workers=[worker])

    await expect(card(page, "gpu-1").locator(".badge")).to_have_text("Away", timeout=9_000)
    await expect(card(page, "gpu-1")).to_contain_text("Unplugged.")


async def test_a_worker_is_tested_drained_and_switched_on_again(people: People, site: Site):
    async with running_simulator() as simulator:
        async with site.database.transaction() as connection:
            worker = await add_worker(connection, "gpu-1", base_url=simulator.url)
        page = await opened(people)
        one = card(page, "gpu-1")

        await one.get_by_role("button", name="Test").click()
        await expect(one.get_by_role("status")).to_have_text("It answers: 0 running, 0 waiting.")

        await one.get_by_role("button", name="Drain").click()
        await expect(one.locator(".badge")).to_have_text("Switched off")
        assert not await site.database.pool.fetchval("select enabled from workers where id = $1", worker)

        await one.get_by_role("button", name="Switch on").click()
        await expect(one.locator(".badge")).to_have_text("Healthy")
        assert await site.database.pool.fetchval("select enabled from workers where id = $1", worker)


async def test_a_test_that_fails_says_why(people: People, site: Site):
    async with running_simulator() as simulator:
        url = simulator.url
    async with site.database.transaction() as connection:
        await add_worker(connection, "gpu-1", base_url=url)
    page = await opened(people)

    await card(page, "gpu-1").get_by_role("button", name="Test").click()

    await expect(card(page, "gpu-1").get_by_role("status")).to_contain_text(url)


async def test_operators_have_no_such_page(people: People):
    page = await people.signed_in(Role.OPERATOR)
    assert await page.get_by_role("link", name="Workers", exact=True).count() == 0

    await page.goto("/workers")

    await page.get_by_role("heading", name="There is nothing here").wait_for()


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
async def test_people_who_use_no_eyes_or_no_mouse(people: People, site: Site, axe: Check, device: dict[str, Any]):
    async with site.database.transaction() as connection:
        await add_worker(connection, "gpu-1", device="cuda:0 NVIDIA", vram_total=2**34, vram_free=2**33)
        await add_worker(connection, "gpu-2", status="UNHEALTHY", reason="No answer within 5 s.")
        await add_worker(connection, "gpu-3", enabled=False)
    page = await opened(people, device)
    await card(page, "gpu-3").wait_for()

    await axe(page)

    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"
