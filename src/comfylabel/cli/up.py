"""`comfylabel up`: the database, one web server and one orchestrator as children of this process.

Processes rather than one loop: each can be killed and comes back alone, a decoder that crashes takes no
request with it, and this one stays so small that it has nothing to die of. It keeps the listening socket,
so that a web server that comes back finds the connections that waited meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from comfylabel.cli.database import make_current, open_database
from comfylabel.cli.process_tree import Program, keep_running
from comfylabel.cli.settings import as_environment, listen
from comfylabel.settings import Settings


async def up(settings: Settings) -> None:
    async with running_tree(settings) as tree:
        await tree.until_ended()


@dataclass(frozen=True, slots=True)
class Tree:
    """What runs."""

    settings: Settings
    database_url: str
    programs: "list[asyncio.Task[None]]"

    async def until_ended(self, *others: "asyncio.Task[None]") -> None:
        """Until one of `others` is done; or a program, which happens only when it cannot run at all: that is raised.

        Not a gathered future: cancelling that would cancel the programs before their end, and then again in
        it.
        """
        done, _ = await asyncio.wait((*self.programs, *others), return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


@asynccontextmanager
async def running_tree(
    settings: Settings, *, announce: bool = True, quiet: bool = False, others: Sequence[Program] = ()
) -> AsyncIterator[Tree]:
    listener, settings = listen(settings)
    with listener:
        async with open_database(settings, may_share=False) as url:
            await make_current(settings, url)
            programs = (*_programs(settings, url, listener.fileno(), announce=announce), *others)
            running = [asyncio.create_task(keep_running(program, quiet=quiet)) for program in programs]
            try:
                yield Tree(settings, url, running)
            finally:
                for one in running:
                    one.cancel()
                await asyncio.gather(*running, return_exceptions=True)


def _programs(settings: Settings, url: str, listener: int, *, announce: bool) -> Sequence[Program]:
    environment = as_environment(settings.model_copy(update={"database_url": url}))
    return (
        Program(
            "serve",
            ("serve", "--listener", str(listener), "--no-announce"),
            environment,
            inherits=(listener,),
            first_only=("--announce",) if announce else (),
        ),
        Program("orchestrate", ("orchestrate",), environment),
    )
