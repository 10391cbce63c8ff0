"""Which pictures a page asks for, in words: (number of the batch, candidate, size), in the order of asking.

It counts what the browser's cache answers too; `Site.served` does not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.async_api import Page, Request

from tests.browser.site import SIDES, Site
from tests.support.rows import TaskRows

Picture = tuple[int, int, str]


@dataclass
class RequestLog:
    names: dict[str, Picture]
    asked: list[Picture] = field(default_factory=list)

    @classmethod
    async def of(cls, page: Page, site: Site, task: TaskRows) -> "RequestLog":
        rows = await site.database.pool.fetch(_PICTURES, task.id)
        names = {
            f"/images/{row[column]}": (row["position"], row["candidate_index"], column.removesuffix("_uri"))
            for row in rows
            for column in (*SIDES, "image_uri")
        }
        log = cls(names)
        page.on("request", log._begin)
        return log

    def of_size(self, *sizes: str) -> list[Picture]:
        return [picture for picture in self.asked if picture[2] in sizes]

    def batches(self, *sizes: str) -> set[int]:
        return {number for number, _, _ in self.of_size(*sizes)}

    def picture(self, url: str) -> Picture | None:
        return self.names.get(urlsplit(url).path)

    def _begin(self, request: Request) -> None:
        if picture := self.picture(request.url):
            self.asked.append(picture)


_PICTURES = """
select b.position, g.candidate_index, g.image_uri, g.thumbnail_uri, g.tile_uri, g.preview_uri
from generations g join batches b on b.id = g.batch_id where g.task_id = $1 and g.state = 'done'
"""


@dataclass
class Valve:
    """Holds the pictures of coming batches back at the server, and lets them through one by one.

    Not by a route of the page: with one the browser's cache answers nothing, and what is here is fetched again.
    """

    log: RequestLog
    first: int
    waiting: list[tuple[Picture, asyncio.Event]] = field(default_factory=list)
    is_open: bool = False

    @classmethod
    @asynccontextmanager
    async def on(cls, log: RequestLog, site: Site, first: int = 1) -> AsyncIterator["Valve"]:
        """From the batch with that number on; open again at the end."""
        valve = site.gate = cls(log, first)
        try:
            yield valve
        finally:
            valve.open()
            site.gate = None

    async def pass_through(self, address: str) -> None:
        picture = self.log.picture(address)
        if picture is not None and picture[0] >= self.first and not self.is_open:
            passing = asyncio.Event()
            self.waiting.append((picture, passing))
            await passing.wait()

    @property
    def held(self) -> list[Picture]:
        return [picture for picture, passing in self.waiting if not passing.is_set()]

    def let_through(self, count: int) -> None:
        for _, passing in [each for each in self.waiting if not each[1].is_set()][:count]:
            passing.set()

    def open(self) -> None:
        self.is_open = True
        self.let_through(len(self.waiting))
