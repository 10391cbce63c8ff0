"""Signing in by link in a real Chromium, and everything that can be wrong with a link."""

import re

import pytest
from playwright.async_api import Page, Route, expect

from comfylabel.accounts.schemas import Role
from tests.browser.conftest import DESK, PHONE, Check, People
from tests.browser.site import Site


async def test_a_link_signs_in_and_its_token_leaves_the_address(people: People, site: Site):
    page = await people.visitor()
    link = await site.link(Role.ANNOTATOR)
    assert "#token=" in link

    await page.goto(link)

    await page.get_by_role("heading", name="Nothing to label yet").wait_for()
    assert page.url == f"{site.origin}/label"
    await page.go_back()
    assert "token" not in page.url
    await page.goto("/")
    await page.get_by_role("heading", name="Nothing to label yet").wait_for()


async def test_an_operator_starts_with_the_tasks(people: People, site: Site):
    page = await people.signed_in(Role.OPERATOR)

    await page.get_by_role("heading", name="Tasks").wait_for()
    assert page.url == f"{site.origin}/tasks"


async def test_an_annotator_sees_nothing_but_labelling(people: People, site: Site):
    page = await people.signed_in(Role.ANNOTATOR)
    assert await page.get_by_role("navigation").count() == 0

    await page.goto("/tasks")

    await page.get_by_role("heading", name="There is nothing here").wait_for()


async def test_a_link_works_once(people: People, site: Site):
    people.expected.append("401")
    link = await site.link(Role.ANNOTATOR)
    first, second = await people.visitor(), await people.visitor()
    await first.goto(link)
    await first.get_by_role("button", name="Sign out").wait_for()

    await second.goto(link)

    await second.get_by_role("heading", name="Your link has expired").wait_for()
    assert await second.get_by_role("button", name="Sign out").count() == 0
    await second.get_by_role("link", name="To the start").click()
    await second.get_by_role("heading", name="Sign in with your link").wait_for()


async def test_half_a_link_says_so(people: People):
    page = await people.visitor()

    await page.goto("/sign-in#token=")

    await page.get_by_role("heading", name="This link is not complete").wait_for()


async def test_a_link_is_not_used_up_while_the_server_is_away(people: People, site: Site):
    people.expected.append("503")
    page = await people.visitor()
    away = True

    async def answer(route: Route) -> None:
        await (route.fulfill(status=503) if away else route.continue_())

    await page.route("**/api/auth/link", answer)
    await page.goto(await site.link(Role.ANNOTATOR))
    await page.get_by_role("heading", name="The server does not answer").wait_for()
    away = False
    await page.get_by_role("button", name="Try again").click()

    await page.get_by_role("button", name="Sign out").wait_for()


async def test_signing_out_ends_the_session(people: People, site: Site):
    people.expected.append("401")
    page = await people.signed_in(Role.ANNOTATOR)

    await page.get_by_role("button", name="Sign out").click()

    await page.get_by_role("heading", name="You are signed out").wait_for()
    assert (
        await site.database.pool.fetchval(
            "select count(*) from sessions s join users u on u.id = s.user_id where u.role = 'annotator'"
        )
        == 0
    )
    await page.reload()
    await page.get_by_role("heading", name="Sign in with your link").wait_for()


async def test_a_server_that_does_not_answer_is_asked_again(people: People, site: Site):
    people.expected.append("503")
    page = await people.visitor()
    await people.sign_in(page, await site.add_person())

    async def away(route: Route) -> None:
        await route.fulfill(status=503)

    await page.route("**/api/me", away)
    await page.goto("/")
    await page.get_by_role("heading", name="The server does not answer").wait_for()
    await page.unroute("**/api/me")
    await page.get_by_role("button", name="Try again").click()

    await page.get_by_role("heading", name="Nothing to label yet").wait_for()


async def test_every_page_forbids_foreign_code(people: People):
    page = await people.visitor()

    answer = await page.goto("/sign-in")

    assert answer is not None
    policy = await answer.header_value("content-security-policy") or ""
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    source = await answer.text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", source)


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone-dark", "desk-light"])
async def test_the_pages_of_signing_in_are_open_to_everybody(people: People, axe: Check, device: dict[str, object]):
    people.expected.append("401")
    page: Page = await people.visitor(device)
    await page.goto("/sign-in#token=none")
    await page.get_by_role("heading", name="Your link has expired").wait_for()
    await axe(page)
    await page.goto("/")
    await page.get_by_role("heading", name="Sign in with your link").wait_for()
    await axe(page)
    await expect(page).to_have_title("ComfyUI Data Label")
