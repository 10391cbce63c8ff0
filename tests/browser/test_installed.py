"""The page as an app on a phone, and on plain http in a local network, where browsers allow much less."""

import json

from playwright.async_api import Page

from tests.browser.chromium import LAN_ADDRESS
from tests.browser.conftest import PHONE, People, pictures_shown
from tests.browser.outbox import tiles_fetched, wait_for_worker
from tests.browser.site import Site
from tests.browser.sitting import Sitting


async def test_it_can_be_put_on_the_home_screen(people: People, site: Site):
    page = await people.visitor(PHONE)
    await people.sign_in(page, await site.add_person())
    await page.goto("/label")
    cdp = await page.context.new_cdp_session(page)

    found = await cdp.send("Page.getAppManifest")

    assert found["errors"] == []
    manifest = json.loads(found["data"])
    assert manifest["name"] == "ComfyUI Data Label"
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        answer = await page.context.request.get(icon["src"])
        assert answer.status == 200
        assert answer.headers["content-type"] == icon["type"]
    refused = (await cdp.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    # Every browser of a test is a private one.
    assert {reason["errorId"] for reason in refused} <= {"in-incognito"}


async def test_without_network_the_shell_stands_and_knows_what_waits(people: People, site: Site):
    people.expected.append("Failed to load resource")
    task = await site.add_task(prompts=2)
    sitting = await Sitting.begin(people, task, PHONE)
    page = sitting.page
    await wait_for_worker(page)
    await tiles_fetched(page, site, task, range(2))
    await page.context.set_offline(offline=True)
    for number in range(2):
        await sitting.shown(number)
        await sitting.button("Tie").tap()
    await sitting.unsent(2)

    await page.reload()

    await sitting.unsent(2)
    await sitting.phase("away")
    await page.goto("/label")
    await page.get_by_role("heading", name="The server does not answer").wait_for()


async def test_the_service_worker_keeps_no_answers_of_the_api_and_no_page_of_a_person(people: People, site: Site):
    """The shell only: what is private to one person is in no cache that the next person's page could read."""
    task = await site.add_task(prompts=2, texts=["a private prompt"])
    sitting = await Sitting.begin(people, task, PHONE)
    await wait_for_worker(sitting.page)
    await sitting.page.reload()
    await pictures_shown(sitting.page)

    kept = await sitting.page.evaluate(_KEPT)

    assert kept, "something is kept"
    assert not [address for address, _ in kept if "/api/" in address or "/images/" in address]
    assert not [address for address, text in kept if "a private prompt" in text]


_KEPT = """async () => {
  const found = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) found.push([request.url, await (await cache.match(request)).text()]);
  }
  return found;
}"""


async def test_plain_http_in_a_local_network(people: People, site: Site):
    """No service worker, no randomUUID, no wake lock, no locks, no lasting storage: it labels all the same."""
    people.expected.extend(["Failed to load resource", "Cross-Origin-Opener-Policy header has been ignored"])
    task = await site.add_task(prompts=4)
    origin = f"http://{LAN_ADDRESS}:{site.port}"
    page: Page = await people.label(task, PHONE, origin=origin)
    sitting = Sitting(page, site, task)
    await sitting.shown(0)
    assert await page.evaluate("[isSecureContext, 'serviceWorker' in navigator, 'randomUUID' in crypto]") == [False] * 3
    await pictures_shown(page)

    await sitting.button("Tie").tap()
    await sitting.sent([(0, "tie", None, None)])
    await sitting.shown(1)
    await page.context.set_offline(offline=True)
    await sitting.button("Spam").tap()
    await sitting.unsent(1)
    await page.context.set_offline(offline=False)
    await sitting.sent([(0, "tie", None, None), (1, "spam", None, None)])
    await page.reload()
    await sitting.shown(2)
