"""What lets somebody in, and so is in nothing that is shown or written: by the names of fields and of query values."""

from __future__ import annotations

import re

from labkit.measuring.masking import FIELDS, QUERY

LEFT_OUT = "(left out)"
NAMES = (*FIELDS, "X-Api-Key", "Api-Key", "X-Auth-Token", "X-Access-Token", "X-Csrf-Token", "Mcp-Session-Id")
"""Fields of which only the name is kept; so is any other that is called alike."""
_NAMES = frozenset(name.lower() for name in NAMES)
_ALIKE = re.compile(r"token|secret|passw|credential|api-?key|session", re.IGNORECASE)
_IN_QUERY = re.compile(rf"({QUERY})[^&\s\"#]+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether the value of a field of this name is left out."""
    return name.lower() in _NAMES or _ALIKE.search(name) is not None


def shown(text: str) -> str:
    """An address, or what else has one in it, without the values in its query that let somebody in."""
    return _IN_QUERY.sub(rf"\1{LEFT_OUT}", text)
