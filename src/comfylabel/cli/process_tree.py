"""Our own programs as children: each is started again when it dies, and none outlives this process, even at kill -9."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from comfylabel.cli.running import UNUSABLE
from comfylabel.db.die_with_parent import bound_to_us
from comfylabel.errors import ComfyLabelError

_log = structlog.get_logger()

_STOP_SECONDS = 2.0  # Ctrl-C has 5 s for everything; the database stops after the programs
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_STABLE_SECONDS = 10  # who has lived that long is started again at once


class ProgramUnusableError(ComfyLabelError):
    """A program said that it cannot run with these settings."""


@dataclass(frozen=True, slots=True)
class Program:
    """One `comfylabel` command. `first_only`: arguments of the first start alone; `silent`: without its stdout."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    inherits: tuple[int, ...] = ()
    first_only: tuple[str, ...] = ()
    silent: bool = False


async def keep_running(program: Program, *, quiet: bool = False) -> None:
    """Until cancelled; then the program has ended too. `quiet`: it logs warnings and errors only."""
    usual = ("--quiet", *program.arguments) if quiet else program.arguments
    pause, arguments = _FIRST_PAUSE, (*usual, *program.first_only)
    while True:
        started = time.monotonic()
        process = await _start(program, arguments)
        try:
            status = await process.wait()
        finally:
            await _end(process)
        if status == UNUSABLE:
            raise ProgramUnusableError(f"{program.name} cannot run with these settings; it said why above.")
        pause = _FIRST_PAUSE if time.monotonic() - started > _STABLE_SECONDS else pause
        _log.warning("program_died", program=program.name, status=status, again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause, arguments = min(pause * 2, _LONGEST_PAUSE), usual


async def run_to_the_end(program: Program) -> tuple[int, str]:
    """The status, and what it said. It ends with whoever waits for it."""
    process = await _start(program, program.arguments, output=subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        await _end(process)
    return process.returncode or 0, output.decode(errors="replace")


async def _start(
    program: Program, arguments: tuple[str, ...], *, output: int | None = None
) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "comfylabel.cli", *arguments]
    return await asyncio.create_subprocess_exec(
        # SIGKILL: with this process the database goes too, so there is nothing left to end in order.
        *bound_to_us(command, when_we_die=signal.SIGKILL),
        env=program.environment,
        pass_fds=program.inherits,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if program.silent else output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in the terminal comes to this process alone, which then stops them in order
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    for number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
