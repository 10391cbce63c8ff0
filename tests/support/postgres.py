"""The PostgreSQL of a test session: one cluster for all xdist workers, a migrated template, a copy per test.

The first worker that needs it starts this file as a program, which ends with the pytest that it was started
for. So no run pays for a database that it does not use, and no worker's end takes it away from the others.

    python -m tests.support.postgres DIRECTORY PYTEST_PID MAJOR
"""

import asyncio
import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
from filelock import FileLock

from comfylabel.db.embedded import Binaries, EmbeddedPostgres, wheel_binaries
from comfylabel.db.migrate import migrate
from comfylabel.db.partitions import ensure_partitions
from comfylabel.db.pool import Database
from tests.support import crowd

MIGRATED = "migrated"
CROWDED = "crowded"
_ROOT = Path(__file__).parents[2]
# What a power failure would destroy, a test does not need.
_FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=400",
    "autovacuum=off",
)


def binaries(major: int) -> Binaries:
    if major == 16:  # the oldest server we promise to work on
        wheel = importlib.metadata.distribution("pgserver")
        return Binaries(Path(str(wheel.locate_file("pgserver/pginstall/bin"))), "16.2")
    return wheel_binaries()


def cluster(directory: Path, pytest_pid: int, major: int = 18) -> str:
    """The address of the session's server, started by whoever comes first."""
    address = directory / f"postgres-{major}.url"
    with FileLock(directory / f"starting-{major}.lock"):
        if not address.exists():
            _launch(directory, pytest_pid, major, address)
    return address.read_text()


def _launch(directory: Path, pytest_pid: int, major: int, address: Path) -> None:
    output = directory / f"postgres-{major}.out"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.postgres", directory, str(pytest_pid), str(major)],
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}"},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    (directory / f"postgres-{major}.pid").write_text(str(process.pid))
    give_up_at = time.monotonic() + 60
    while not address.exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"the test database did not start:\n{output.read_text()}")
        time.sleep(0.01)
    process.returncode = 0  # it outlives this worker on purpose: no warning about a running child


def stop_all(directory: Path) -> None:
    for file in directory.glob("postgres-*.pid"):
        try:
            process = psutil.Process(int(file.read_text()))
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        except psutil.NoSuchProcess:
            pass


@contextmanager
def fresh_database(server_url: str, template: str = MIGRATED) -> Iterator[str]:
    """A copy of a template, dropped afterwards. Of the migrated one: file_copy takes 9 ms, wal_log 19 ms."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")
    try:
        yield url_of(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def own_postgres(directory: Path) -> AsyncIterator[tuple[EmbeddedPostgres, str]]:
    """A migrated server, and its address, for one test: which may stop, freeze or kill it."""
    postgres = EmbeddedPostgres(directory, options=("fsync=off",))
    url = await postgres.start()
    try:
        await asyncio.to_thread(migrate, url)
        yield postgres, url
    finally:
        await postgres.stop()


def ensure_crowd(directory: Path, server_url: str, name: str = CROWDED, load: str = crowd.LOAD) -> None:
    """Make the template that `crowded_database` copies: 5 s, once a session."""
    made = directory / f"{name}-{hashlib.sha256(server_url.encode()).hexdigest()}"
    with FileLock(directory / "crowding.lock"):
        if made.exists():
            return
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"create database {name} template {MIGRATED} strategy file_copy")
        with psycopg.connect(url_of(server_url, name), autocommit=True) as connection:
            connection.execute(load)
        made.touch()


def url_of(server_url: str, database: str) -> str:
    return server_url.replace("/postgres?", f"/{database}?")


async def serve(directory: Path, pytest_pid: int, major: int) -> None:
    server = EmbeddedPostgres(directory / f"postgres-{major}", options=_FAST, binaries=binaries(major))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    owner = psutil.Process(pytest_pid)
    url = await server.start()
    try:
        await _make_template(server)
        unfinished = directory / f"postgres-{major}.url.new"
        unfinished.write_text(url)
        unfinished.rename(directory / f"postgres-{major}.url")
        while not ended.is_set() and owner.is_running():
            try:
                await asyncio.wait_for(ended.wait(), 0.5)
            except TimeoutError:
                continue
    finally:
        await server.stop()


async def _make_template(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {MIGRATED}")
    await asyncio.to_thread(migrate, server.url_of(MIGRATED))
    database = await Database.connect(server.url_of(MIGRATED))
    async with database.connection() as pooled:
        await ensure_partitions(pooled, datetime.now(UTC))
    await database.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
