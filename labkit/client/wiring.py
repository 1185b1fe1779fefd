"""What a client's connections have in common: where their bytes are put down, whom they believe, how long they wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.client.address import Address
from labkit.client.connecting import CONNECT_TIMEOUT_S
from labkit.client.ledger import Ledger
from labkit.client.tls import SYSTEM, Trust
from labkit.sockets import MSS
from labkit.theory.path import SILENCE_S


@dataclass(frozen=True, slots=True)
class Wiring:
    """One client's, given to each connection that it opens.

    Attributes:
        ledger, technique, subscriber: where their bytes are put down, and as whose.
        mss: the largest segment, in bytes; None leaves it to the system.
        fields: more of a request's head, beside what its technique says in it.
        trust: whose certificates are believed.
        silence_s: how long the other side may say nothing, or take nothing, before the connection is taken for lost.
        answer_s: how long it may take to begin the answer to a request.
        versions: of HTTP, the ones that are spoken: over TLS the server chooses among them (ALPN, RFC 7301).
        opener: gives a client what it has of a connection that it shares; by default it opens one of its own.
    """

    ledger: Ledger
    technique: str
    subscriber: int = 0
    mss: int | None = MSS
    fields: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = SYSTEM
    silence_s: float = SILENCE_S
    answer_s: float = SILENCE_S
    versions: tuple[int, ...] = (1,)
    opener: Callable[[Address, Wiring], Awaitable[Any]] | None = None

    @property
    def connect_s(self) -> float:
        """How long it may take to connect, and as long again to shake hands."""
        return min(CONNECT_TIMEOUT_S, self.answer_s)
