"""What lets somebody in, and so is in nothing that is shown or written: by the names of fields and of query values."""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.measuring.masking import FIELDS, QUERY

LEFT_OUT = "(left out)"
NAMES = (*FIELDS, "X-Api-Key", "Api-Key", "X-Auth-Token", "X-Access-Token", "X-Csrf-Token", "Mcp-Session-Id")
"""Fields of which only the name is kept; so is any other that is called alike."""
_NAMES = frozenset(name.lower() for name in NAMES)
_ALIKE = re.compile(r"token|secret|passw|credential|api-?key|session", re.IGNORECASE)
_IN_QUERY = re.compile(rf"({QUERY})(?!{re.escape(LEFT_OUT)})[^&\s\"#]+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether the value of a field of this name is left out."""
    return name.lower() in _NAMES or _ALIKE.search(name) is not None


_PLAIN = re.compile(
    r"accept|content-|user-agent$|host$|origin$|referer$|cache-control$|pragma$|last-event-id$|(x-)?forwarded|via$|"
    r"range$|if-|te$|sec-",
    re.IGNORECASE,
)
_LEAST, _LEAST_OF_A_WORD = 4, 8
"""Characters of what is looked for where an answer repeats it: shorter ones are in anything."""


def values_in(name: str, value: str) -> list[str]:
    """What of a field that somebody named is looked for where an answer repeats it; nothing of what is no secret."""
    if _PLAIN.match(name):
        return []
    return [value, *(word for word in re.split(r"[\s;,=]+", value) if len(word) >= _LEAST_OF_A_WORD)]


def values_of_query(address: str) -> list[str]:
    """The values in the query of an address that let somebody in."""
    return [found[0][len(found[1]) :] for found in _IN_QUERY.finditer(address)]


def hidden(text: str, values: Iterable[str]) -> str:
    """The text without these values, wherever they stand in it, and as :func:`shown`."""
    text = shown(text)
    for value in sorted(filter(lambda each: len(each) >= _LEAST, values), key=len, reverse=True):
        text = text.replace(value, LEFT_OUT)
    return text


def shown(text: str) -> str:
    """An address, or what else has one in it, without the values in its query that let somebody in."""
    return _IN_QUERY.sub(rf"\1{LEFT_OUT}", text)
