"""Why a request to a worker failed, as the person reads it who has to mend it."""

import os

import aiohttp


def reason(error: BaseException) -> str:
    """Without the library's own notation: "Connection refused.", not "ssl:default [Connect call failed ...]"."""
    text = _words(error) or str(error) or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def _words(error: BaseException) -> str | None:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"The name {error.host} leads to no address"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        number = error.os_error.errno
        return os.strerror(number) if number is not None and number > 0 else None
    return None
