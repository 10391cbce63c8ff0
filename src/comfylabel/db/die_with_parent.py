"""Run a command that ends when its parent ends, even at kill -9 of the parent.

    python -IS die_with_parent.py PARENT_PID SIGNAL UID GID COMMAND...

A small program of its own, because code between fork and exec is unsafe in a process with threads, and
because the kernel forgets the wish for a signal when a process changes its user: so the user is changed
here first (-1 keeps it). It imports nothing of comfylabel. Without prctl (macOS) the command simply runs; a
server left behind is found at the next start.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def bound_to_us(command: Sequence[str], *, when_we_die: signal.Signals, uid: int = -1, gid: int = -1) -> list[str]:
    """What to start so that `command`, named by an absolute path, gets that signal when this process ends."""
    wish = (os.getpid(), int(when_we_die), uid, gid)
    return [sys.executable, "-IS", __file__, *map(str, wish), *command]


def main() -> None:
    parent, signal_number, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[5:]  # the first is an absolute path
    libc = ctypes.CDLL(None)  # before the user changes: Python's own library may be out of the new one's reach
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the wish was known
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the caller is our own supervisor


if __name__ == "__main__":
    main()
