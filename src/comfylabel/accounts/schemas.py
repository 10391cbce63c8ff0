"""Who may do what: users, roles, and the bodies of the sign-in routes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from comfylabel.http.moments import Moment


class Role(StrEnum):
    """Each role may do all that the one before it may."""

    ANNOTATOR = "annotator"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking; `token_id` when an API token speaks for them."""

    user_id: UUID
    name: str
    role: Role
    token_id: UUID | None


@dataclass(frozen=True, slots=True)
class User:
    id: UUID
    name: str
    role: Role
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiToken:
    id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A person signed in; `secret` goes into their cookie and nowhere else."""

    user: User
    secret: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignInLink:
    url: str
    expires_at: datetime


# Bodies

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 200  # argon2 reads the whole text; a megabyte of it is no password

# PostgreSQL's text holds no NUL, and a name with a line break in it is a forged log line.
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]
Secret = Annotated[str, Field(min_length=1, max_length=200)]
NewPassword = Annotated[str, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LinkBody(Body):
    token: Secret


class PasswordBody(Body):
    name: Name
    password: Secret


class OwnPasswordBody(Body):
    password: NewPassword
    current_password: Secret | None = None


class NewUser(Body):
    name: Name
    role: Role


class UserChange(Body):
    name: Name | None = None
    role: Role | None = None
    disabled: bool | None = None


class NewToken(Body):
    """Without `expires_at` it works until it is revoked."""

    name: Name
    expires_at: Moment | None = None


# Answers


class Me(BaseModel):
    id: UUID
    name: str
    role: Role


class UserAnswer(BaseModel):
    id: UUID
    name: str
    role: Role
    disabled_at: datetime | None
    created_at: datetime


class SignInLinkAnswer(BaseModel):
    url: str
    expires_at: datetime


class CreatedUserAnswer(UserAnswer):
    sign_in_link: SignInLinkAnswer


class TokenAnswer(BaseModel):
    id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class CreatedTokenAnswer(TokenAnswer):
    """`token` is shown this once."""

    token: str
