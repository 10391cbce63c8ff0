"""Many callers, one statement: what arrives while a flight is under way goes together with the next one.

Alone, a caller waits for nothing. Under load the flights grow instead of becoming more, and with them what each item
costs sinks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from comfylabel.db.pool import AWAY

Item = TypeVar("Item")
Result = TypeVar("Result")

# So many rows are written in some ten milliseconds; whoever comes after them shall not wait longer.
MOST = 500


@dataclass(eq=False, slots=True)
class _Seat(Generic[Item, Result]):
    """One caller's item, and where its answer goes."""

    item: Item
    answer: "asyncio.Future[Result]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Coalescer(Generic[Item, Result]):
    """`fly(items)` answers one result an item, in their order, or raises and has changed nothing.

    `pause`: seconds from the beginning of one flight to the beginning of the next, for what nobody is in a hurry for.
    """

    def __init__(self, fly: Callable[[list[Item]], Awaitable[Sequence[Result]]], *, pause: float = 0.0) -> None:
        self._fly = fly
        self._pause = pause
        self._waiting: list[_Seat[Item, Result]] = []
        self._hurried = asyncio.Event()
        self._flights: asyncio.Task[None] | None = None
        self._last_begun = float("-inf")

    async def __call__(self, item: Item) -> Result:
        """The result of this item. Cancelling a wait takes the item back if it has not left, and hurts no other."""
        seat: _Seat[Item, Result] = _Seat(item)
        self._waiting.append(seat)
        if self._flights is None:
            self._flights = asyncio.create_task(self._fly_all())
        return await seat.answer

    def hurry(self) -> None:
        """The next flight leaves as soon as the one under way is over."""
        self._hurried.set()

    async def _fly_all(self) -> None:
        try:
            while self._waiting:
                await self._keep_pause()
                await self._fly_once()
        finally:
            self._flights = None
            for seat in self._waiting:  # this was cancelled: nobody else would ever tell them
                seat.answer.cancel()

    async def _keep_pause(self) -> None:
        loop = asyncio.get_running_loop()
        rest = self._last_begun + self._pause - loop.time()
        if rest > 0:
            try:
                async with asyncio.timeout(rest):
                    await self._hurried.wait()
            except TimeoutError:
                pass
        self._hurried.clear()
        self._last_begun = loop.time()

    async def _fly_once(self) -> None:
        aboard, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        aboard = [seat for seat in aboard if not seat.answer.done()]
        if not aboard:
            return
        try:
            await self._answer(aboard)
        except asyncio.CancelledError:
            for seat in aboard:
                seat.answer.cancel()
            raise

    async def _answer(self, aboard: list[_Seat[Item, Result]]) -> None:
        try:
            results = await self._fly([seat.item for seat in aboard])
        except AWAY as error:
            _tell(aboard, error)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if len(aboard) == 1:
                _tell(aboard, error)
                return
            for seat in aboard:  # it is the fault of one of them, which shall meet that one alone
                await self._answer([seat])
        else:
            for seat, result in zip(aboard, results, strict=True):
                if not seat.answer.done():
                    seat.answer.set_result(result)


def _tell(aboard: Sequence[_Seat[Item, Result]], error: Exception) -> None:
    for seat in aboard:
        if not seat.answer.done():
            seat.answer.set_exception(error)
