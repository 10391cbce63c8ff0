"""A phone in Chromium that labels at a person's pace, and what its browser says of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, CDPSession, Page, async_playwright

from tests.browser.chromium import FLAGS, ensure_chromium
from tests.browser.conftest import PHONE

RECORDER = (Path(__file__).parent / "recorder.js").read_text()
PACE = 0.8  # seconds between two decisions: nothing of the one is left when the next one comes
Place = tuple[float, float]
THREAD_WORK = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = await asyncio.to_thread(ensure_chromium)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Phone:
    """Taps go through the browser's own input, so that no script of ours runs in the page meanwhile."""

    page: Page
    devtools: CDPSession
    fetched: Counter[str] = field(default_factory=Counter)  # pictures that came over the network, by path
    _cached: set[str] = field(default_factory=set)

    async def listen(self) -> None:
        self.devtools.on("Network.requestServedFromCache", lambda event: self._cached.add(event["requestId"]))
        self.devtools.on("Network.responseReceived", self._on_response)
        await self.devtools.send("Network.enable")
        await self.devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def open(self, address: str) -> None:
        await self.page.goto(address)
        await self.page.wait_for_selector("[data-shown][data-batch]")
        await self.page.wait_for_function(_FIRST_IS_HERE)
        await asyncio.sleep(3 * PACE)  # and what is fetched ahead

    async def middle_of(self, selector: str) -> Place:
        box = await self.page.locator(selector).first.bounding_box()
        assert box, f"{selector} is not on the screen"
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    async def decide(self, place: Place, times: int) -> None:
        for _ in range(times):
            await self.tap(place)
            await asyncio.sleep(PACE)

    async def tap(self, place: Place) -> None:
        point = {"x": place[0], "y": place[1], "id": 0}
        await self.devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        await self.devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    async def throttle(self, rate: int) -> None:
        await self.devtools.send("Emulation.setCPUThrottlingRate", {"rate": rate})

    async def thread_work(self) -> dict[str, float]:
        """Seconds of the page's main thread so far, by its own clock: what else runs here does not count."""
        answer = await self.devtools.send("Performance.getMetrics")
        return {one["name"]: one["value"] for one in answer["metrics"] if one["name"] in THREAD_WORK}

    async def recorded(self, what: str) -> Any:
        return await self.page.evaluate(f"() => {what}")

    def _on_response(self, event: dict[str, Any]) -> None:
        response, path = event["response"], urlsplit(event["response"]["url"]).path
        from_cache = response.get("fromDiskCache") or event["requestId"] in self._cached
        if path.startswith("/images/") and not from_cache:
            self.fetched[path] += 1


_FIRST_IS_HERE = """() => {
  const pictures = [...document.querySelectorAll('[data-shown] img:not(.under)')];
  return pictures.length >= 4 && pictures.every((picture) => picture.complete && picture.naturalWidth > 0);
}"""


@asynccontextmanager
async def phone(browser: Browser, device: dict[str, Any] = PHONE) -> AsyncIterator[Phone]:
    """A new one, with nothing in its cache."""
    context = await browser.new_context(**device)
    context.set_default_timeout(30_000)
    await context.add_init_script(RECORDER)
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    made = Phone(page, devtools)
    await made.listen()
    try:
        yield made
    finally:
        await context.close()


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]
