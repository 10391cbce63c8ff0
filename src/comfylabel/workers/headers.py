"""Rule: which extra headers a worker's proxy may be sent, and how a change of them is read. Pure.

They are secrets as the API key is: nobody is ever shown a value again, so a change names only what changes.
"""

import re
from collections.abc import Iterable, Mapping

from comfylabel.errors import InvalidField

MAX_HEADERS = 20
MAX_NAME = 200
MAX_VALUE = 4000  # as an API key; servers commonly refuse 8 KiB of headers in all

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, token
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")  # a line break would be a header of its own

# What the connection itself is made of, what would change which answer comes, and what says which page is asking.
_REFUSED = frozenset(
    {
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_REFUSED_BEGINNINGS = ("content-", "if-", "sec-")

AUTHORIZATION = "authorization"


def check(headers: Mapping[str, str | None]) -> None:
    """InvalidField, whose path names the header, for what must not be sent; a value of None forgets one."""
    if len(headers) > MAX_HEADERS:
        raise InvalidField("headers", f"must be at most {MAX_HEADERS}")
    seen: set[str] = set()
    for name, value in headers.items():
        shown = name[:MAX_NAME]
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise InvalidField("headers", "must be named by letters, digits and hyphens, as in X-Api-Key")
        if name.lower() in _REFUSED or name.lower().startswith(_REFUSED_BEGINNINGS):
            raise InvalidField(f"headers.{shown}", "is not for you to set: it belongs to the connection itself")
        if name.lower() in seen:
            raise InvalidField(f"headers.{shown}", "is given twice")
        seen.add(name.lower())
        if value is not None and (len(value) > MAX_VALUE or not _VALUE.fullmatch(value)):
            raise InvalidField(
                f"headers.{shown}", f"must be 1 to {MAX_VALUE} printable ASCII characters, without a space at its ends"
            )


def changed(present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """What is named anew is replaced, in whatever case it was written; None forgets it; what is left out stays."""
    named = {name.lower() for name in changes}
    kept = {name: value for name, value in present.items() if name.lower() not in named}
    together = kept | {name: value for name, value in changes.items() if value is not None}
    if len(together) > MAX_HEADERS:
        raise InvalidField("headers", f"must be at most {MAX_HEADERS} together with those that are there already")
    return together


def refuse_two_authorizations(names: Iterable[str], *, has_api_key: bool) -> None:
    """An API key is sent as `Authorization: Bearer`: beside another Authorization one of them would be ignored."""
    if has_api_key and AUTHORIZATION in {name.lower() for name in names}:
        raise InvalidField("headers.Authorization", "and api_key are the same header: keep one of them, null the other")
