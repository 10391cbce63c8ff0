"""What stands between a page's answers and the server, as tests put it there and watch it."""

import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Request

from tests.browser.site import Site
from tests.support.rows import TaskRows

SENDING = "**/api/annotations"


def elements(request: Request) -> list[dict[str, Any]]:
    """The answers and undos of a request, whichever form it has."""
    body = json.loads(request.post_data or "[]")
    return body if isinstance(body, list) else [body]


def sent_by(context: BrowserContext) -> list[dict[str, Any]]:
    """Grows by every answer and undo that leaves a page of this browser from now on."""
    sent: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/api/annotations"):
            sent.extend(elements(request))

    context.on("request", note)
    return sent


async def block(page: Page) -> None:
    """Nothing of what is answered from now on reaches the server."""
    await page.context.route(SENDING, lambda route: route.abort())


async def unblock(page: Page) -> None:
    await page.context.unroute(SENDING)
    await try_again(page)


async def try_again(page: Page) -> None:
    """What the browser says when its network is back; else the page waits for up to half a minute."""
    await page.evaluate("dispatchEvent(new Event('online'))")


async def wait_for_worker(page: Page) -> None:
    """The service worker has the shell: the next page comes through it."""
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")


async def tiles_fetched(page: Page, site: Site, task: TaskRows, numbers: range, candidates: int = 4) -> None:
    """The pictures that the tiles of these batches show are in the browser."""
    images = [(await site.keys(task, number, candidate))[0] for number in numbers for candidate in range(candidates)]
    await page.wait_for_function(_HAS_ALL, arg=[image.rpartition(".")[0] for image in images])


_HAS_ALL = """(wanted) => {
  const got = performance.getEntriesByType('resource').filter((it) => it.responseEnd > 0)
    .map((it) => it.name).filter((name) => /[.](640|1024)[.]webp/.test(name));
  return wanted.every((key) => got.some((name) => name.includes(key)));
}"""

# A function of the page: every picture of the batch on the screen stands in the size of its tile.
SHARP = """() => {
  const pictures = [...document.querySelectorAll('[data-shown] img.sharp')];
  return pictures.length > 0 && pictures.every((it) => it.complete && it.naturalWidth > 0);
}"""
