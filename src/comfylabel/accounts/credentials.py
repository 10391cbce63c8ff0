"""Secrets that open the door: made at random, handed out once, kept only as a hash."""

import hashlib
import secrets
from datetime import timedelta

SESSION_LIFETIME = timedelta(days=30)
START_LINK_LIFETIME = timedelta(minutes=10)  # the link that every start prints
INVITATION_LIFETIME = timedelta(days=3)  # has to survive a weekend in somebody's inbox

TOKEN_PREFIX = "clt_"  # noqa: S105 - lets secret scanners find a leaked token; not a secret itself


def new_secret() -> str:
    """256 random bits: too many to guess, so a plain hash protects them and no rate limit is needed."""
    return secrets.token_urlsafe(32)


def new_api_token() -> str:
    return TOKEN_PREFIX + new_secret()


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
