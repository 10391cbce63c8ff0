"""The labelling screen on a phone in Chromium, on the real server, against a bare page with four pictures."""

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import hatch_build
import orjson
from playwright.async_api import Browser

from bench.at_work import AtWork, add_ready_task, server_at_work
from bench.figure import Figure
from bench.machine import Idle
from bench.pictures import draw_files, link_files, link_for_bare_page
from bench.screen import PACE, Phone, chromium, p95, phone
from comfylabel.main import WEB
from tests.browser.conftest import DESK, PHONE

ROOT = Path(__file__).parents[1]
BARE = Path(__file__).parent / "baselines" / "tap_page.html"
DECISIONS = 40
TAPS = 60
TURNS = 6  # of taps on our page, then on the bare page, so that a busy moment hits both
SHIFTS_OVER = 20
TAKEN_AT_LEAST = 0.9  # of the decisions
BATCHES = 400
# One line, two, one, and more than is shown.
TEXTS = "repeat('a red cat on a wall, ', (array[1, 3, 1, 40])[1 + n % 4])"
LETTER = ".bar [aria-label='Choose A']"
PICTURE = "[data-shown] [data-place='0']"
BARE_LETTER = "#bar [aria-label='Choose A']"


async def measure() -> list[Figure]:
    await asyncio.to_thread(hatch_build.build_web, ROOT, say=lambda _: None)
    async with server_at_work() as at_work, chromium() as browser:
        drawn = await asyncio.to_thread(draw_files, at_work.object_path("drawn"))
        task_id = await add_ready_task(at_work.database, BATCHES, TEXTS)
        await link_files(at_work, drawn)
        with _bare_page(at_work.folder / "bare", drawn["tile_uri"]) as bare:
            screen = Screen(browser, at_work, task_id, bare)
            by_letter, by_picture = await screen.work(LETTER), await screen.work(PICTURE)
            shifts = [await screen.shifts(device) for device in (PHONE, DESK)]
            usual, slow = await screen.taps(throttle=1), await screen.taps(throttle=4)
    return [
        _work_figure(by_letter, by_picture),
        _script_figure(),
        _shift_figure(shifts),
        _fetches_figure(screen.fetched),
        _next_figure(usual),
        *_inp_figures(slow),
    ]


@dataclass
class Taps:
    """Milliseconds of each tap, on our page and on the bare one."""

    idle: float = 0.0
    painted: list[float] = field(default_factory=list)
    bare_painted: list[float] = field(default_factory=list)
    interactions: list[float] = field(default_factory=list)
    bare_interactions: list[float] = field(default_factory=list)


