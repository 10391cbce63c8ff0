"""`comfylabel user`: who may sign in. Works on the database itself, since somebody has to be the first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from comfylabel.accounts.schemas import Principal, Role, User
from comfylabel.accounts.service import AccountService
from comfylabel.cli.database import open_database, require_current
from comfylabel.db.pool import Database
from comfylabel.errors import NotFound
from comfylabel.settings import Settings


async def add_user(settings: Settings, name: str, role: Role) -> None:
    async with _accounts(settings) as accounts:
        user, link = await accounts.create_user(await _this_machine(accounts), name, role)
        _print(f"{user.name} is {user.role.value}. Sign-in link, once, until {_minute(link.expires_at)}:\n{link.url}")


async def list_users(settings: Settings) -> None:
    async with _accounts(settings) as accounts:
        table = Table("name", "role", "since", "")
        for user in await accounts.users():
            since, note = _minute(user.created_at), "disabled" if user.disabled_at else ""
            table.add_row(user.name, user.role.value, since, note)
        Console().print(table)


async def link_user(settings: Settings, name: str) -> None:
    async with _accounts(settings) as accounts:
        user = await _found(accounts, name)
        link = await accounts.invite(await _this_machine(accounts), user.id)
        _print(f"Sign-in link of {user.name}, once, until {_minute(link.expires_at)}:\n{link.url}")


async def token_of_user(settings: Settings, name: str, label: str, days: int) -> None:
    async with _accounts(settings) as accounts:
        user = await _found(accounts, name)
        owner = Principal(user.id, user.name, user.role, token_id=None)
        _, secret = await accounts.create_token(owner, label, datetime.now(UTC) + timedelta(days=days))
        _print(secret)


@asynccontextmanager
async def _accounts(settings: Settings) -> AsyncIterator[AccountService]:
    async with open_database(settings) as url:
        await require_current(settings, url)
        database = await Database.connect(url, max_size=2)
        try:
            yield AccountService(database, origin=settings.origin, auth_on=False)
        finally:
            await database.close()


async def _this_machine(accounts: AccountService) -> Principal:
    """Who can read the database is an admin; the audit log names the user `local`."""
    principal = await accounts.principal(session=None, token=None)
    assert principal is not None, "without sign-in everybody is somebody"
    return principal


async def _found(accounts: AccountService, name: str) -> User:
    for user in await accounts.users():
        if user.name.lower() == name.lower():
            return user
    raise NotFound(f"There is no user named {name}. `comfylabel user list` shows who is there.")


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
