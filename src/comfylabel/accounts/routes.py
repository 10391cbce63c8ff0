"""HTTP of signing in and out, users and API tokens."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from comfylabel.accounts.dependencies import Admin, Anyone
from comfylabel.accounts.schemas import (
    CreatedTokenAnswer,
    CreatedUserAnswer,
    LinkBody,
    Me,
    NewToken,
    NewUser,
    OwnPasswordBody,
    PasswordBody,
    Session,
    SignInLinkAnswer,
    TokenAnswer,
    UserAnswer,
    UserChange,
)
from comfylabel.accounts.service import SESSION_COOKIE, AccountService
from comfylabel.http.envelope import Envelope, ok

router = APIRouter(prefix="/api", tags=["accounts"])


async def _service(request: Request) -> AccountService:
    service: AccountService = request.app.state.accounts
    return service


Service = Annotated[AccountService, Depends(_service)]


@router.post("/auth/link", response_model=Envelope[Me])
async def sign_in_with_link(request: Request, body: LinkBody, service: Service) -> Response:
    """Opening the link in a browser changes nothing (mail scanners do); its page posts the token here."""
    return _signed_in(request, await service.sign_in_with_link(body.token))


@router.post("/auth/password", response_model=Envelope[Me])
async def sign_in_with_password(request: Request, body: PasswordBody, service: Service) -> Response:
    address = request.client.host if request.client else "unknown"
    return _signed_in(request, await service.sign_in_with_password(body.name, body.password, address=address))


@router.post("/auth/sign-out", response_model=Envelope[None])
async def sign_out(request: Request, principal: Anyone, service: Service) -> Response:
    await service.sign_out(principal, request.cookies.get(SESSION_COOKIE))
    answer = ok(None)
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
    return answer


@router.get("/me", response_model=Envelope[Me])
async def me(principal: Anyone) -> Response:
    return ok({"id": principal.user_id, "name": principal.name, "role": principal.role})


@router.put("/me/password", response_model=Envelope[None])
async def change_own_password(request: Request, body: OwnPasswordBody, principal: Anyone, service: Service) -> Response:
    """Needs `current_password` once there is one."""
    session = request.cookies.get(SESSION_COOKIE)
    await service.change_own_password(principal, body.password, body.current_password, session=session)
    return ok(None)


@router.get("/users", response_model=Envelope[list[UserAnswer]])
async def list_users(_admin: Admin, service: Service) -> Response:
    return ok(await service.users())


@router.post("/users", status_code=201, response_model=Envelope[CreatedUserAnswer])
async def create_user(body: NewUser, admin: Admin, service: Service) -> Response:
    user, link = await service.create_user(admin, body.name, body.role)
    return ok(asdict(user) | {"sign_in_link": link}, status=201)


@router.patch("/users/{user_id}", response_model=Envelope[UserAnswer])
async def change_user(user_id: UUID, body: UserChange, admin: Admin, service: Service) -> Response:
    return ok(await service.change_user(admin, user_id, name=body.name, role=body.role, disabled=body.disabled))


@router.post("/users/{user_id}/link", status_code=201, response_model=Envelope[SignInLinkAnswer])
async def invite_user(user_id: UUID, admin: Admin, service: Service) -> Response:
    """A fresh sign-in link; the unused ones of before stop working."""
    return ok(await service.invite(admin, user_id), status=201)


@router.get("/tokens", response_model=Envelope[list[TokenAnswer]])
async def list_tokens(principal: Anyone, service: Service) -> Response:
    return ok(await service.tokens(principal))


@router.post("/tokens", status_code=201, response_model=Envelope[CreatedTokenAnswer])
async def create_token(body: NewToken, principal: Anyone, service: Service) -> Response:
    token, secret = await service.create_token(principal, body.name, body.expires_at)
    return ok(asdict(token) | {"token": secret}, status=201)


@router.delete("/tokens/{token_id}", response_model=Envelope[None])
async def revoke_token(token_id: UUID, principal: Anyone, service: Service) -> Response:
    await service.revoke_token(principal, token_id)
    return ok(None)


def _signed_in(request: Request, session: Session) -> Response:
    user = session.user
    answer = ok({"id": user.id, "name": user.name, "role": user.role})
    answer.set_cookie(
        SESSION_COOKIE,
        session.secret,
        expires=session.expires_at,
        httponly=True,
        samesite="lax",
        secure=request.app.state.settings.origin.startswith("https:"),
    )
    return answer
