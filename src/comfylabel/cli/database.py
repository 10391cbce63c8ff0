"""Which database a command works on: DATABASE_URL's, else the embedded one, which it starts or finds running."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from comfylabel.cli.process_tree import Program, run_to_the_end
from comfylabel.cli.settings import as_environment
from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.embedded_account import EmbeddedPostgresInUseError
from comfylabel.db.migrate import current, is_known, migrate, newest
from comfylabel.db.partitions import ensure_partitions
from comfylabel.db.pool import AWAY, Database
from comfylabel.errors import ComfyLabelError, Unavailable
from comfylabel.settings import Settings


class SchemaNotCurrentError(ComfyLabelError):
    """The database has another schema than this version works with."""


@asynccontextmanager
async def open_database(settings: Settings, *, may_share: bool = True) -> AsyncIterator[str]:
    """`may_share=False` insists on being the embedded server's owner."""
    if settings.database_url:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        await server.start()
    except EmbeddedPostgresInUseError:
        if not may_share or not await server.answers():
            raise
        yield server.url
        return
    watching = asyncio.create_task(server.watch())
    try:
        yield server.url
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await server.stop()


async def migrate_database(settings: Settings) -> None:
    async with open_database(settings) as url:
        await _is_current(url)  # whether it answers, and is no newer than we are
        await asyncio.to_thread(migrate, url)
        database = await Database.connect(url, max_size=1)
        try:
            async with database.transaction() as connection:
                await ensure_partitions(connection, datetime.now(UTC))
        finally:
            await database.close()
    sys.stdout.write(f"The database is at {newest()}.\n")


async def make_current(settings: Settings, url: str) -> None:
    """Migrate in a process of its own: Alembic's memory goes when it is done."""
    if await _is_current(url):
        return
    environment = as_environment(settings.model_copy(update={"database_url": url}))
    status, output = await run_to_the_end(Program("migrate", ("migrate",), environment))
    if status:
        raise SchemaNotCurrentError(f"The database could not be migrated:\n{output}")


async def require_current(settings: Settings, url: str) -> None:
    """A shared database is migrated when its owner says so, the embedded one whenever it has to be."""
    if settings.database_url is None:
        await make_current(settings, url)
    elif not await _is_current(url):
        raise SchemaNotCurrentError("The database is not migrated to this version. Run `comfylabel migrate` first.")


async def _is_current(url: str) -> bool:
    try:
        revision = await current(url)
    except (*AWAY, TimeoutError) as error:
        raise Unavailable(f"The database does not answer: {error}") from error
    if revision is not None and not is_known(revision):
        raise SchemaNotCurrentError(f"A newer comfylabel has migrated this database (to {revision}). Update this one.")
    return revision == newest()
