"""What every test may ask for: `database_url` is a new migrated database, `database` is connected to one."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from comfylabel.db.pool import Database
from tests.support.postgres import CROWDED, cluster, ensure_crowd, fresh_database, stop_all

pytest_plugins = ["tests.support.app", "tests.support.conformance_report"]

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What speaks SQL runs on the oldest server that we promise to work on as well."""
    on_both = metafunc.definition.get_closest_marker("postgres_16_too") or _is_repository_test(metafunc)
    if on_both and "postgres_major" in metafunc.fixturenames:
        oldest = pytest.param(16, id="postgres-16", marks=pytest.mark.slow)
        metafunc.parametrize("postgres_major", [pytest.param(18, id="postgres-18"), oldest])


def _is_repository_test(metafunc: pytest.Metafunc) -> bool:
    return metafunc.definition.path.stem.startswith("test_repository")


@pytest.fixture
def postgres_major() -> int:
    return 18


@pytest.fixture
def server_url(session_dir: Path, postgres_major: int) -> str:
    return cluster(session_dir, int(os.environ[_DIRECTORY + "_PID"]), postgres_major)


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
async def crowded_database(session_dir: Path, server_url: str) -> AsyncIterator[Database]:
    """A database with 200 000 images of other tasks (tests/support/crowd.py), analysed: for query plans."""
    ensure_crowd(session_dir, server_url)
    with fresh_database(server_url, CROWDED) as url:
        database = await Database.connect(url)
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
