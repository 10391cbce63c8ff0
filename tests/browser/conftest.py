"""`site` is the real server, `browser` a real Chromium for all tests; `people` opens pages of signed-in people."""

import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hatch_build
import pytest
import pytest_asyncio
from filelock import FileLock
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from comfylabel.accounts.schemas import Role
from comfylabel.accounts.service import SESSION_COOKIE
from tests.browser.chromium import FLAGS, ensure_chromium
from tests.browser.site import Person, Site, running_site
from tests.support.rows import TaskRows

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
            # One event loop for all of them, so that one Chromium can serve them all.
            if inspect.iscoroutinefunction(getattr(item, "function", None)):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


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


@pytest_asyncio.fixture(loop_scope="session")
async def site(web: Path, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path / "data", database_url) as site:
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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
    contexts: list[BrowserContext] = field(default_factory=list)

    async def visitor(self, device: dict[str, Any] = DESK, origin: str | None = None) -> Page:
        context = await self.browser.new_context(**device, base_url=origin or self.site.origin)
        self.contexts.append(context)
        context.set_default_timeout(30_000)
        await context.add_init_script(_WATCH)
        context.on("page", self._listen)
        return await context.new_page()

    async def signed_in(self, role: Role, device: dict[str, Any] = DESK) -> Page:
        """On the page that this role starts with."""
        page = await self.visitor(device)
        await self.sign_in(page, await self.site.add_person(role))
        await page.goto("/")
        await page.get_by_role("button", name="Sign out").wait_for()
        return page

    async def sign_in(self, page: Page, person: Person, origin: str | None = None) -> None:
        """Gives the browser the cookie that a sign-in link would have brought."""
        secret = await self.site.session_of(person)
        cookie = {"name": SESSION_COOKIE, "value": secret, "url": origin or self.site.origin, "httpOnly": True}
        await page.context.add_cookies([cookie])  # type: ignore[list-item]  # a TypedDict that is not exported

    async def label(
        self,
        task: TaskRows,
        device: dict[str, Any] = DESK,
        person: Person | None = None,
        origin: str | None = None,
    ) -> Page:
        """A person at the labelling page of the task; whatever it shows."""
        page = await self.visitor(device, origin)
        await self.sign_in(page, person or await self.site.add_person(), origin)
        await page.goto(f"/label/{task.id}")
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
window.shifted = window.shiftedInAll = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    window.shiftedInAll += entry.value;
    if (!entry.hadRecentInput) window.shifted += entry.value;
  }
}).observe({ type: 'layout-shift', buffered: true });
"""


@pytest_asyncio.fixture(loop_scope="session")
async def people(browser: Browser, site: Site) -> AsyncIterator[People]:
    """At the end no page may have complained: no script error, no policy violation, no failed request."""
    people = People(browser, site)
    yield people
    for context in people.contexts:
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
