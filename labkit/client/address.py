"""What the kit's clients can be pointed at, and what they refuse to speak to.

There is no TLS here. A client that spoke plain HTTP to an ``https`` address would show the token to everybody on the
way, so any scheme that is not spoken is refused before a byte leaves.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from labkit.errors import AddressError

WEB = ("http", "ws")
"""What the HTTP and WebSocket clients take."""
TCP = ("tcp",)
"""What the plugin socket takes."""


def split(url: str, schemes: tuple[str, ...] = WEB) -> SplitResult:
    """The parts of *url*, once it is known that a client of these *schemes* can speak to it.

    Raises:
        AddressError: another scheme, no host, or a port that is none.
    """
    expected = f"expected {' or '.join(f'{scheme}://' for scheme in schemes)} and a host"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise AddressError(f"{url!r} is no address: {error}; {expected}") from None
    if parts.scheme in ("https", "wss"):
        raise AddressError(f"{url!r} needs TLS, which labkit does not speak, so nothing was sent; {expected}")
    if parts.scheme not in schemes or not parts.hostname:
        raise AddressError(f"{url!r} is no address for this client, so nothing was sent; {expected}")
    return parts
