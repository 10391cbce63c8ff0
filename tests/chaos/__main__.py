"""Breaks the whole system at random and has strangers judge what is left.

python -m tests.chaos [--seed N] [--minutes N] [--runs N] [--only FAULT,FAULT] [--break RULE]

Each run has a seed, which decides what strikes and in what order. A run that is found at fault prints its seed and
keeps what it has left behind. The last line says `chaos: N runs, M faults`; the exit status is 0 when M is 0.
"""

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.chaos.one_run import Plan, Result, run

CHAOS_SECONDS = 20.0  # of one run; about a minute goes by with its beginning, its end and its audit
SHOWN = 20  # lines of a run; all of them are kept


def main() -> None:
    asked = _arguments()
    first = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    give_up_at = time.monotonic() + asked.minutes * 60 if asked.minutes else None
    faults, injected, struck, runs = 0, Counter[str](), Counter[str](), 0
    while runs < asked.runs if give_up_at is None else time.monotonic() < give_up_at:
        result = asyncio.run(_one(first + runs, asked))
        runs += 1
        faults += len(result.violations)
        injected += result.injected
        struck += result.struck
    _say(f"injected: {_listed(injected)}")
    _say(f"of which workers met: {_listed(struck)}")
    _say(f"chaos: {runs} runs, {faults} faults")
    sys.exit(1 if faults else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count up")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="begin new runs for so long, in place of --runs")
    parser.add_argument("--seconds", type=float, default=CHAOS_SECONDS, help="of trouble in each run")
    parser.add_argument("--job-seconds", type=float, help="how long a worker takes for a submission")
    parser.add_argument("--only", help="strike with these faults alone: tests/chaos/injection.py names them")
    parser.add_argument("--break", dest="rule", help="break one rule of the product: tests/chaos/broken_rules.py")
    parser.add_argument("--keep", action="store_true", help="keep what every run leaves behind")
    return parser.parse_args()


async def _one(seed: int, asked: argparse.Namespace) -> Result:
    directory = Path(tempfile.mkdtemp(prefix=f"comfylabel-chaos-{seed}-"))
    plan = Plan.of(seed, asked.seconds)
    if asked.job_seconds is not None:
        plan = replace(plan, job_seconds=asked.job_seconds)
    strikes = itertools.cycle(asked.only.split(",")) if asked.only else None
    result = await run(plan, directory, rule=asked.rule, strikes=strikes)
    _say(
        f"seed {seed}: {result.images} images, {result.answers} answers, {sum(result.injected.values())} strikes, "
        f"{len(result.violations)} faults, {result.seconds:.0f} s"
    )
    if result.foreseen_ends:
        _say(f"  {result.foreseen_ends} times a program of ours was started while the database was away, and ended")
    for line in result.violations[:SHOWN]:
        _say(f"  {line}")
    if len(result.violations) > SHOWN:
        _say(f"  and {len(result.violations) - SHOWN} more, in violations.txt")
    if result.violations or asked.keep:
        (directory / "violations.txt").write_text("".join(f"{line}\n" for line in result.violations))
        _say(f"  what is left of seed {seed}: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
