"""Where a server sends a request on to (RFC 9110 section 15.4): followed within one origin, said otherwise.

Each request begins at the address that was given; what a permanent redirection would let a client remember is not
remembered. WebSockets are never led on, as in browsers (WHATWG WebSockets section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.client.address import Address
from labkit.errors import AddressError, Refused

MOST = 5
STATUSES = frozenset({301, 302, 303, 307, 308})


def location(status: int, headers: Mapping[str, str]) -> str | None:
    """Where an answer leads on to, as its server wrote it, in UTF-8 as all write it; None if it does not."""
    said = headers.get("location") if status in STATUSES else None
    return None if said is None else said.encode("latin-1", "replace").decode("utf-8", "replace")


def leading_on(status: int, headers: Mapping[str, str], visited: list[Address]) -> Address | None:
    """Where the answer to a request at the last of *visited* leads, which is to be asked next; None if nowhere.

    Raises:
        Refused: it leads to another origin, in a circle, to no address, or for the sixth time in a row.
    """
    said = location(status, headers)
    if said is None:
        return None
    here, answered = visited[-1], f"the server answered {status} and leads on to"
    try:
        there = here.led_to(said)
    except AddressError as error:
        raise Refused(f"{answered} {said[:200]!r}: {error}", status=status) from None
    if there.origin != here.origin:
        raise Refused(f"{answered} {there}, which is another server: give that address if it is meant", status=status)
    if there in visited:
        circle = ", ".join(str(each) for each in [*visited[visited.index(there) :], there])
        raise Refused(f"the server leads in a circle: {circle}", status=status)
    if len(visited) > MOST:
        raise Refused(f"{answered} {there}, after {MOST} others in a row: not followed", status=status)
    return there


def refuse_to_be_led(status: int, headers: Mapping[str, str]) -> None:
    """Say that a handshake which is redirected has failed.

    Raises:
        Refused: it is.
    """
    said = location(status, headers)
    if said is not None:
        raise Refused(
            f"the server answered {status} and leads on to {said[:200]}; no WebSocket client of a browser follows, "
            "so give that address if it is meant",
            status=status,
        )
