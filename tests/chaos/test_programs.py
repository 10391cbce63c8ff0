"""The programs of a run: whoever kills, starts and supervises them at once leaves one of each."""

import asyncio

import pytest

from tests.chaos.programs import Program, free_port

pytestmark = pytest.mark.chaos


async def test_a_program_that_is_just_being_started_again_has_not_ended_by_itself(tmp_path):
    """The supervisor looks while the old process is dead and the new one not there yet."""
    program = Program("server", "http.server", [str(free_port()), "--bind", "127.0.0.1"], tmp_path / "server.log")
    await program.start()
    try:
        await program.kill()
        await asyncio.gather(program.start(), program.stay_up())
        assert program.is_up
        assert program.falls == []
    finally:
        await program.kill()
