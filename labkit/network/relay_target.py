"""What a relay stands in front of, and the addresses that it has there.

A target is anything that names its ports, which are then those of 127.0.0.1, or one ``(host, port)``. Whether anybody
listens there is not asked: a relay finds that out with each connection.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Protocol

from labkit.errors import AddressError, LabkitError

HOST = "127.0.0.1"


class HasPorts(Protocol):
    """A lab, a relay: anything that names its ports on 127.0.0.1."""

    @property
    def ports(self) -> Mapping[str, int]: ...


Target = HasPorts | tuple[str, int]
SockAddr = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""A family, and an address of that family as ``connect`` takes it."""


def check_address(address: object) -> tuple[str, int]:
    """*address* when it is ``(host, port)``; else ValueError, an AddressError where it is text such as a URL."""
    match address:
        case (str() as host, int() as port) if host and 0 < port < 65536 and not isinstance(port, bool):
            return host, port
    refused = AddressError if isinstance(address, str) else ValueError
    raise refused(f"a target is a lab, a relay or (host, port), not {address!r}")


def addresses(target: Target | None, name: str, kinds: tuple[str, ...] | None) -> dict[str, tuple[str, int]]:
    """The target's addresses by the name of the port."""
    if target is None:
        raise LabkitError(f"{name} has no target: give it one, bind() it, or pass it to measure(through=...)")
    if isinstance(target, tuple):
        return {"http": target}
    ports = {kind: (HOST, port) for kind, port in target.ports.items() if kinds is None or kind in kinds}
    if not ports:
        raise LabkitError(f"the target of {name} has no open port: start it first")
    return ports


def resolve(address: tuple[str, int]) -> list[SockAddr]:
    """Where to connect to, in the system's order; ValueError when the host has no address."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"the target's host {address[0]!r} does not resolve: {error}") from error
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]
