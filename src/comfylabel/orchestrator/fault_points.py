"""Named places at which a test may stop, delay or kill this process. Without a hook they cost one comparison."""

from collections.abc import Awaitable, Callable
from typing import Literal

FaultPoint = Literal[
    "after_reserve",
    "before_post",
    "after_answer",
    "after_history",
    "before_put",
    "after_put",
    "before_job_end",
]

Hook = Callable[[FaultPoint], Awaitable[None]]

_hooks: list[Hook] = []


def install(hook: Hook) -> None:
    _hooks.append(hook)


def clear() -> None:
    _hooks.clear()


async def reached(point: FaultPoint) -> None:
    for hook in _hooks:
        await hook(point)
