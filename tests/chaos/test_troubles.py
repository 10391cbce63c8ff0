"""What a log says of itself: what was foreseen, and what is a fault."""

import json

import pytest

from tests.chaos.troubles import is_foreseen_end, of_log

pytestmark = pytest.mark.chaos

POOL = """Failed to restore the pool connection floor; retrying
Traceback (most recent call last):
  File "pool.py", line 564, in _maintain_min_size
    await holder.connect()

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "uvloop/loop.pyx", line 2297, in uvloop.loop.Loop.create_unix_connection
ConnectionRefusedError: [Errno 111] Connection refused
"""
NEVER = "Task exception was never retrieved"
NEVER_RETRIEVED = f"""{NEVER}
future: <Task finished name='Task-7' coro=<step() done>>
Traceback (most recent call last):
  File "step.py", line 1, in step
ValueError: nobody asked
"""


STARTED_TOO_EARLY = """Traceback (most recent call last):
  File "uvloop/loop.pyx", line 2297, in uvloop.loop.Loop.create_unix_connection
ConnectionRefusedError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "pool.py", line 65, in connect
comfylabel.errors.Unavailable: The database does not answer: [Errno 111] Connection refused

Application startup failed. Exiting.
"""


def event(level: str, name: str, **more: str) -> str:
    return json.dumps({"event": name, "level": level} | more) + "\n"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (event("warning", "database_away"), []),
        (event("error", "runs_wait_for_a_worker"), []),
        (event("error", "stray_generations"), ["stray_generations"]),
        (event("error", "unexpected_error", traceback="Traceback\nKeyError: 1\n"), ["unexpected_error (KeyError: 1)"]),
        (event("error", "jobs_failed", exception="Traceback\nKeyError: 2"), ["jobs_failed (KeyError: 2)"]),
        (event("info", "worker_healthy") + '{"event": "cut sho', []),
        (POOL, []),
        (POOL + NEVER_RETRIEVED, [NEVER, f"{NEVER} (ValueError: nobody asked)"]),
        (STARTED_TOO_EARLY, []),
        ("Traceback (most recent call last):\n  x\nKeyError: 3\n", ["a traceback (KeyError: 3)"]),
        ("Exception in ASGI application\n", ["Exception in ASGI application"]),
        ("The database does not answer: [Errno 111] Connection refused\n", []),
    ],
)
def test_of_log(log, found):
    assert list(of_log(log)) == found


@pytest.mark.parametrize(
    ("status", "words", "foreseen"),
    [
        (1, "The database does not answer: [Errno 111] Connection refused", True),
        (1, "KeyError: 1", False),
        (0, "The database does not answer: [Errno 111] Connection refused", False),
        (-11, "", False),
    ],
)
def test_is_foreseen_end(status, words, foreseen):
    assert is_foreseen_end(status, words) is foreseen
