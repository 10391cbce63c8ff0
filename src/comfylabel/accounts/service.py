"""Users, how they sign in, and the tokens that speak for them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from comfylabel.accounts import credentials, repository
from comfylabel.accounts.passwords import PasswordGate, hash_password, password_matches
from comfylabel.accounts.schemas import ApiToken, Principal, Role, Session, SignInLink, User
from comfylabel.db.notifications import notify
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import Conflict, Forbidden, InvalidField, NotFound, NotSignedIn

SESSION_COOKIE = "comfylabel_session"
FIRST_ADMIN = "admin"
LOCAL_ADMIN = "local"  # who everybody is with --auth off


class AccountService:
    """`auth_on=False` makes every request the local admin's; main.py allows that on a loopback host only."""

    def __init__(self, database: Database, *, origin: str, auth_on: bool = True) -> None:
        self._database = database
        self._origin = origin
        self._auth_on = auth_on
        self._local_admin: Principal | None = None
        self._password_gate = PasswordGate()

    async def principal(self, *, session: str | None, token: str | None) -> Principal | None:
        """Who a session cookie or a Bearer token speaks for; a token that is sent decides, good or not."""
        if not self._auth_on:
            return await self._local()
        if token is None and session is None:
            return None
        async with self._database.connection() as connection:
            if token is not None:
                return await repository.principal_of_token(connection, credentials.hash_of(token))
            assert session is not None
            return await repository.principal_of_session(connection, credentials.hash_of(session))

    async def _local(self) -> Principal:
        if self._local_admin is None:
            async with self._database.transaction() as connection:
                user = await _existing_or_new_admin(connection, LOCAL_ADMIN)
            self._local_admin = Principal(user.id, user.name, Role.ADMIN, token_id=None)
        return self._local_admin

    # Signing in and out

    async def sign_in_with_link(self, token: str) -> Session:
        async with self._database.transaction() as connection:
            user_id = await repository.use_link(connection, credentials.hash_of(token))
            user = await repository.user(connection, user_id) if user_id else None
            if user is None or user.disabled_at is not None:
                raise NotSignedIn("This sign-in link has been used or has expired. Ask for a new one.")
            return await self._open_session(connection, user, "link")

    async def sign_in_with_password(self, name: str, password: str, *, address: str) -> Session:
        await self._password_gate.admit(name, address)
        async with self._database.connection() as connection:
            found = await repository.user_by_name(connection, name)
        user, password_hash = found or (None, None)
        if not await password_matches(password, password_hash) or user is None or user.disabled_at is not None:
            raise NotSignedIn("Name and password do not go together.")
        async with self._database.transaction() as connection:
            return await self._open_session(connection, user, "password")

    async def _open_session(self, connection: Connection, user: User, way: str) -> Session:
        await repository.forget_expired(connection)
        session = Session(user, credentials.new_secret(), _in(credentials.SESSION_LIFETIME))
        await repository.add_session(connection, credentials.hash_of(session.secret), user.id, session.expires_at)
        await repository.audit(connection, user.id, "signed_in", user.name, {"way": way})
        return session

    async def sign_out(self, principal: Principal, session: str | None) -> None:
        if session is None:
            return
        async with self._database.transaction() as connection:
            await repository.end_session(connection, credentials.hash_of(session))
            await notify(connection, users=[principal.user_id])
            await repository.audit(connection, principal.user_id, "signed_out", principal.name)

    async def change_own_password(
        self, principal: Principal, password: str, current: str | None, *, session: str | None
    ) -> None:
        """A stolen token or an open laptop must not lock the owner out: say the old password first.

        Every other session ends: who changes a password because somebody else is signed in gets rid of them.
        """
        _refuse_token(principal, "change a password")
        async with self._database.connection() as connection:
            old_hash = await repository.password_hash_of(connection, principal.user_id)
        if old_hash is not None:
            await self._password_gate.admit(principal.name, f"own:{principal.user_id}")
            if not await password_matches(current or "", old_hash):
                raise InvalidField("current_password", "is not your password")
        new_hash = await hash_password(password)
        async with self._database.transaction() as connection:
            await repository.set_password_hash(connection, principal.user_id, new_hash)
            await repository.end_other_sessions(connection, principal.user_id, credentials.hash_of(session or ""))
            await notify(connection, users=[principal.user_id])
            await repository.withdraw_links(connection, principal.user_id)
            await repository.audit(connection, principal.user_id, "password_changed", principal.name)

    # Users

    async def users(self) -> list[User]:
        async with self._database.connection() as connection:
            return await repository.users(connection)

    async def create_user(self, by: Principal, name: str, role: Role) -> tuple[User, SignInLink]:
        async with self._database.transaction() as connection:
            user = await repository.add_user(connection, name, role)
            if user is None:
                raise Conflict(f"There is already a user named {name}.", code="name_taken")
            await repository.audit(connection, by.user_id, "user_created", user.name, {"role": role})
            return user, await self._new_link(connection, user.id, credentials.INVITATION_LIFETIME)

    async def change_user(
        self, by: Principal, user_id: UUID, *, name: str | None, role: Role | None, disabled: bool | None
    ) -> User:
        async with self._database.transaction() as connection:
            admins = await repository.lock_admins(connection)
            user = await _found(connection, user_id)
            role = role or user.role
            disabled = user.disabled_at is not None if disabled is None else disabled
            if admins == {user_id} and (disabled or role is not Role.ADMIN):
                raise Conflict(f"{user.name} is the last admin: name another one first.", code="last_admin")
            if (
                name is not None
                and name.lower() != user.name.lower()
                and await repository.user_by_name(connection, name)
            ):
                raise Conflict(f"There is already a user named {name}.", code="name_taken")
            changed = await repository.change_user(
                connection, user_id, name=name or user.name, role=role, disabled=disabled
            )
            await notify(connection, users=[user_id])
            if disabled:
                await repository.end_sessions(connection, user_id)
                await repository.withdraw_links(connection, user_id)
            await repository.audit(
                connection, by.user_id, "user_changed", changed.name, {"role": role, "disabled": disabled}
            )
            return changed

    async def invite(self, by: Principal, user_id: UUID) -> SignInLink:
        """A fresh link for somebody who lost theirs; the ones before stop working."""
        async with self._database.transaction() as connection:
            user = await _found(connection, user_id)
            if user.disabled_at is not None:
                raise Conflict(f"{user.name} is disabled.", code="user_disabled")
            await repository.withdraw_links(connection, user_id)
            await repository.audit(connection, by.user_id, "user_invited", user.name)
            return await self._new_link(connection, user_id, credentials.INVITATION_LIFETIME)

    async def ensure_admin_link(
        self, *, origin: str | None = None, lifetime: timedelta = credentials.START_LINK_LIFETIME
    ) -> SignInLink:
        """What every start prints: a one-time link for the first admin, who is made if there is none."""
        async with self._database.transaction() as connection:
            admin = await repository.first_admin(connection)
            if admin is None:
                admin = await _existing_or_new_admin(connection, FIRST_ADMIN)
            return await self._new_link(connection, admin.id, lifetime, origin)

    async def _new_link(
        self, connection: Connection, user_id: UUID, lifetime: timedelta, origin: str | None = None
    ) -> SignInLink:
        """The token stands behind the #: browsers send that part to no server and into no log."""
        token, expires_at = credentials.new_secret(), _in(lifetime)
        await repository.add_link(connection, credentials.hash_of(token), user_id, expires_at)
        return SignInLink(f"{origin or self._origin}/sign-in#token={token}", expires_at)

    # API tokens

    async def tokens(self, principal: Principal) -> list[ApiToken]:
        async with self._database.connection() as connection:
            return await repository.tokens(connection, principal.user_id)

    async def create_token(self, principal: Principal, name: str, expires_at: datetime | None) -> tuple[ApiToken, str]:
        """The token's row and its text, which nobody sees again."""
        _refuse_token(principal, "make API tokens")
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidField("expires_at", "must lie in the future")
        secret = credentials.new_api_token()
        async with self._database.transaction() as connection:
            token = await repository.add_token(
                connection, principal.user_id, name, credentials.hash_of(secret), expires_at
            )
            await repository.audit(connection, principal.user_id, "token_created", name)
        return token, secret

    async def revoke_token(self, principal: Principal, token_id: UUID) -> None:
        async with self._database.transaction() as connection:
            name = await repository.revoke_token(connection, token_id, principal.user_id)
            if name is None:
                raise NotFound(f"You have no API token {token_id}.")
            await notify(connection, users=[principal.user_id])
            await repository.audit(connection, principal.user_id, "token_revoked", name)


async def _found(connection: Connection, user_id: UUID) -> User:
    user = await repository.user(connection, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


async def _existing_or_new_admin(connection: Connection, name: str) -> User:
    """An admin of that name who can sign in, whatever that user was before."""
    created = await repository.add_user(connection, name, Role.ADMIN)
    if created is not None:
        return created
    found = await repository.user_by_name(connection, name)
    assert found is not None
    return await repository.change_user(connection, found[0].id, name=found[0].name, role=Role.ADMIN, disabled=False)


def _refuse_token(principal: Principal, what: str) -> None:
    """Else a token with an end could give itself a successor without one."""
    if principal.token_id is not None:
        raise Forbidden(f"An API token cannot {what}: sign in with a browser.", code="token_not_enough")


def _in(lifetime: timedelta) -> datetime:
    return datetime.now(UTC) + lifetime
