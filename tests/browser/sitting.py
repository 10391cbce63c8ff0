"""One person at the labelling page: what stands on the screen, and what a person does there.

A place is where a candidate stands, from 0; on the screen it has a letter (A..) and a key (1..).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import DESK, People, pictures_shown
from tests.browser.site import COLOURS, Person, Site
from tests.support.rows import TaskRows

LETTERS = "ABCDEFGHI"
# A tap on a picture is submitted so long after it, unless a second one follows; with some to spare.
GRACE_OVER_MS = 400
# An answer that follows the change of pictures more closely is a double tap; with some to spare.
GUARD_OVER_MS = 180


@dataclass
class Sitting:
    page: Page
    site: Site
    task: TaskRows

    @classmethod
    async def begin(
        cls, people: People, task: TaskRows, device: dict[str, Any] = DESK, person: Person | None = None
    ) -> "Sitting":
        sitting = cls(await people.label(task, device, person), people.site, task)
        await pictures_shown(sitting.page)
        return sitting

    async def shown(self, number: int) -> None:
        """The batch with that number stands on the screen, for long enough to be answered."""
        await self.page.wait_for_selector(f"[data-shown][data-batch='{self.task.batches[number]}']")
        await self.page.evaluate(READY, GUARD_OVER_MS)

    async def number(self) -> int:
        batch = await self.page.locator("[data-shown]").get_attribute("data-batch")
        return self.task.batches.index(UUID(batch))

    async def phase(self, phase: str) -> None:
        await self.page.wait_for_selector(f"main[data-phase='{phase}']")

    async def answer(self, number: int, keys: str) -> None:
        await self.shown(number)
        for key in keys:
            await self.page.keyboard.press(key)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def tile(self, place: int) -> Locator:
        return self.page.locator(f"[data-shown] [data-place='{place}']")

    async def marked(self, place: int, mark: str) -> None:
        await self.page.wait_for_selector(f"[data-shown] [data-place='{place}'][data-mark='{mark}']")

    async def order(self) -> list[int]:
        """Which candidate stands in each place, by what is painted there."""
        return [nearest_colour(pixel) for pixel in await self.page.evaluate(_PIXELS)]

    async def views(self) -> list[str]:
        """How each candidate's picture is zoomed and moved."""
        return await self.page.evaluate(_VIEWS)

    async def is_zoomed(self, *, zoomed: bool = True) -> None:
        await self.page.wait_for_selector(".stage[data-zoomed]" if zoomed else ".stage:not([data-zoomed])")

    async def unsent(self, count: int) -> None:
        await expect(self.page.locator(".unsent")).to_have_text(f"{count} unsent" if count else "")

    async def timers_over(self, milliseconds: int = GRACE_OVER_MS) -> None:
        """Every timer of the page that was to fire within so many milliseconds has fired: timers keep their order."""
        await self.page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", milliseconds)

    async def sent(self, expected: Sequence[tuple[int, str, int | None, int | None]]) -> None:
        """The server has these answers, and the page knows it."""
        await self.site.until_answers(self.task, expected)
        await self.unsent(0)


def nearest_colour(pixel: Sequence[int]) -> int:
    """The candidate whose colour this is; WebP keeps a colour to a few units only."""

    def distance(colour: int) -> int:
        return sum(abs(part - seen) for part, seen in zip(colour.to_bytes(3, "big"), pixel, strict=True))

    return min(range(len(COLOURS)), key=lambda number: distance(COLOURS[number]))


# What the change of batch sets going has two frames and their timers to begin. Its time runs from when it was painted.
READY = """async (ms) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame();
  await frame();
  const pictures = [...document.querySelectorAll('[data-shown] img')];
  await Promise.all(pictures.map((picture) => picture.decode().catch(() => {})));
  await frame();
  await new Promise((done) => setTimeout(done, ms));
}"""
_PIXELS = """() => [...document.querySelectorAll('[data-shown] [data-place]')]
  .sort((a, b) => a.dataset.place - b.dataset.place)
  .map((tile) => {
    const paper = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
    paper.drawImage(tile.querySelector('img'), 0, 0, 1, 1);
    return [...paper.getImageData(0, 0, 1, 1).data].slice(0, 3);
  })"""
_VIEWS = """() => [...document.querySelectorAll('[data-shown] [data-place]')]
  .map((tile) => getComputedStyle(tile.querySelector('.picture')).transform)"""
