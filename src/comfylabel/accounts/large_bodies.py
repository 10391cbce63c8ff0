"""Who may send more than a page's worth of bytes: FastAPI parses a body before it asks who sent it.

64 MB of `[[],[],...` are 4 GB of Python, and nobody who is not let in may have the server build that.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from comfylabel.accounts.schemas import Principal, Role
from comfylabel.accounts.service import SESSION_COOKIE, AccountService
from comfylabel.errors import Forbidden, NotSignedIn
from comfylabel.http.guards import MAX_BODY_BYTES, body_limit


class LargeBodiesFromAdmins:
    """`larger_bodies` as the guard has them; each of those paths is an admin's."""

    def __init__(self, app: ASGIApp, larger_bodies: Mapping[str, int]) -> None:
        self._app = app
        self._larger_bodies = larger_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._may_be_large(scope):
            principal = await sender(scope)
            if principal is None:
                raise NotSignedIn("Sign in first.")
            if not principal.role.covers(Role.ADMIN):
                raise Forbidden("Only an admin may do this.")
        await self._app(scope, receive, send)

    def _may_be_large(self, scope: Scope) -> bool:
        if body_limit(scope["path"], self._larger_bodies) <= MAX_BODY_BYTES:
            return False
        headers = Headers(scope=scope)
        # The guard has checked that it is a number.
        return int(headers.get("content-length", "0")) > MAX_BODY_BYTES or "transfer-encoding" in headers


async def sender(scope: Scope) -> Principal | None:
    """Whose request it is, for a middleware; routes have `accounts.dependencies`."""
    accounts: AccountService = scope["app"].state.accounts
    headers = Headers(scope=scope)
    kind, _, token = headers.get("authorization", "").partition(" ")
    return await accounts.principal(
        session=cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE),
        token=token if kind.lower() == "bearer" else None,
    )
