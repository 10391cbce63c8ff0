"""The processes of one run: each can be killed, frozen and started again, and none outlives the runner."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from comfylabel.db.die_with_parent import bound_to_us

ROOT = Path(__file__).parents[2]


# Below those that the kernel gives to whoever asks for any: a killed program finds its own still free.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@dataclass
class Program:
    """`python -m module arguments`, with its output appended to a file."""

    name: str
    module: str
    arguments: list[str]
    output: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    is_wanted: bool = False
    falls: list[tuple[int | None, str]] = field(default_factory=list)  # ended by itself: status and last words

    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # whoever starts or kills it: one at a time

    async def start(self) -> None:
        async with self._turn:
            self.is_wanted = True
            await self._launch()

    async def _launch(self) -> None:
        command = [sys.executable, "-m", self.module, *self.arguments]
        with self.output.open("ab") as stream:
            self.process = await asyncio.create_subprocess_exec(
                *bound_to_us(command, when_we_die=signal.SIGKILL),
                cwd=ROOT,
                env=_clean_environment() | self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """As kill -9."""
        async with self._turn:
            self.is_wanted = False
            if self.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()

    async def stay_up(self) -> None:
        """As a supervisor does: what ends by itself is started again."""
        async with self._turn:
            if self.is_wanted and not self.is_up:
                assert self.process is not None
                words = self.output.read_text(errors="replace").strip().splitlines()
                self.falls.append((self.process.returncode, words[-1] if words else ""))
                await self._launch()

    def freeze(self) -> None:
        """It stands still and knows nothing of it, as under a closed lid."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFYLABEL_", "DATABASE_URL"))}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
