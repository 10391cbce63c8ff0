"""Find a real Chromium, or install one: `python -m tests.browser.chromium` does that before the tests begin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# An address of a local network that leads here: what a browser allows on localhost or https only, it forbids there.
LAN_ADDRESS = "198.51.100.7"  # of RFC 5737's, which belong to nobody
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = [
    "--no-sandbox",  # root in a container has none to offer
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {LAN_ADDRESS} 127.0.0.1",
]


class NoChromium(Exception):
    """The browser tests need Chromium, and none could be found or installed."""


def ensure_chromium() -> str:
    """The program's path: the machine's own, else Debian's package, else the build that Playwright offers."""
    for find in (_on_path, _of_playwright, _from_apt, _from_playwright):
        if path := find():
            return path
    raise NoChromium(
        "The browser tests need Chromium: none is on PATH, apt-get could not install one (it needs root on Debian or "
        "Ubuntu) and neither could `playwright install chromium`. Install it and run the tests again."
    )


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name)) and _starts(path)), None)


def _of_playwright() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() and _starts(path) else None


def _from_apt() -> str | None:
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return None
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    return _on_path()


def _from_playwright() -> str | None:
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False, stdout=subprocess.DEVNULL)
    return _of_playwright()


def _starts(path: str) -> bool:
    """Ubuntu's `chromium` is a stub that asks for a snap; a Chromium without its libraries ends at once."""
    done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True)
    return done.returncode == 0 and ("Chrom" in done.stdout)


if __name__ == "__main__":
    print(ensure_chromium())  # noqa: T201  a program that says what it found
