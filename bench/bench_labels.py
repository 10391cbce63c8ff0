"""Eight annotators on 50k batches, beside 200k images of other tasks, in turns with a bare server."""

import asyncio
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.annotators import OfTheBareServer, OfTheServer, Side
from bench.at_work import AtWork, add_ready_task, process, server_at_work
from bench.client import Client
from bench.figure import Figure
from bench.machine import cpu_seconds
from bench.served import double_served
from tests.support.crowd import LOAD

ANNOTATORS = 8
BATCHES = OTHER_BATCHES = 50_000
STRETCH = 1000  # labels; a second or two, so that a busy moment hits both sides
STRETCHES = 45
ENDS = 5  # stretches at the start and, after 40k labels, at the end that are compared
ONE_BY_ONE_EVERY = 15
BARE = Path(__file__).parent / "baselines" / "dispenser.py"

# As the labelling page asks: 20 at a time, again when 10 are left.
AS_THE_PAGE = {"count": 20, "refill": 10}
ONE_BY_ONE = {"count": 1, "refill": 0}


@dataclass(frozen=True, slots=True)
class Sides:
    """`one_by_one`: the same server as `page`, asked for one batch a label as the bare one is."""

    page: Side
    one_by_one: Side
    bare: Side


async def measure() -> list[Figure]:
    async with server_at_work() as at_work:
        await _add_others(at_work)
        task_id = await add_ready_task(at_work.database, BATCHES)
        with _bare_server(await _bare_database(at_work)) as bare_origin:
            sides = Sides(
                Side([OfTheServer(at_work, task_id, f"page {n}", **AS_THE_PAGE) for n in range(ANNOTATORS)]),
                Side([OfTheServer(at_work, task_id, f"single {n}", **ONE_BY_ONE) for n in range(ANNOTATORS)]),
                Side([OfTheBareServer(Client(bare_origin), f"bare {n}") for n in range(ANNOTATORS)]),
            )
            server_share = await asyncio.to_thread(_in_turns, sides, at_work.pid)
        wrong = await _served_wrongly(at_work, task_id, sides)
        return [*_rates(sides, server_share), *_times(sides), _double(*wrong, sides), _late(sides)]


def _in_turns(sides: Sides, server: int) -> float:
    """The share of one core that the real server's process took while it was asked as the page asks."""
    shares = []
    for side in (sides.page, sides.one_by_one, sides.bare):
        side.warm_up(STRETCH // 2)
    for number in range(STRETCHES):
        sides.bare.stretch(STRETCH)
        before = cpu_seconds(server)
        seconds = sides.page.stretch(STRETCH)
        shares.append((cpu_seconds(server) - before) / seconds)
        if number % ONE_BY_ONE_EVERY == 0:
            sides.one_by_one.stretch(STRETCH)
    return statistics.median(shares)


async def _add_others(at_work: AtWork) -> None:
    connection = await asyncpg.connect(at_work.postgres.url)  # closed after: the load sets its session up
    await connection.execute(LOAD)
    await connection.close()


async def _bare_database(at_work: AtWork) -> str:
    """A database of its own in the same PostgreSQL."""
    await at_work.database.pool.execute("create database bare")
    url = at_work.postgres.url_of("bare")
    fill = [sys.executable, str(BARE), url, "--fill", str(OTHER_BATCHES), str(BATCHES)]
    await asyncio.to_thread(subprocess.run, fill, check=True)
    return url


@contextmanager
def _bare_server(url: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, str(BARE), url, "--listen", str(listener.fileno())]
        with process(command, listener=listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _served_wrongly(at_work: AtWork, task_id: UUID, sides: Sides) -> tuple[int, int]:
    """Ours and the bare server's: served to two people, or answered by two; as the clients and the tables say."""
    ours = double_served([*sides.page.ledgers, *sides.one_by_one.ledgers])
    row = await at_work.database.pool.fetchrow(
        "select count(*) as stored, count(distinct batch_id) as batches from annotations where task_id = $1", task_id
    )
    assert row
    assert row["stored"] == sides.page.labels + sides.one_by_one.labels, "an answer that was confirmed is not stored"
    connection = await asyncpg.connect(at_work.postgres.url_of("bare"))
    bare_twice = await connection.fetchval("select count(*) - count(distinct batch) from annotation")
    await connection.close()
    return ours + row["stored"] - row["batches"], double_served(sides.bare.ledgers) + bare_twice


def _rates(sides: Sides, server_share: float) -> list[Figure]:
    page, bare = statistics.median(sides.page.rates), statistics.median(sides.bare.rates)
    one_by_one = statistics.median(sides.one_by_one.rates)
    clients = [100 * statistics.median(side.client_share) for side in (sides.page, sides.bare)]
    return [
        Figure(
            "labels", page, "labels/s", bare, ">= 0.5", lambda _, ratio: ratio >= 0.5,
            f"Median of {STRETCHES} stretches of {STRETCH} labels of {ANNOTATORS} annotators as fast as they are "
            f"served, in turns with the bare server; {BATCHES} batches of 4 beside 200k images of other tasks, one "
            "server process, one PostgreSQL for both. Signed in by cookie they ask as the page does, for 20 batches "
            "when 10 are left, and send each answer alone in a list of one; the bare server is asked for one batch "
            "and sent one answer a label, with the same client, which took "
            f"{clients[0]:.0f} % and {clients[1]:.0f} % of one core; the real server took {100 * server_share:.0f} %.",
        ),
        Figure(
            "labels_one_by_one", one_by_one, "labels/s", bare, "reported", _always,
            f"The same, but one batch is asked for and one answer sent a label, as of the bare server: median of "
            f"{len(sides.one_by_one.rates)} stretches of the same run.",
        ),
    ]  # fmt: skip


def _times(sides: Sides) -> list[Figure]:
    what = {"next": "asking for 20 batches against one of the bare server", "submit": "sending one answer"}
    return [
        Figure(
            f"labels_{name}_p95", sides.page.p95(f"{name}_seconds"), "ms", sides.bare.p95(f"{name}_seconds"),
            "reported", _always,
            f"95th percentile of {sentence}, {ANNOTATORS} at a time without a pause: nearly all of it is waiting for "
            f"the other {ANNOTATORS - 1}.",
        )
        for name, sentence in what.items()
    ]  # fmt: skip


def _double(ours: int, bare: int, sides: Sides) -> Figure:
    return Figure(
        "labels_double_served", ours, "batches", bare, "<= 0", lambda *_: ours == bare == 0,
        f"Batches that two people held at once, that somebody was served after they were answered, or that were "
        f"answered twice, among {sides.page.labels + sides.one_by_one.labels} labels (bare: {sides.bare.labels}); by "
        "what the clients were sent and by the tables.",
    )  # fmt: skip


def _late(sides: Sides) -> Figure:
    start, late = (statistics.median(part) for part in (sides.page.rates[:ENDS], sides.page.rates[-ENDS:]))
    drift = statistics.median(sides.bare.rates[-ENDS:]) / statistics.median(sides.bare.rates[:ENDS])
    return Figure(
        "labels_after_40k", late, "labels/s", start, ">= 0.9", lambda _, ratio: ratio / min(drift, 1) >= 0.9,
        f"Labels per second after {(STRETCHES - ENDS) * STRETCH} labels against the first {ENDS * STRETCH}, medians; "
        f"the bare server went on at {drift:.2f} of its start in the same run, and what it lost is the machine's.",
    )  # fmt: skip


def _always(*_: float) -> bool:
    return True
