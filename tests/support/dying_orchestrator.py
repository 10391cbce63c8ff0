"""An orchestrator process that kills itself, kill -9, the n-th time that it passes a fault point.

python -m tests.support.dying_orchestrator DATABASE_URL DATA_DIR [POINT N]
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from comfylabel.orchestrator import fault_points
from comfylabel.orchestrator.process import run_orchestrator
from tests.support.app import settings_for
from tests.support.pipeline import QUICK


def die_at(point: str, times: int) -> None:
    passed = 0

    async def hook(reached: str) -> None:
        nonlocal passed
        passed += reached == point
        if passed == times:
            os.kill(os.getpid(), signal.SIGKILL)

    fault_points.install(hook)


if __name__ == "__main__":
    url, data_dir, *doom = sys.argv[1:]
    if doom:
        die_at(doom[0], int(doom[1]))
    asyncio.run(run_orchestrator(settings_for(Path(data_dir)), url, pace=QUICK))
