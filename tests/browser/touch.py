"""Fingers on a page, through the browser's own protocol: Playwright's touchscreen only taps.

Events go through the browser's input pipeline: touch-action, hit tests and clicks are the real ones. Each carries
its own moment, so that how fast a finger moves does not depend on how busy the machine is; none is sent before it.
"""

import asyncio
import time
from dataclasses import dataclass, field

from playwright.async_api import CDPSession, Locator, Page

Point = tuple[float, float]

FRAME = 0.016
# A drag of fewer events than these is not what a browser ever sees of a finger.
STEPS = 8


@dataclass
class Touch:
    cdp: CDPSession
    _now: float = field(default_factory=time.time)

    @classmethod
    async def of(cls, page: Page) -> "Touch":
        return cls(await page.context.new_cdp_session(page))

    async def down(self, *points: Point) -> None:
        self._now = max(self._now + FRAME, time.time())
        await self._send("touchStart", points)

    async def move(self, *points: Point, after: float = FRAME) -> None:
        self._now += after
        await self._send("touchMove", points)

    async def up(self) -> None:
        self._now += FRAME
        await self._send("touchEnd", ())

    async def tap(self, point: Point) -> None:
        await self.down(point)
        await self.up()

    async def double_tap(self, point: Point) -> None:
        """All of it is sent at once when its last moment has come, each with its own: on a machine that is slow to
        acknowledge the first tap, waiting for that would make two taps of them.
        """
        begun = max(self._now + FRAME, time.time())
        moments = [begun + step * FRAME for step in range(4)]
        self._now = moments[-1]
        await asyncio.sleep(self._now - time.time())
        kinds: list[tuple[str, tuple[Point, ...]]] = [("touchStart", (point,)), ("touchEnd", ())] * 2
        await asyncio.gather(*(self._dispatch(*kind, at=at) for kind, at in zip(kinds, moments, strict=True)))

    async def drag(self, start: Point, end: Point, seconds: float = 0.15, *, leave_at_speed: bool = False) -> None:
        """One finger goes down, moves evenly for so long, comes to rest, and leaves.

        A finger that leaves at speed starts a fling, and the emulation drops every tap until that has run out.
        """
        await self.down(start)
        for step in range(1, STEPS + 1):
            await self.move(_between(start, end, step / STEPS), after=seconds / STEPS)
        if not leave_at_speed:
            for step in range(1, 4):
                await self.move((end[0], end[1] + step), after=0.04)
        await self.up()

    async def spread(self, first: Point, second: Point, by: float) -> None:
        """Two fingers move apart by so many pixels each (together, where negative) and stay down."""
        await self.down(first, second)
        for step in range(1, STEPS + 1):
            way = by * step / STEPS
            await self.move((first[0] - way, first[1] - way), (second[0] + way, second[1] + way))

    async def _send(self, kind: str, points: tuple[Point, ...]) -> None:
        await asyncio.sleep(max(0.0, self._now - time.time()))
        await self._dispatch(kind, points, at=self._now)

    async def _dispatch(self, kind: str, points: tuple[Point, ...], at: float) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        await self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches, "timestamp": at})


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


async def middle_of(element: Locator) -> Point:
    box = await element.bounding_box()
    assert box is not None, "it is on the screen"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
