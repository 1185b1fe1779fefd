"""What a server gives its handlers: the hub, the limits, and which hosts and origins may use the lab.

A foreign ``Host`` is what DNS rebinding looks like; a foreign ``Origin`` is a page that nobody here has opened. Both
pass with a token (``tokens.py``) or when they were allowed by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from labkit.errors import EventTooLarge, LabClosed
from labkit.server.hub import Hub, TooManyTopics
from labkit.server.limits import check_data
from labkit.server.origins import LOOPBACK_NAMES, name_in_host, name_in_origin, origin_of, plain
from labkit.server.tokens import Tokens
from labkit.wire.events import Event


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
    buffering_hint: bool = True
    allow_origins: set[str] = field(default_factory=set)
    exchanges: int = 0  # subscriptions being served now
    answering: set[WebSocketHandler] = field(default_factory=set)  # open sockets that are no subscription
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
        """Whether a Host names this machine: a foreign one is what DNS rebinding looks like.

        Its port does not matter: intermediaries rewrite it, and rebinding takes a name of its own.
        """
        names = {name_in_origin(origin) for origin in self.allow_origins}
        return name_in_host(host) in LOOPBACK_NAMES | names - {None}

    def allowed_origin(self, origin: str, host: str) -> bool:
        """Whether a page of *origin* may use this lab: a loopback page, the page's own origin, or an allowed one."""
        name = name_in_origin(origin)
        if name is None:
            return False
        own = plain(origin) == origin_of(origin.partition("://")[0], host)
        return name in LOOPBACK_NAMES or own or plain(origin) in self.allow_origins

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
        if name_in_origin(origin.removesuffix("/")) is None:
            raise ValueError(f"not an origin: {origin!r} (expected one such as https://hub.example.org)")
        self.allow_origins.add(plain(origin))


class Refusal(HTTPError):
    """An HTTP error whose body is one sentence in plain text."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, reason=HTTPStatus(status).phrase)
        self.sentence = sentence
