"""A prompt's text from a template and one item of each pool. Pure."""

import re
from collections.abc import Iterable, Mapping

_LOOSE_ENDS = " \t\r\n,;"
_SENTENCE_ENDS = (".", "!", "?", ":")


def compose(template: str, values: Mapping[str, str]) -> str:
    """`template` with its `{pool name}` placeholders filled; items that it does not place follow at its end.

    A template without any placeholder is only an example text: the items alone are the prompt, joined by
    commas. Filled items are never searched for placeholders again.
    """
    if not values:
        return template
    placed: set[str] = set()

    def fill(found: re.Match[str]) -> str:
        name = found.group(1)
        placed.add(name)
        return values[name]

    names = sorted(values, key=len, reverse=True)
    filled = re.sub(r"\{\s*(" + "|".join(map(re.escape, names)) + r")\s*\}", fill, template)
    if not placed:
        return join(values.values())
    left_over = [text for name, text in values.items() if name not in placed]
    return join([filled, *left_over]) if left_over else filled


def join(texts: Iterable[str]) -> str:
    """`texts` with one clean separator between each two: no doubled commas, no blanks at the ends."""
    joined = ""
    for text in texts:
        cleaned = text.strip(_LOOSE_ENDS)
        if cleaned:
            separator = "" if not joined else " " if joined.endswith(_SENTENCE_ENDS) else ", "
            joined += separator + cleaned
    return joined
