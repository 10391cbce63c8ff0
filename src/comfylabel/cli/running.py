"""Run a command until it ends or is told to: Ctrl-C and SIGTERM cancel it, and it gets the time to clean up."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import structlog

# sysexits.h, EX_CONFIG: trying again will not help. A supervisor gives up on it.
UNUSABLE = 78


def run(main: Coroutine[Any, Any, int | None]) -> int:
    """The command's exit status; 0 when it was told to stop and did. A second signal ends it where it stands."""
    gc.freeze()  # what was imported stays: no collection has to look at it again
    gc.enable()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signalled(main))


async def _until_signalled(main: Coroutine[Any, Any, int | None]) -> int:
    command = asyncio.create_task(main)
    told = False

    def stop(number: int) -> None:
        nonlocal told
        if told:
            os._exit(128 + number)
        told = True
        command.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await command or 0
    except asyncio.CancelledError:
        if told:
            return 0
        raise


def _loop_factory() -> Any:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def configure_logs(*, quiet: bool = False) -> None:
    """One line an event on stderr: coloured for a person, JSON for a machine. `quiet`: warnings and errors only."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
