"""Passwords are optional: a link signs in too. argon2 costs 180 ms of CPU: in a thread, and rationed."""

import asyncio
import math
import time
from functools import cache

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pwdlib import PasswordHash

from comfylabel.errors import TooManyRequests

# Ten guesses a minute find no ten-character password; a room behind one address may still sign in together.
_PER_NAME = RateLimitItemPerMinute(10)
_PER_ADDRESS = RateLimitItemPerMinute(30)


class PasswordGate:
    """Counts attempts in this process; each server replica counts its own."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, name: str, address: str) -> None:
        for limit, key in ((_PER_NAME, f"name:{name.lower()}"), (_PER_ADDRESS, f"address:{address}")):
            if not await self._limiter.hit(limit, key):
                raise TooManyRequests(
                    "Too many attempts to sign in; wait a minute.",
                    retry_after=await self._seconds_left(limit, key),
                )

    async def _seconds_left(self, limit: RateLimitItem, key: str) -> int:
        window = await self._limiter.get_window_stats(limit, key)
        return max(1, math.ceil(window.reset_time - time.time()))


async def hash_password(password: str) -> str:
    return await asyncio.to_thread(_hasher().hash, password)


async def password_matches(password: str, password_hash: str | None) -> bool:
    """Takes as long for a name without a password (or without a user), so that time tells no names."""
    matches = await asyncio.to_thread(_hasher().verify, password, password_hash or _nobodys_hash())
    return matches and password_hash is not None


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _nobodys_hash() -> str:
    return _hasher().hash("nobody has this password")
