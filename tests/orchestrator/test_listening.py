"""The websocket of a worker is only a wake-up; whatever it says, somebody goes on listening."""

from collections.abc import AsyncGenerator

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.schemas import Event
from comfylabel.orchestrator.listening import WorkerListener
from tests.support.waiting import until


class Stumbling(ComfyClient):
    """The first thing that it is told is nothing that anybody has thought of."""

    def __init__(self) -> None:
        self.times = 0

    async def listen(self, client_id: str) -> AsyncGenerator[Event, None]:
        self.times += 1
        if self.times == 1:
            raise KeyError(client_id)
        yield Event.from_json({"type": "status", "data": {}})


async def test_a_fault_ends_no_listening_and_no_closing():
    client = Stumbling()
    heard: list[int] = []
    listener = WorkerListener(client, lambda: heard.append(client.times))
    await until(lambda: heard)
    await listener.close()
