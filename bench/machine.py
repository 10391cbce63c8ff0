"""What this machine does while something is measured on it."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

AT_REST = 0.05  # of one core


class Idle:
    """The share of this machine's time in which nobody wanted it."""

    def __init__(self) -> None:
        self._begun = psutil.cpu_times()

    def share(self) -> float:
        now = psutil.cpu_times()
        passed = [after - before for before, after in zip(self._begun, now, strict=True)]
        return float((now.idle - self._begun.idle) / sum(passed[: len(now) - 2]))  # guest times are within user's


def cpu_seconds(pid: int) -> float:
    """Of a process and its children, those that have ended too."""
    root = psutil.Process(pid)
    times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))


def main_thread_seconds(pid: int) -> float:
    """Of the thread that runs a Python process's event loop."""
    return float(sum(one.user_time + one.system_time for one in psutil.Process(pid).threads() if one.id == pid))


def until_at_rest(pid: int, *, seconds: float = 1.0, most: float = AT_REST) -> None:
    """Until a process that has just been started takes no more than `most` of a core for so long."""
    while True:
        before = cpu_seconds(pid)
        time.sleep(seconds)
        if cpu_seconds(pid) - before < most * seconds:
            return


class Cpu:
    """Who took how much of the processors since it was made. `groups`: the processes of each, with their children."""

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._begun = self._now()
        self._idle = Idle()

    def spent(self) -> dict[str, float]:
        return {name: seconds - self._begun[name] for name, seconds in self._now().items()}

    def sentence(self) -> str:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.spent().items())
        return f"CPU of {spent}; the machine's {psutil.cpu_count()} cores were idle {100 * self._idle.share():.0f} %"

    def _now(self) -> dict[str, float]:
        return {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self._groups.items()}


class Memory(NamedTuple):
    """MB: what is shared counted in parts (PSS); `segments` of it are memory made to be shared, as PostgreSQL's."""

    pss: float
    segments: float

    @property
    def own(self) -> float:
        return self.pss - self.segments


def tree_memory(pids: Iterable[int]) -> Memory:
    """Of these processes and their children."""
    roots = [psutil.Process(pid) for pid in pids]
    everyone = {one.pid for root in roots for one in (root, *root.children(recursive=True))}
    found = [memory for pid in everyone if (memory := _memory(pid)) is not None]
    return Memory(sum(one.pss for one in found), sum(one.segments for one in found))


def tree_pss(pids: Iterable[int]) -> float:
    """MB of these processes and their children."""
    return tree_memory(pids).pss


def _memory(pid: int) -> Memory | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Pss")}
    return Memory(kilobytes.get("Pss", 0) / 1000, kilobytes.get("Pss_Shmem", 0) / 1000)
