"""`comfylabel orchestrate`: one orchestrator process."""

from comfylabel.cli.database import open_database, require_current
from comfylabel.orchestrator.process import run_orchestrator
from comfylabel.settings import Settings


async def orchestrate_on_database(settings: Settings) -> None:
    async with open_database(settings) as url:
        await require_current(settings, url)
        await run_orchestrator(settings, url)
