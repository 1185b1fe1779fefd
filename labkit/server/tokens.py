"""Which pages of a foreign origin may use a lab: those that bring a token which the kernel gave them.

A notebook's page that is not served from a loopback name (a hub, another machine) has an origin that any other page
of that host has too, so the origin alone proves nothing. The kernel draws a token for each of its widgets, which only
the notebook's own page is told. Pure: no sockets. Safe from any thread.
"""

from __future__ import annotations

import hmac
import threading

from labkit.server.origins import name_in_host, name_in_origin, plain

MAX_TOKENS = 256
MAX_ORIGINS = 16  # for each token: the names under which one notebook is opened
MAX_LENGTH = 300


class Tokens:
    """Tokens and the origins that each is good for. At most 256 of them; beyond that the oldest goes."""

    def __init__(self) -> None:
        self._origins: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def allow(self, token: str, origin: str | None = None) -> None:
        """Take *token* from pages of *origin*; without one, from those of the first origin that brings it.

        A cell that is still running keeps the kernel from hearing which origin its page has; the page that
        brings the token has it from the kernel all the same.
        """
        with self._lock:
            origins = self._origins.setdefault(token, set())
            if origin is not None and origin != "null" and len(origins) < MAX_ORIGINS:
                origins.add(plain(origin))
            while len(self._origins) > MAX_TOKENS:
                del self._origins[next(iter(self._origins))]

    def forget(self, token: str) -> None:
        """Take it no more."""
        with self._lock:
            self._origins.pop(token, None)

    def admits(self, token: str, origin: str | None, host: str) -> tuple[bool, bool]:
        """Whether *token* lets a request with that Origin and that Host header pass.

        A page's GET of its own origin has no Origin header, so there the Host must be the one of an origin that the
        token is good for.

        Returns:
            for the origin, for the host.
        """
        with self._lock:
            good = [origins for known, origins in self._origins.items() if same(known, token)]
            if not good:
                return False, False
            origins = good[0]
            if origin is not None:
                origin = plain(origin)
                if not origins and origin != "null" and len(origin) <= MAX_LENGTH:
                    origins.add(origin)
                if origin not in origins:
                    return False, False
            return True, name_in_host(host) in {name_in_origin(known) for known in origins} - {None}


def same(known: str, given: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "replace"))
