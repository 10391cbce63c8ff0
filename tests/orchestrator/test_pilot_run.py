"""A pilot ends in words, whatever breaks it off, and a cancel of it is never forgotten."""

import asyncio
from typing import Any

from comfylabel.comfy.simulator import running_simulator
from comfylabel.orchestrator import pilot_run
from comfylabel.orchestrator.pilot_measuring import watching
from tests.support.pipeline import Line, running_orchestrator


async def test_a_fault_of_ours_ends_it_in_words_and_leaves_nothing_on_the_worker(api, monkeypatch):
    def broken(*_: Any) -> bool:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(pilot_run, "was_cached", broken)
    line = await Line.of(api)
    async with running_simulator() as simulator, running_orchestrator(api.settings, line.database.url):
        await line.add_worker(simulator.url)
        task = (await line.add_task(await line.add_workflow(), [await line.add_pool()], prompts=2, seeds=2))["id"]
        answer = await line.admin.post(f"/api/tasks/{task}/pilot")
        assert (answer.status_code, answer.json()["code"]) == (422, "pilot_failed")
        assert "fault of ours" in answer.text
        left = await line.database.pool.fetchval("select count(*) from submissions where ended_at is null")
        assert (left, len(simulator.log)) == (0, 1)


class SlowToLetGo:
    """A worker whose client needs time to break off a question."""

    def __init__(self) -> None:
        self.asked, self.lets_go, self.may_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def system_stats(self) -> Any:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.lets_go.set()
            await self.may_go.wait()


async def test_a_cancel_that_comes_while_it_stops_looking_is_not_forgotten():
    client = SlowToLetGo()

    async def pilot() -> None:
        async with watching(client):  # type: ignore[arg-type]
            await client.asked.wait()
        await asyncio.Event().wait()

    work = asyncio.create_task(pilot())
    await client.lets_go.wait()
    work.cancel()
    await asyncio.wait({work}, timeout=5)
    client.may_go.set()
    is_over = work.done()
    work.cancel()
    assert is_over
