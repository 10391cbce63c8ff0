"""The command line as a user runs it: a process of its own, with an environment of its own."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from comfylabel.db.embedded import EmbeddedPostgres
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass
class Command:
    """A running `comfylabel` command and what it has printed so far."""

    process: asyncio.subprocess.Process
    printed: str = ""

    async def read_until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.printed)):
            line = await asyncio.wait_for(self.process.stdout.readline(), 60)
            assert line, f"it ended before saying {pattern!r}:\n{self.printed}"
            self.printed += line.decode()
        return found

    async def read_rest(self) -> str:
        """All that it has printed, once it has ended."""
        assert self.process.stdout is not None
        self.printed += (await asyncio.wait_for(self.process.stdout.read(), 60)).decode()
        return self.printed

    @property
    def tree(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def child(self, *words: str) -> psutil.Process | None:
        """The first process under the command whose command line holds these words."""
        for process in self.tree.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if set(words) <= set(process.cmdline()):
                    return process
        return None

    def kill_everything(self) -> None:
        for one in self.everything():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    def everything(self) -> list[psutil.Process]:
        return [self.tree, *self.tree.children(recursive=True)]


def environment(data_dir: Path) -> dict[str, str]:
    return os.environ | {"COMFYLABEL_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}


@contextlib.asynccontextmanager
async def started(data_dir: Path, *arguments: str, **more: str) -> AsyncIterator[Command]:
    """Ended with all its children when the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfylabel.cli", *arguments),
        env=environment(data_dir) | more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.returncode is None:
            command.kill_everything()
            await process.wait()
        # What is killed cannot tidy up behind it; the next start would.
        shutil.rmtree(EmbeddedPostgres(data_dir / "postgres").socket_dir, ignore_errors=True)


async def comfylabel(data_dir: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """Run to the end: exit status, and what it said on both streams."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfylabel.cli", *arguments),
        env=environment(data_dir) | more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def answers(url: str) -> int | None:
    """The HTTP status, or None when nobody takes the connection, or answers on it for a minute."""
    timeout = aiohttp.ClientTimeout(total=60)
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status
    return None


async def until_gone(processes: list[psutil.Process]) -> None:
    def all_gone() -> bool:
        return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in processes)

    await until(all_gone)


@contextlib.asynccontextmanager
async def serving(data_dir: Path, database_url: str) -> AsyncIterator[str]:
    """The origin of a `comfylabel serve` on that database."""
    async with started(data_dir, "serve", "--port", "0", DATABASE_URL=database_url) as command:
        yield (await command.read_until(r"ComfyUI Data Label at (http://\S+)")).group(1)
