"""Live pages of a real server: they do not keep it from stopping."""

import signal
from pathlib import Path

import aiohttp
import pytest

from tests.cli.conftest import started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_open_pages_end_with_the_server(tmp_path: Path, database_url: str, number: signal.Signals) -> None:
    """To their end: a connection that had to be cut would be an error here, and so would a wait."""
    async with started(tmp_path, "serve", "--port", "0", "--auth", "off", DATABASE_URL=database_url) as command:
        origin = (await command.read_until(r"ComfyUI Data Label: (http://\S+)")).group(1)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{origin}/api/events") as first,
            session.get(f"{origin}/api/events") as second,
        ):
            assert (first.status, second.status) == (200, 200)
            command.process.send_signal(number)
            assert (await first.read(), await second.read()) == (b"", b"")  # no task runs, no worker is there
        assert await command.process.wait() == 0
        assert "Traceback" not in await command.read_rest()
