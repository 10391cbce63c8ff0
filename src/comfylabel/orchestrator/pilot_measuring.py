"""What a pilot measures on its worker: how long it says that it worked, and how little of its memory was free."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from comfylabel.comfy.client import ComfyClient
from comfylabel.comfy.errors import WorkerError
from comfylabel.comfy.graph import Bindings, Graph, upstream
from comfylabel.comfy.schemas import Device, HistoryEntry
from comfylabel.tasks.forecast import Measured

# Decoding is where the most memory is used, and is over in less than a second. The question is answered in a few ms.
_LOOK_SECONDS = 0.25


@dataclass(slots=True)
class Findings:
    """Only of submissions that ended well: what ran out of memory says nothing about the size that fits."""

    measured: list[Measured] = field(default_factory=list)
    looks: list[Device] = field(default_factory=list)
    models_are_loaded: bool = False

    def note(self, entry: HistoryEntry, batch_size: int, looks: list[Device], *, was_cached: bool) -> None:
        self.looks += looks
        if entry.seconds is not None and not was_cached:
            self.measured.append(Measured(batch_size, entry.seconds, is_cold=not self.models_are_loaded))
        self.models_are_loaded = True

    def is_only_cold(self, batch_size: int) -> bool:
        """Whether all that is known of this size is how long it takes when models have to be loaded first."""
        same = [one for one in self.measured if one.batch_size == batch_size]
        return bool(same) and all(one.is_cold for one in same)


def was_cached(entry: HistoryEntry, graph: Graph, bindings: Bindings) -> bool:
    """Whether the worker had what a seed decides from an earlier run: it took no time, and says nothing of the next."""
    seeded = {ref.node for ref in bindings.seed}
    return any(upstream(graph, [node]) & seeded for node in entry.cached)


@asynccontextmanager
async def watching(client: ComfyClient | None) -> AsyncIterator[list[Device]]:
    """What the worker says of its first GPU, over and over, for as long as the block runs; nothing without a client."""
    looks: list[Device] = []
    if client is None:
        yield looks
        return
    watch = asyncio.create_task(_look_over_and_over(client, looks))
    try:
        yield looks
    finally:
        watch.cancel()
        await asyncio.wait({watch})  # to suppress what `await watch` raises would be to forget a cancel of this block
        with suppress(asyncio.CancelledError):
            watch.result()


async def _look_over_and_over(client: ComfyClient, looks: list[Device]) -> None:
    while True:
        with suppress(WorkerError):  # whoever follows the submission finds out what is wrong
            looks += (await client.system_stats()).devices[:1]
        await asyncio.sleep(_LOOK_SECONDS)
