"""Hosts and origins as they come in header fields, and in the one form in which they are compared. Pure."""

from __future__ import annotations

import re

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# the host, and with it perhaps a port, of a Host header or of an origin (RFC 3986 section 3.2; no user information)
_AUTHORITY = r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{1,5})?"
_HOST = re.compile(_AUTHORITY, re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(rf"https?://{_AUTHORITY}", re.ASCII | re.IGNORECASE)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def name_in_host(host: str) -> str | None:
    """The name in a Host header, in lower case; None where that is none."""
    match = _HOST.fullmatch(host)
    return match[1].lower() if match else None


def name_in_origin(origin: str) -> str | None:
    """The host's name in an origin, in lower case; None where that is none, as ``null``, any sandboxed frame's."""
    match = _ORIGIN.fullmatch(origin)
    return match[1].lower() if match else None


def plain(origin: str) -> str:
    """An origin as browsers write it: in lower case, without its scheme's default port (RFC 6454 section 6.2)."""
    origin = origin.lower().removesuffix("/")
    return origin.removesuffix(_DEFAULT_PORT.get(origin.partition("://")[0], ""))


def origin_of(scheme: str, host: str) -> str:
    """The origin of a page that *host* serves."""
    return plain(f"{scheme}://{host}")


def refused(origin: str) -> str:
    """What to tell a page that may not use the lab: who runs it can let it."""
    said = f"Origin: {origin[:80]!r} may not use this lab"
    if name_in_origin(origin) is None:
        return said
    return (
        f'{said}; allow it with Lab(allow_origins=["{plain(origin)}"]) or labkit serve --allow-origin {plain(origin)}'
    )
