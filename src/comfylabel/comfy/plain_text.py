"""A worker's own words, made fit for a database row, a log line and a page. Pure."""

import re

# PostgreSQL keeps no NUL and no half of a surrogate pair; an escape sequence would act on whoever reads the log.
_NOT_PLAIN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def plain(text: str, longest: int) -> str:
    """Line feeds stay; every other run of control characters becomes one space. At most `longest` characters."""
    # Cut twice: first what need not be read, then what is too long with "..." at its end.
    cleaned = _NOT_PLAIN.sub(" ", text[: longest + 1])
    return cleaned if len(cleaned) <= longest else f"{cleaned[: longest - 3]}..."
