"""`comfylabel up` as one process tree: what dies comes back, and nothing outlives it."""

import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Command, answers, comfylabel, started, until_gone
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ADDRESS = r"ComfyUI Data Label at (http://\S+)"
LINK = r"Sign in[^\n]*(http://\S+token=\S+)"


async def until_up(command: Command) -> str:
    """The origin, once everything runs and the web server answers."""
    origin = (await command.read_until(ADDRESS)).group(1)
    await command.read_until(LINK)

    async def complete() -> bool:
        return command.child("orchestrate") is not None and await answers(f"{origin}/readyz") == 200

    await until(complete)
    return origin


async def test_ctrl_c_ends_everything_and_the_next_start_finds_its_data(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        await until_up(command)
        status, _ = await comfylabel(tmp_path, "user", "add", "ann")  # while it runs: on the same database
        assert status == 0
        processes = command.everything()
        assert len(processes) >= 7  # itself, two programs, PostgreSQL's own
        command.process.send_signal(signal.SIGINT)
        assert await command.process.wait() == 0
        await until_gone(processes)
        assert "Traceback" not in await command.read_rest()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    status, output = await comfylabel(tmp_path, "user", "list")
    assert status == 0
    assert "ann" in output


async def test_each_child_killed_alone_comes_back(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        origin = await until_up(command)
        for words in (("serve",), ("orchestrate",)):
            killed = command.child(*words)
            assert killed is not None
            killed.kill()

            def is_back(killed: psutil.Process = killed, words: tuple[str, ...] = words) -> bool:
                again = command.child(*words)
                return again is not None and again.pid != killed.pid

            await until(is_back)
        # The socket stayed open meanwhile: a request waits for the server instead of being refused.
        assert await answers(f"{origin}/healthz") == 200
        assert command.printed.count("Sign in") == 1


async def test_kill_9_of_the_parent_alone_ends_all(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        await until_up(command)
        processes = command.everything()
        command.process.kill()
        await command.process.wait()
        await until_gone(processes)
    async with started(tmp_path, "up", "--port", "0") as command:
        await until_up(command)


async def test_kill_9_of_everything_and_start_again(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        await until_up(command)
        assert (await comfylabel(tmp_path, "user", "add", "ann"))[0] == 0
        command.kill_everything()
        await command.process.wait()
    async with started(tmp_path, "up", "--port", "0") as command:
        await until_up(command)
        assert "ann" in (await comfylabel(tmp_path, "user", "list"))[1]


async def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        origin = await until_up(command)
        status, output = await comfylabel(tmp_path, "up", "--port", "0")
        assert status == 78
        assert "in use by another comfylabel" in output
        assert await answers(f"{origin}/readyz") == 200


async def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output = await comfylabel(tmp_path, "up", "--port", str(taken.getsockname()[1]))
    assert status == 78
    assert "Choose another --port" in output
    assert not (tmp_path / "postgres").exists()


async def test_settings_that_cannot_work_end_it_with_the_reason(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path, "up", "--port", "0", "--host", "0.0.0.0", "--auth", "off")
    assert status == 78
    assert "loopback" in output
    status, output = await comfylabel(tmp_path, "up", COMFYLABEL_INGEST_CONCURRENCY="many")
    assert status == 78
    assert "ingest_concurrency" in output


async def test_a_termination_while_starting_leaves_nothing(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--port", "0") as command:
        await until((tmp_path / "postgres.lock").exists)
        processes = command.everything()
        command.process.terminate()
        await command.process.wait()
        await until_gone(processes)
