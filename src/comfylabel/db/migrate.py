"""Bring a database to the newest schema. Alembic orders the files in migrations/; inside is plain SQL."""

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from alembic.config import Config

# One migrator at a time, over all processes that start together. The number only has to be ours.
_LOCK = 0x636F6D66


def migrate(url: str) -> None:
    """Alembic's `upgrade head`, which does nothing on a database that is current."""
    # Imported here: a server whose database is current never pays for Alembic and SQLAlchemy (25 MB and 0.4 s).
    from alembic import command  # noqa: PLC0415 - as above
    from sqlalchemy import create_engine, text  # noqa: PLC0415 - as above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

    config = _config()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


async def current(url: str) -> str | None:
    """The revision that the database is at; None before the first."""
    connection = await asyncpg.connect(url)
    try:
        revision: str | None = await connection.fetchval("select version_num from alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return revision


def newest() -> str:
    """The revision that this version of comfylabel works with: the one that no other follows."""
    revisions = _revisions()
    (head,) = revisions.keys() - revisions.values()
    return head


def is_known(revision: str) -> bool:
    """No for one that a newer comfylabel made."""
    return revision in _revisions()


def _revisions() -> dict[str, str]:
    """Each revision with the one before it, read from the files' text: importing them would import Alembic."""
    revisions = {}
    for file in (_migrations() / "versions").glob("*.py"):
        names = dict(
            line.split(" = ", 1)
            for line in file.read_text().splitlines()
            if line.startswith(("revision = ", "down_revision = "))
        )
        revisions[names["revision"].strip("'\"")] = names["down_revision"].strip("'\"")
    return revisions


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - as in migrate()

    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    return config


def _migrations() -> Path:
    """Inside the package when it was installed from a wheel, at the root of the repository otherwise."""
    here = Path(__file__).resolve()
    packaged = here.parents[1] / "migrations"
    return packaged if packaged.is_dir() else here.parents[3] / "migrations"
