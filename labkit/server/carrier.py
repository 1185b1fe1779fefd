"""What carries one HTTP exchange, whatever version it is of: a stream of HTTP/2, and of later versions."""

from __future__ import annotations

from asyncio import Future
from typing import Protocol

Fields = list[tuple[str, str]]


class Carrier(Protocol):
    """One exchange's two directions, each of which ends by itself."""

    def begin(self, status: int, fields: Fields, *, ends: bool) -> None:
        """Send a head; *ends*: there is no body."""

    def write(self, data: bytes, *, ends: bool = False) -> Future[None]:
        """Send a piece of the body. Done once no more of it waits here; StreamClosedError when it never will."""

    def taken(self, size: int) -> None:
        """So many bytes of the request's body have found their place: the peer may send as many more."""

    def stop(self) -> None:
        """Take no more of the request: its answer is whole."""

    def reset(self, *, fault: bool = False) -> None:
        """Give up both directions, so that the peer knows that the answer is not whole. *fault*: it is the server's."""
