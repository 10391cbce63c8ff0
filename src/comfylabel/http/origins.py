"""Whose request is it? Pure rules against two tricks of hostile web pages.

DNS rebinding: a page makes its own name point at this machine, so that the browser takes us for the page's own
server. Such a request names that foreign host. Cross-site request: a page sends a form or a fetch here with the
visitor's cookie. Such a request names that page as its Origin.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address

_HOST_AND_PORT = re.compile(r"(?:\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<host>[a-z0-9._-]+))(?::[0-9]{0,5})?", re.ASCII)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def host_is_ours(host_header: str | None, names: Collection[str]) -> bool:
    """An IP address cannot be rebound, only a name can: addresses pass, names must be ours."""
    if host_header is None:
        return False
    host = host_of(host_header)
    return host in names or host == "localhost" or host.endswith(".localhost") or _is_address(host)


def host_of(host_header: str) -> str:
    """Without its port; an IPv6 address without its brackets; "" for what is no host and port.

    Nothing may follow the port: the header becomes part of image addresses and of the Link header.
    """
    match = _HOST_AND_PORT.fullmatch(host_header.strip(" \t").lower())
    if match is None:
        return ""
    return match["bracketed"] or match["host"].removesuffix(".")


def is_cross_site(
    method: str,
    *,
    origin: str | None,
    fetch_site: str | None,
    own_origins: Collection[str],
    has_session: bool,
) -> bool:
    """Browsers name the origin of whatever may change something; programs with a token need name none."""
    if method in SAFE_METHODS:
        return False
    if origin is not None:
        return origin.lower() not in own_origins
    if fetch_site is not None:
        return fetch_site != "same-origin"
    return has_session


def host_is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
