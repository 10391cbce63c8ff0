"""`make test-real-comfyui`: starts a genuine ComfyUI and runs the conformance suite on it and on the simulator, and
every other test marked `real_comfyui`. Further arguments go to pytest.

    python -m tests.conformance.real_comfyui.run [ARGUMENTS OF PYTEST]     in the root of the checkout
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conformance.real_comfyui.server import RealComfyUI

ROOT = Path(__file__).parents[3]
STATE = ROOT / "state" / "real_comfyui"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    comfyui = RealComfyUI(STATE)
    comfyui.install()
    with comfyui.running() as url:
        # Not COMFYLABEL_...: the tests forget a developer's own settings.
        told = {"URL": url, "OUTPUT": str(comfyui.output), "STATE": str(STATE)}
        environment = os.environ | {f"REAL_COMFYUI_{name}": value for name, value in told.items()}
        # One process: the server is one.
        selection = ["-m", "real_comfyui or conformance", "-n0", "tests/conformance", "tests/pipeline"]
        command = [sys.executable, "-m", "pytest", *selection, *sys.argv[1:]]
        return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
