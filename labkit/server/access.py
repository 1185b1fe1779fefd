"""What a server gives its handlers: the hub, the limits, and which hosts and origins may use the lab.

A foreign ``Host`` is what DNS rebinding looks like; a foreign ``Origin`` is a page that nobody here has opened. Both
pass with a token (``tokens.py``) or when they were allowed by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from tornado.web import HTTPError

from labkit.errors import EventTooLarge, LabClosed
from labkit.server.hub import Hub, TooManyTopics
from labkit.server.limits import check_data
from labkit.server.tokens import Tokens
from labkit.wire.events import Event

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# the host, and with it perhaps a port, of a Host header or of an origin (RFC 3986 section 3.2; no user information)
_AUTHORITY = r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{1,5})?"
_HOST = re.compile(_AUTHORITY, re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(rf"https?://{_AUTHORITY}", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class Context:
    """What a server gives its handlers."""

    lab_id: str
    hub: Hub
    max_event_bytes: int
    write_timeout_s: float
    heartbeat_s: float
    hold_s: float
    fanout: str
    allow_origins: set[str] = field(default_factory=set)
    exchanges: int = 0  # subscriptions being served now
    tokens: Tokens = field(default_factory=Tokens)

    def publish(self, data: str | bytes, topic: str, published_ns: int) -> Event:
        """Publish what a client sent.

        Raises:
            HTTPError: 413 over the limit, 503 when there is no room for another topic or the lab is closing.
        """
        try:
            check_data(data, self.max_event_bytes)
            return self.hub.publish(data, topic, published_ns)
        except EventTooLarge as error:
            raise Refusal(413, str(error)) from None
        except (TooManyTopics, LabClosed) as error:
            raise Refusal(503, str(error)) from None

    def allowed_host(self, host: str) -> bool:
        """Whether a Host names this machine: a foreign one is what DNS rebinding looks like."""
        match = _HOST.fullmatch(host)
        loopback = match is not None and match[1].lower() in LOOPBACK_NAMES
        return loopback or host.lower() in {origin.partition("://")[2] for origin in self.allow_origins}

    def allowed_origin(self, origin: str, host: str) -> bool:
        """Whether a page of *origin* may use this lab: a loopback page, the page's own origin, or an allowed one."""
        match = _ORIGIN.fullmatch(origin)
        if match is None:  # "null" too: any sandboxed frame has it
            return False
        own = origin.partition("://")[2] == host
        return match[1].lower() in LOOPBACK_NAMES or own or origin in self.allow_origins

    def allowed(self, origin: str | None, host: str, token: str) -> tuple[bool, bool]:
        """Whether a request with that Origin, that Host and that ``token`` may pass: for the origin, for the host."""
        by_token = self.tokens.admits(token, origin, host) if token else (False, False)
        own = origin is None or self.allowed_origin(origin, host)
        return by_token[0] or own, by_token[1] or self.allowed_host(host)

    def allow_origin(self, origin: str) -> None:
        """Let pages of *origin*, such as ``https://hub.example.org``, use the lab.

        Raises:
            ValueError: it is not an origin.
        """
        plain = origin.removesuffix("/").lower()
        if not _ORIGIN.fullmatch(plain):
            raise ValueError(f"not an origin: {origin!r} (expected one such as https://hub.example.org)")
        self.allow_origins.add(plain)


class Refusal(HTTPError):
    """An HTTP error whose body is one sentence in plain text."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, reason=HTTPStatus(status).phrase)
        self.sentence = sentence
