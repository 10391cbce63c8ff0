"""`site` is the real server, `browser` a real Chromium; `people` opens pages signed in through a link."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hatch_build
import pytest
from filelock import FileLock
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from comfylabel.accounts.schemas import Role
from tests.browser.chromium import FLAGS, ensure_chromium
from tests.browser.site import Site, running_site

ROOT = Path(__file__).parents[2]
DESK = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 3,
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}
# Installing Chromium, Node's packages and the UI happens in the first test that asks for them.
INSTALLING = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(INSTALLING))


@pytest.fixture(scope="session")
def chromium(session_dir: Path) -> str:
    with FileLock(session_dir / "chromium.lock"):
        return ensure_chromium()


@pytest.fixture(scope="session")
def web(session_dir: Path) -> Path:
    """web/ with its dev tools; the UI is built from what stands there now."""
    with FileLock(session_dir / "web.lock"):
        hatch_build.install_packages(ROOT / "web", dev=True)
        hatch_build.build_web(ROOT, say=print)
    return ROOT / "web"


@pytest.fixture
async def site(web: Path, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path / "data", database_url) as site:
        yield site


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@dataclass
class People:
    """Opens browsers of people, and remembers everything their pages complained about."""

    browser: Browser
    site: Site
    complaints: list[str] = field(default_factory=list)
    # What a page says when the server refuses a request, as a test wants it to.
    expected: list[str] = field(default_factory=list)

    async def visitor(self, device: dict[str, Any] = DESK) -> Page:
        context = await self.browser.new_context(**device, base_url=self.site.origin)
        context.set_default_timeout(30_000)
        await context.add_init_script(_WATCH)
        context.on("page", self._listen)
        return await context.new_page()

    async def signed_in(self, role: Role, device: dict[str, Any] = DESK) -> Page:
        page = await self.visitor(device)
        await page.goto(await self.site.link(role))
        await page.get_by_role("button", name="Sign out").wait_for()
        return page

    def unexpected(self) -> list[str]:
        return [said for said in self.complaints if not any(re.search(part, said) for part in self.expected)]

    def _listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} {message.location.get('url', '')}")


# Counts what a policy forbade and what moved, from before the first script of the page.
_WATCH = """
addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI}`));
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: 'layout-shift', buffered: true });
"""


@pytest.fixture
async def people(browser: Browser, site: Site) -> AsyncIterator[People]:
    """At the end no page may have complained: no script error, no policy violation, no failed request."""
    people = People(browser, site)
    yield people
    for context in browser.contexts:
        await context.close()
    assert people.unexpected() == []


Check = Callable[[Page], Awaitable[None]]


@pytest.fixture
def axe(web: Path) -> Check:
    """Fails with what axe finds wrong for people who cannot see well, or use no mouse."""
    source = (web / "node_modules/axe-core/axe.min.js").read_text()
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

    async def check(page: Page) -> None:
        await page.evaluate(source)
        found = await page.evaluate("(rules) => axe.run({ runOnly: rules })", rules)
        broken = [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found["violations"]]
        assert broken == [], json.dumps(broken, indent=1)

    return check


async def pictures_shown(page: Page) -> None:
    """The shown batch has all its pictures on the screen."""
    await page.wait_for_function(_ALL_LOADED)


_ALL_LOADED = """() => {
  const images = [...document.querySelectorAll('[data-shown] img')];
  return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0);
}"""


async def settled(page: Page) -> None:
    """Two frames later: what a state change draws is drawn."""
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
