from collections.abc import AsyncIterator

import aiohttp
import pytest

from comfylabel.comfy.client import worker_session
from comfylabel.comfy.simulator import Simulator, running_simulator


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with worker_session() as session:
        yield session


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator() as simulator:
        yield simulator
