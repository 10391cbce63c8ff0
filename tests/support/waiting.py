"""Wait for something to become true, instead of sleeping for as long as it might take."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def until(condition: Callable[[], Any | Awaitable[Any]], timeout: float = 30) -> Any:
    """The first truthy answer of `condition` (plain or async), asked every 10 ms."""
    give_up_at = time.monotonic() + timeout
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not true within {timeout} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)
