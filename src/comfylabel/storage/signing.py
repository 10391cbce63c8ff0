"""Signed image addresses that browsers and CDNs can cache: the same one all through a window of six hours.

A store's own presigned addresses change every second: a page asked for twice would download its images twice.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from comfylabel.errors import Forbidden

WINDOW_SECONDS = 6 * 3600
# After the window's end: an address lives 24 to 30 hours, and a page left open over a day's work still loads.
GRACE_SECONDS = 24 * 3600
_SIGNATURE_BYTES = 16  # 128 bits cannot be guessed, and a page of 20 batches carries some 240 signatures


class LinkRefused(Forbidden):
    """The server never made such an image address."""

    code = "bad_signature"


class LinkExpired(Forbidden):
    """The image address has expired; load the page again for a fresh one."""

    code = "link_expired"


class Signer:
    """Makes and checks addresses under `origin`: the CDN, the public address, or what is true for this request.

    The signature does not cover the origin: every image server in front of the same store takes the same address.
    """

    def __init__(self, secret: bytes, origin: str | Callable[[], str]) -> None:
        # A key of its own: no other use of the server's secret can be made to sign an address.
        self._key = hmac.digest(secret, b"comfylabel image address", "sha256")
        self._origin = origin

    @property
    def origin(self) -> str:
        return (self._origin if isinstance(self._origin, str) else self._origin()).rstrip("/")

    def signed_url(self, key: str, now: datetime | None = None, *, origin: str | None = None) -> str:
        """A pure function of the key, the secret, the window that `now` lies in, and the origin (None: the usual)."""
        seconds = int((now or datetime.now(UTC)).timestamp())
        expires = str(seconds // WINDOW_SECONDS * WINDOW_SECONDS + WINDOW_SECONDS + GRACE_SECONDS)
        return f"{origin or self.origin}/images/{key}?expires={expires}&signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: str, signature: str, now: datetime | None = None) -> int:
        """Seconds left; raises LinkRefused when any part was changed, LinkExpired when it is too late."""
        if not hmac.compare_digest(self._signature(key, expires).encode(), signature.encode()):
            raise LinkRefused
        left = int(expires) - int((now or datetime.now(UTC)).timestamp())
        if left <= 0:
            raise LinkExpired
        return left

    def _signature(self, key: str, expires: str) -> str:
        signed = hmac.digest(self._key, f"{expires}\n{key}".encode("utf-8", "surrogatepass"), "sha256")
        return urlsafe_b64encode(signed[:_SIGNATURE_BYTES]).decode().rstrip("=")
