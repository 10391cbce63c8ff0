"""One flight at a time, and in it whoever came meanwhile; each gets its own answer, whatever happens to the others."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.db.coalescing import MOST, Coalescer


class Flights:
    """Doubles numbers; `gate` holds a flight back, `faults` are raised by the flights in turn, `poison` by one item."""

    def __init__(self, poison: int | None = None) -> None:
        self.flown: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.faults: list[Exception | None] = []
        self.poison = poison
        self.under_way = 0

    async def __call__(self, items: list[int]) -> list[int]:
        self.under_way += 1
        assert self.under_way == 1
        try:
            self.flown.append(items)
            self.begun.set()
            await self.gate.wait()
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None:
                raise fault
            if self.poison in items:
                raise ValueError(self.poison)
            return [2 * item for item in items]
        finally:
            self.under_way -= 1


async def test_alone_it_flies_at_once_and_under_load_together():
    flights = Flights()
    ask = Coalescer(flights)
    assert await ask(1) == 2
    flights.gate.clear()
    flights.begun.clear()
    first = asyncio.create_task(ask(2))
    await flights.begun.wait()
    others = [asyncio.create_task(ask(number)) for number in (3, 4, 5)]
    await asyncio.sleep(0)
    flights.gate.set()
    assert await asyncio.gather(first, *others) == [4, 6, 8, 10]
    assert flights.flown == [[1], [2], [3, 4, 5]]


async def test_a_database_that_is_away_is_told_to_all_of_the_flight_and_the_next_one_flies():
    flights = Flights()
    flights.faults = [ConnectionError("gone")]
    ask = Coalescer(flights)
    told = await asyncio.gather(ask(1), ask(2), return_exceptions=True)
    assert [type(error) for error in told] == [ConnectionError, ConnectionError]
    assert await ask(3) == 6


async def test_what_one_item_breaks_is_told_to_that_one_alone():
    flights = Flights(poison=2)
    ask = Coalescer(flights)
    told = await asyncio.gather(ask(1), ask(2), ask(3), return_exceptions=True)
    assert told[0] == 2
    assert isinstance(told[1], ValueError)
    assert told[2] == 6


async def test_a_caller_that_goes_away_takes_its_item_back_and_hurts_no_other():
    flights = Flights()
    ask = Coalescer(flights)
    flights.gate.clear()
    aboard, beside = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
    await flights.begun.wait()
    waiting, patient = asyncio.create_task(ask(3)), asyncio.create_task(ask(4))
    await asyncio.sleep(0)
    for task in (aboard, waiting):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    flights.gate.set()
    assert list(await asyncio.gather(beside, patient)) == [4, 8]
    assert flights.flown == [[1, 2], [4]]


async def test_nobody_waits_for_ever_when_the_flights_are_cancelled():
    flights = Flights()
    ask = Coalescer(flights)
    flights.gate.clear()
    aboard = asyncio.create_task(ask(1))
    await flights.begun.wait()
    waiting = asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    assert ask._flights is not None
    ask._flights.cancel()
    for task in (aboard, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_pause_keeps_the_next_flight_on_the_ground_until_somebody_is_in_a_hurry():
    flights = Flights()
    ask = Coalescer(flights, pause=3600)
    assert await ask(1) == 2  # the first one leaves at once
    rest = [asyncio.create_task(ask(number)) for number in (2, 3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert flights.flown == [[1]]
    ask.hurry()
    assert await asyncio.gather(*rest) == [4, 6]
    assert flights.flown == [[1], [2, 3]]


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.integers(0, 3), st.sampled_from(["stays", "stays", "goes"])), max_size=40
    ),
    st.lists(st.sampled_from([None, None, ConnectionError("gone")]), max_size=8),
)
def test_each_gets_its_own_answer_or_the_fault_of_its_flight(callers, faults):
    """Callers arrive some turns of the loop apart; some go away; some flights fail."""

    async def story() -> None:
        flights = Flights()
        flights.faults = list(faults)
        ask = Coalescer(flights)
        tasks = []
        for number, turns, fate in callers:
            task = asyncio.create_task(ask(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            if fate == "goes":
                task.cancel()
            tasks.append((number, fate, task))
        for number, fate, task in tasks:
            try:
                assert await task == 2 * number
            except ConnectionError:
                assert any(faults)
            except asyncio.CancelledError:
                assert fate == "goes"
        assert sum(map(len, flights.flown)) <= len(callers)

    asyncio.run(story())


async def test_a_flight_is_never_larger_than_it_may_be():
    flights = Flights()
    ask = Coalescer(flights)
    numbers = range(2 * MOST + 1)
    assert await asyncio.gather(*(ask(number) for number in numbers)) == [2 * number for number in numbers]
    assert max(map(len, flights.flown)) == MOST
