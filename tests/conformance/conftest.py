"""`server` is the simulated ComfyUI as of 0.3.75 and, where one was started for the tests, the genuine one too.

`make test-real-comfyui` starts it and says where it is. A case that passes on one and fails on the other is a fault
of the simulator.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import running_simulator
from tests.support.served import Served

REAL_URL = os.environ.get("REAL_COMFYUI_URL")
REAL_VERSION = "0.3.75"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        kinds = [pytest.param("simulator", marks=pytest.mark.conformance)]
        if REAL_URL:
            kinds.append(pytest.param("real", marks=[pytest.mark.conformance, pytest.mark.real_comfyui]))
        metafunc.parametrize("server", kinds, indirect=True)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with worker_session() as session:
        if request.param == "real":
            assert REAL_URL is not None
            output = Path(os.environ["REAL_COMFYUI_OUTPUT"])
            yield Served(REAL_URL, session, lambda file: (output / file["subfolder"] / file["filename"]).unlink())
            return
        async with running_simulator(version=REAL_VERSION) as simulator:

            def delete(file: dict[str, str]) -> None:
                simulator.folders.delete(file["filename"], file["subfolder"], file["type"])

            yield Served(simulator.url, session, delete)
