"""The loop that places submissions ends when it is told to, whatever wakes it at that moment."""

import asyncio

from comfylabel.orchestrator.dispatcher import Dispatcher


async def test_a_wake_at_the_moment_of_stopping_does_not_keep_it_running():
    dispatcher = Dispatcher(None, None, poll_seconds=60)  # type: ignore[arg-type]  # nothing waits: neither is asked
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    dispatcher.wake()
    await asyncio.sleep(0)  # the wait is over, the loop has not gone on yet
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    running.cancel()
    assert done