class Screen:
    """Each measurement is somebody who has never been here, on a browser with nothing in its cache."""

    def __init__(self, browser: Browser, at_work: AtWork, task_id: UUID, bare: str) -> None:
        self._browser = browser
        self._at_work = at_work
        self._label = f"{at_work.origin}/label/{task_id}"
        self._bare = bare
        self.fetched: list[int] = []  # how often each picture came over the network, of every person

    async def work(self, where: str) -> dict[str, float]:
        """Milliseconds of thread time a decision, by kind."""
        async with phone(self._browser) as person:
            await self._begin(person)
            place = await person.middle_of(where)
            await person.decide(place, 4)  # what is compiled at its first use is compiled
            before = await person.thread_work()
            await person.decide(place, DECISIONS)
            after = await person.thread_work()
            taken = await self._end(person, 4 + DECISIONS) - 4
            return {kind: 1000 * (after[kind] - before[kind]) / taken for kind in after}

    async def shifts(self, device: dict[str, Any]) -> float:
        """All that moved, also right after a tap, when browsers excuse it; from the cold load on."""
        async with phone(self._browser, device | {"has_touch": True}) as person:
            await self._begin(person)
            await person.decide(await person.middle_of(LETTER), SHIFTS_OVER)
            moved = await person.recorded("bench.shifted") + await person.recorded("bench.shiftedAfterTap")
            await self._end(person, SHIFTS_OVER)
            return float(moved)

    async def taps(self, *, throttle: int) -> Taps:
        async with phone(self._browser) as person, phone(self._browser) as bare:
            await self._begin(person)
            await bare.open(self._bare)
            sides = [(person, await person.middle_of(LETTER)), (bare, await bare.middle_of(BARE_LETTER))]
            for side, place in sides:
                await side.throttle(throttle)
                await side.decide(place, 4)
                await side.recorded("bench.begin()")
            idle = Idle()
            for _ in range(TURNS):
                for side, place in sides:
                    await side.decide(place, TAPS // TURNS)
            taps = Taps(idle.share())
            taps.painted, taps.interactions = await _times(person)
            taps.bare_painted, taps.bare_interactions = await _times(bare)
            await person.throttle(1)
            await self._end(person, 4 + TAPS)
            return taps

    async def _begin(self, person: Phone) -> None:
        await person.page.goto(self._at_work.new_person(f"person {uuid4()}"))
        await person.page.get_by_role("button", name="Sign out").wait_for()
        await person.open(self._label)

    async def _end(self, person: Phone, decisions: int) -> int:
        """How many decisions are stored. A tap is lost where a picture came late, and the page looks quick where many
        are: a few are allowed, so that a busy machine measures at all.
        """
        await asyncio.sleep(4 * PACE)  # the last answers are on their way
        stored: int = await self._at_work.database.pool.fetchval(
            "select count(*) from annotations where user_id = (select id from users order by id desc limit 1)"
        )
        assert TAKEN_AT_LEAST <= stored / decisions <= 1, f"{decisions} decisions, and {stored} answers are stored"
        self.fetched += person.fetched.values()
        return stored


async def _times(side: Phone) -> tuple[list[float], list[float]]:
    painted: list[float] = await side.recorded("bench.painted")
    assert TAKEN_AT_LEAST <= len(painted) / TAPS <= 1, f"{TAPS} taps, and {len(painted)} were painted"
    counted: list[float] = await side.recorded("[...bench.taps.values()]")
    # What took less than 16 ms is not counted one by one.
    return painted, counted + [16.0] * (TAPS - len(counted))


@contextmanager
def _bare_page(folder: Path, tiles: list[Path]) -> Iterator[str]:
    folder.mkdir()
    copy(BARE, folder / "index.html")
    link_for_bare_page(folder / "pictures", tiles, BATCHES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _work_figure(by_letter: dict[str, float], by_picture: dict[str, float]) -> Figure:
    letter, picture = sum(by_letter.values()), sum(by_picture.values())
    parts = ", ".join(f"{kind.removesuffix('Duration').lower()} {value:.1f}" for kind, value in by_picture.items())
    return Figure(
        "screen_cpu", max(letter, picture), "ms", 15, "<= 15 ms", lambda value, _: value <= 15,
        f"Script, style and layout of the page's main thread, in its own clock ticks, per decision over {DECISIONS} "
        f"decisions, {PACE} s apart, with everything that follows from one: a tap on a picture {picture:.1f} ms "
        f"({parts}), on a letter of the bar {letter:.1f} ms. Phone of 390 x 844 at 3x.",
    )  # fmt: skip


def _script_figure() -> Figure:
    manifest = orjson.loads((WEB / ".vite" / "manifest.json").read_bytes())
    route = _chunks(manifest, ["index.html", "src/label/LabelPage.tsx"])
    later = _chunks(manifest, manifest["src/label/LabelPage.tsx"].get("dynamicImports", [])) - route
    size, size_later = (sum(_gzipped(WEB / file) for file in files) / 1000 for files in (route, later))
    return Figure(
        "screen_js", size, "KB", 25, "<= 25 KB", lambda value, _: value <= 25,
        f"gzip, as the server sends it, of the {len(route)} scripts that the page of a task needs for its first "
        f"picture, by the build's manifest; {size_later:.1f} KB more follow: the outbox, fingers, sheets.",
    )  # fmt: skip


def _chunks(manifest: dict[str, Any], names: list[str]) -> set[str]:
    """The files of these parts and of all that they import at once."""
    files, seen, ahead = set(), set(), list(names)
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            files.add(manifest[name]["file"])
            ahead += manifest[name].get("imports", [])
    return {file for file in files if file.endswith(".js")}


def _gzipped(file: Path) -> int:
    return len(gzip.compress(file.read_bytes(), compresslevel=5))  # main.py's


def _shift_figure(shifts: list[float]) -> Figure:
    return Figure(
        "screen_shift", max(shifts), "CLS", 0.001, "< 0.001", lambda value, _: value < 0.001,
        f"Layout shift from the cold load over {SHIFTS_OVER} batches with prompts of one line, two, and more than "
        f"fits: phone {shifts[0]:.4f}, desk {shifts[1]:.4f}. Shifts after a tap, which browsers excuse, count too.",
    )  # fmt: skip


def _fetches_figure(fetched: list[int]) -> Figure:
    again = sum(times > 1 for times in fetched)
    return Figure(
        "screen_fetches", 100 * again / len(fetched), "%", 0, "<= 0", lambda value, _: value <= 0,
        f"Share of pictures that a page fetched over the network more than once, of {len(fetched)} in all the "
        "measurements of this screen.",
    )  # fmt: skip


def _next_figure(taps: Taps) -> Figure:
    return Figure(
        "screen_next", p95(taps.painted), "ms", p95(taps.bare_painted), "< 50 ms", lambda value, _: value < 50,
        f"From the finger on a letter until the next four pictures are painted, 95th percentile of {TAPS}, in "
        f"turns with the bare page; the machine was idle for {100 * taps.idle:.0f} % of the time.",
    )  # fmt: skip


def _inp_figures(taps: Taps) -> list[Figure]:
    ours, bare = p95(taps.interactions), p95(taps.bare_interactions)
    return [
        Figure(
            "screen_inp", ours, "ms", bare, "< 100 ms", lambda value, _: value < 100,
            f"INP, the 95th percentile of {TAPS} taps by the browser's own event timing, at a fourth of this "
            f"machine's speed, in turns with the bare page; it was idle for {100 * taps.idle:.0f} % of the time. "
            f"The next pictures were painted after {p95(taps.painted):.0f} ms (bare: {p95(taps.bare_painted):.0f}).",
        ),
        Figure(
            "screen_inp_bare", ours, "ms", bare, "<= 1.3x", lambda _, ratio: ratio <= 1.3,
            "The same, against the bare page.",
        ),
    ]  # fmt: skip
