"""What every test may ask for: `database_url` is a new migrated database, `database` is connected to one."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from comfylabel.db.pool import Database
from tests.support.postgres import cluster, fresh_database, stop_all

pytest_plugins = ["tests.support.app"]

_DIRECTORY = "COMFYLABEL_TEST_SESSION"  # told by the first pytest process to its xdist workers


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("COMFYLABEL_") or name == "DATABASE_URL"]:
        if not name.startswith(_DIRECTORY):
            del os.environ[name]  # a developer's own settings are none of the tests' business
    if not hasattr(config, "workerinput"):
        os.environ[_DIRECTORY] = tempfile.mkdtemp(prefix="comfylabel-tests-")
        os.environ[_DIRECTORY + "_PID"] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _DIRECTORY in os.environ:
        directory = Path(os.environ.pop(_DIRECTORY))
        stop_all(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def session_dir() -> Path:
    """One directory for all workers of this session."""
    return Path(os.environ[_DIRECTORY])


@pytest.fixture(scope="session")
def server_url(session_dir: Path) -> str:
    return cluster(session_dir, int(os.environ[_DIRECTORY + "_PID"]))


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    with fresh_database(server_url) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url)
    yield database
    await database.close()


@pytest.fixture
def postgres_16_url(session_dir: Path) -> Iterator[str]:
    """As `database_url`, on the oldest server that we promise to work on."""
    with fresh_database(cluster(session_dir, int(os.environ[_DIRECTORY + "_PID"]), 16)) as url:
        yield url


@pytest.fixture
async def postgres_16(postgres_16_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(postgres_16_url)
    yield database
    await database.close()
