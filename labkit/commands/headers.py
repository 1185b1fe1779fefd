"""``--header NAME:VALUE`` of several commands."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import LabkitError

SEPARATORS = {"cookie": "; "}
"""Of a field that is given several times, by its name; a comma else (RFC 6265 section 5.4, RFC 9110 section 5.3)."""


def headers_of(texts: Iterable[str]) -> dict[str, str]:
    """The fields; what is given several times is joined.

    Raises:
        LabkitError: one has no colon. It is not shown: it may be a key.
    """
    names, found = dict[str, str](), dict[str, str]()
    for text in texts:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon:
            raise LabkitError("--header: expected NAME:VALUE, and there is no colon in it")
        named = names.setdefault(name.lower(), name)
        before = f"{found[named]}{SEPARATORS.get(name.lower(), ', ')}" if named in found else ""
        found[named] = before + value
    return found
