"""Warm start and memory of `comfylabel up`."""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.figure import Figure
from bench.machine import tree_pss
from comfylabel.db.embedded import wheel_binaries

STARTS = 5
REST_SECONDS = 5.0
BARE = Path(__file__).parent / "baselines" / "bare_start.py"


async def measure() -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="comfylabel-bench-"))
    try:
        _start(folder).stop()  # the first start makes the database
        seconds, bare, memory = [], [], 0.0
        for number in range(STARTS):  # alternating, so that a busy moment hits both
            bare.append(_bare(folder))
            running = _start(folder)
            seconds.append(running.seconds)
            if number == STARTS - 1:
                time.sleep(REST_SECONDS)
                memory = running.memory()
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [_start_figure(statistics.median(seconds), statistics.median(bare)), _memory_figure(memory)]


def _start_figure(seconds: float, bare: float) -> Figure:
    return Figure(
        "footprint_start", seconds, "s", bare, "<= 3x", lambda _, ratio: ratio <= 3,
        f"Median of {STARTS} warm starts of `comfylabel up` until /readyz answers, against importing fastapi and "
        "asyncpg and starting a bare PostgreSQL, in turns.",
    )  # fmt: skip


def _memory_figure(memory: float) -> Figure:
    return Figure(
        "footprint_memory", memory, "MB", 300, "< 300 MB", lambda value, _: value < 300,
        f"Sum of PSS of all processes of `comfylabel up`, {REST_SECONDS:.0f} s after its start.",
    )  # fmt: skip


class _Running:
    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        self.process = process
        self.seconds = seconds

    def memory(self) -> float:
        """MB: what all its processes together take, shared pages counted once."""
        return tree_pss([self.process.pid])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def _start(folder: Path) -> _Running:
    port = _free_port()
    command = [sys.executable, "-m", "comfylabel.cli", "up", "--data-dir", str(folder / "data"), "--port", str(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return _Running(process, time.perf_counter() - begun)
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("comfylabel up ended") from None
            time.sleep(0.01)


def _bare(folder: Path) -> float:
    binaries = wheel_binaries().directory
    data, prefix = folder / "bare", _prefix()
    if not data.exists():
        data.mkdir(mode=0o700)
        make = [*prefix, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, BARE, str(binaries), str(data), str(folder), *prefix], stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    seconds = time.perf_counter() - begun
    process.wait(30)
    return seconds


def _prefix() -> list[str]:
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
