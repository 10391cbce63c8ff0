"""Starts `serve` or `orchestrate` with less patience than people have, a wall clock that may jump, steps that may be
slow, and, when asked, one rule of the product broken (tests/chaos/broken_rules.py).

python -m tests.chaos.launch serve|orchestrate CONTROL_FILE [--break RULE] [arguments of the command]
"""

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from comfylabel.cli import app, serving  # noqa: F401 - what reads a clock is imported before it is shifted
from comfylabel.cli.running import configure_logs, run
from comfylabel.cli.settings import read_settings
from comfylabel.comfy.client import Timeouts
from comfylabel.errors import ComfyLabelError
from comfylabel.orchestrator import fault_points
from comfylabel.orchestrator.process import Pace, run_orchestrator
from comfylabel.orchestrator.submission_life import Patience
from tests.chaos import broken_rules
from tests.chaos.control import Control, Dial

# What a person would wait for, much shorter; the rules are the same. A POST may last three seconds here, because the
# machine that runs the suite is busy with more than it.
POST_SECONDS = 3.0
LEASE_SECONDS = 4.0
SWEEP_SECONDS = 1.0
LEFTOVERS_SECONDS = 1.0
SETTLE_SECONDS = 0.3
WORKER_LOST_SECONDS = 4.0
DEADLINE_SECONDS = 12.0

_SLOW: dict[str, Dial] = {
    "after_reserve": "slow_reserve",
    "before_post": "slow_post",
    "after_answer": "slow_post",
    "after_history": "slow_history",
    "before_put": "slow_put",
    "after_put": "slow_put",
}


def shift_clock(control: Control) -> None:
    """Wrong are the clocks that the product's own modules read, and time.time; durations are measured elsewhere."""
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + control.get("clock")
    time.time_ns = lambda: real_time_ns() + int(control.get("clock") * 1e9)

    class ShiftedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=control.get("clock"))

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"comfylabel", "pgqueuer"} and getattr(module, "datetime", None) is datetime:
            module.datetime = ShiftedDatetime  # type: ignore[attr-defined]


def slow_down(control: Control) -> None:

    async def hook(point: str) -> None:
        dial = _SLOW.get(point)
        seconds = control.get(dial) if dial else 0.0
        if seconds:
            await asyncio.sleep(seconds)

    fault_points.install(hook)


def hurry() -> None:
    """The client's own patience with a POST; everything that waits for it to be over reads the same number."""

    names = list(Timeouts.__dataclass_fields__)
    defaults = list(Timeouts.__init__.__defaults__ or ())
    defaults[names.index("submit")] = POST_SECONDS
    Timeouts.__init__.__defaults__ = tuple(defaults)


def orchestrate() -> int:

    configure_logs()
    settings = read_settings()
    assert settings.database_url is not None
    patience = replace(
        Patience(),
        post=POST_SECONDS,
        settle=SETTLE_SECONDS,
        worker_lost=WORKER_LOST_SECONDS,
        deadline=DEADLINE_SECONDS,
    )
    pace = Pace(
        lease=timedelta(seconds=LEASE_SECONDS),
        sweep_seconds=SWEEP_SECONDS,
        leftovers_seconds=LEFTOVERS_SECONDS,
        patience=patience,
    )
    try:
        return run(run_orchestrator(settings, settings.database_url, pace=pace))
    except ComfyLabelError as error:  # as the command does
        sys.stderr.write(f"{error.message}\n")
        return 1


def serve(arguments: list[str]) -> None:

    sys.argv = ["comfylabel", "serve", "--no-announce", *arguments]
    app.main()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("serve", "orchestrate"))
    parser.add_argument("control", type=Path)
    parser.add_argument("--break", dest="rule")
    asked, rest = parser.parse_known_args()
    hurry()
    control = Control(asked.control)
    shift_clock(control)
    slow_down(control)
    if asked.rule:
        broken_rules.RULES[asked.rule]()
    if asked.command == "orchestrate":
        sys.exit(orchestrate())
    serve(rest)


if __name__ == "__main__":
    main()
