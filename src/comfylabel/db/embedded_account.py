"""As whom the embedded PostgreSQL runs. It refuses uid 0 and a uid without a name, so it may need to be lent one.

user    we are no root and have a name: it runs as we do userns  the name of nobody inside `unshare --user`;
every file stays ours and nobody's rights change nobody  we are root and user namespaces are forbidden (some
containers): binaries and data must lie within its reach
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from comfylabel.db.die_with_parent import bound_to_us
from comfylabel.errors import ComfyLabelError

_REACHABLE_ROOT = Path("/var/lib/comfylabel")


class EmbeddedPostgresError(ComfyLabelError):
    """The embedded PostgreSQL could not be started."""


class EmbeddedPostgresInUseError(EmbeddedPostgresError):
    """Another process owns this database."""


@dataclass(frozen=True, slots=True)
class Account:
    prefix: tuple[str, ...]
    uid: int  # who must own the files; -1 where the launcher keeps the user it has
    gid: int
    changes_user: bool

    def command(self, *command: str | Path, when_parent_dies: signal.Signals = signal.SIGINT) -> list[str]:
        """What to run so that `command` runs in this account and gets that signal when this process dies."""
        uid, gid = (self.uid, self.gid) if self.changes_user else (-1, -1)
        program = shutil.which(command[0]) or str(command[0])
        bound = bound_to_us([program, *map(str, command[1:])], when_we_die=when_parent_dies, uid=uid, gid=gid)
        return [*self.prefix, *bound]

    async def run(self, *command: str | Path) -> tuple[int, str]:
        """Run to the end; the status and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*command, when_parent_dies=signal.SIGKILL),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    async def reaches(self, path: Path) -> bool:
        status, _ = await self.run("test", "-x", path)
        return status == 0


async def choose_account() -> Account:
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and _has_a_name(uid):
        return Account(prefix=(), uid=uid, gid=gid, changes_user=False)
    nobody = pwd.getpwnam("nobody")
    namespace = ("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
    if await _succeeds(*namespace, "true"):
        return Account(prefix=namespace, uid=uid, gid=gid, changes_user=False)
    if uid != 0:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as uid {uid}, which has no entry in /etc/passwd, and `unshare --user` does not "
            "work here. Add such an entry, or set DATABASE_URL."
        )
    return Account(prefix=(), uid=nobody.pw_uid, gid=nobody.pw_gid, changes_user=True)


def _has_a_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


async def _succeeds(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    quiet = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    return await process.wait() == 0


async def reachable_binaries(account: Account, installed: Path, version: str) -> Path:
    """The directory of `postgres` and its kin: the installed one, or a copy where the account can run it."""
    if not account.changes_user or await account.reaches(installed / "postgres"):
        return installed
    package = installed.parents[1]  # its shared libraries lie beside it
    copy = _REACHABLE_ROOT / f"postgresql-{version}"
    if not copy.exists():
        await asyncio.to_thread(_copy_package, package, copy)
    return copy / installed.relative_to(package.parent)


async def reachable_data(account: Account, data_dir: Path, name: str) -> Path:
    """Where the cluster really lies. Out of nobody's reach, it moves to /var/lib/comfylabel behind a link."""
    real = await asyncio.to_thread(data_dir.resolve)
    if account.changes_user and not await account.reaches(real.parent):
        if real.is_relative_to(_REACHABLE_ROOT):
            raise EmbeddedPostgresError(f"The account nobody cannot reach {real}.")
        real = await asyncio.to_thread(_move_behind_link, data_dir, _REACHABLE_ROOT / name)
    return real


def give_tree(tree: Path, account: Account) -> None:
    """Make the account own the tree. The top comes last: while it has another owner, the work is not done."""
    if not tree.exists() or tree.stat().st_uid == account.uid:
        return
    if os.geteuid() != 0:
        raise EmbeddedPostgresError(f"{tree} belongs to another user (uid {tree.stat().st_uid}).")
    for folder, folders, files in os.walk(tree):
        for entry in (*folders, *files):
            os.chown(Path(folder) / entry, account.uid, account.gid, follow_symlinks=False)
    os.chown(tree, account.uid, account.gid)


def _copy_package(package: Path, target: Path) -> None:
    _make_reachable_root()
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.new")
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, unfinished / part.name, symlinks=True)
    for folder, _, files in os.walk(unfinished):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder) / file
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.stat().st_mode & 0o100 else 0))
    unfinished.rename(target)


def _move_behind_link(data_dir: Path, target: Path) -> Path:
    _make_reachable_root()
    if data_dir.is_dir() and not data_dir.is_symlink():
        unfinished = target.with_name(target.name + ".moving")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(data_dir, unfinished, symlinks=True)
        unfinished.rename(target)
        shutil.rmtree(data_dir)
    if not data_dir.is_symlink():
        data_dir.symlink_to(target)
    return target


def _make_reachable_root() -> None:
    try:
        _REACHABLE_ROOT.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL cannot run as root, and {_REACHABLE_ROOT}, for nobody, could not be made: {error}."
        ) from error
    _REACHABLE_ROOT.chmod(0o755)
