"""A worker's own words, made fit for a database row, a log line and a page. Pure."""

import re

# PostgreSQL keeps no NUL and no half of a surrogate pair; an escape sequence would act on whoever reads the log.
_NOT_PLAIN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def plain(text: str, longest: int) -> str:
    """Line feeds stay; every other run of control characters becomes one space. At most `longest` characters."""
    # Cut twice: first what need not be read, then what is too long with "..." at its end.
    cleaned = _NOT_PLAIN.sub(" ", text[: longest + 1])
    return cleaned if len(cleaned) <= longest else f"{cleaned[: longest - 3]}..."


# Up to its last separator: of what stands in quotes, where a folder may hold a space, and of any other word with two
# separators or a drive's letter ("n/a" is no path).
_QUOTED_FOLDERS = re.compile(r"(?<=['\"])[^'\"\n]*[\\/](?=[^'\"\\/\n]*['\"])")
_FOLDERS = re.compile(r"[^\s'\"]*[\\/][^\s'\"]*[\\/]|[A-Za-z]:[\\/]+")


def without_paths(text: str) -> str:
    """Of a path only its last name: that /home/ann/ComfyUI/models/x.pt is missing is said as well by x.pt."""
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub("", text))
