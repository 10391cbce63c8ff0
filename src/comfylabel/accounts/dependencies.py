"""What a route declares to say who may call it: `Anyone` (signed in), `Operator`, `Admin`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from comfylabel.accounts.schemas import Principal, Role
from comfylabel.accounts.service import SESSION_COOKIE, AccountService
from comfylabel.errors import Forbidden, NotSignedIn

_session_cookie = APIKeyCookie(name=SESSION_COOKIE, scheme_name="session", auto_error=False)
_bearer = HTTPBearer(scheme_name="token", auto_error=False)


async def signed_in(
    request: Request,
    session: Annotated[str | None, Depends(_session_cookie)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    accounts: AccountService = request.app.state.accounts
    principal = await accounts.principal(session=session, token=bearer.credentials if bearer else None)
    if principal is None:
        raise NotSignedIn("Sign in first.")
    return principal


_WHO = {Role.ANNOTATOR: "who is signed in", Role.OPERATOR: "an operator or an admin", Role.ADMIN: "an admin"}


def at_least(needed: Role) -> Any:
    async def allowed(principal: Annotated[Principal, Depends(signed_in)]) -> Principal:
        if not principal.role.covers(needed):
            raise Forbidden(f"Only {_WHO[needed]} may do this.")
        return principal

    return Depends(allowed)


async def _still_operator(
    request: Request,
    session: Annotated[str | None, Depends(_session_cookie)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Callable[[], Awaitable[bool]]:
    """Asks again whether the caller is one: for answers that go on after the question."""
    accounts: AccountService = request.app.state.accounts

    async def allowed() -> bool:
        principal = await accounts.principal(session=session, token=bearer.credentials if bearer else None)
        return principal is not None and principal.role.covers(Role.OPERATOR)

    return allowed


Anyone = Annotated[Principal, Depends(signed_in)]
Operator = Annotated[Principal, at_least(Role.OPERATOR)]
Admin = Annotated[Principal, at_least(Role.ADMIN)]
StillOperator = Annotated[Callable[[], Awaitable[bool]], Depends(_still_operator)]
