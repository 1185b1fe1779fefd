"""What a client half hands over, and how it makes that of what a lab says."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.client.connection import Opened
from labkit.wire import envelope
from labkit.wire.events import Gap

Said = envelope.Received | Gap | envelope.Start | envelope.Closing


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event that arrived at one subscriber.

    Attributes:
        event_id: the event's id; against a server that is not a lab, its number in the order of arrival.
        data: its payload.
        cursor: what any technique of the same server accepts as ``after`` to go on from here.
        received_ns: when the read that completed it returned.
        wire_id: the id as it was sent, if one was.
    """

    event_id: int
    data: str | bytes
    cursor: str
    received_ns: int
    wire_id: str | None = None


class Reader:
    """Makes deliveries and gaps of what one subscription is told, and keeps its cursor.

    Text that is not a lab's JSON, as other people's servers send it, is one delivery each: its ``event_id`` is
    its number in the order of arrival.
    """

    def __init__(self, after: str | None, on_open: Opened | None) -> None:
        self.cursor = after or ""
        self.count = 0
        self.more = False  # the newest answer to a poll was cut: the rest is to be asked for at once
        self._on_open = on_open
        self._epoch = (after or "").partition("@")[2]

    def opened(self, cursor: str) -> None:
        """The server has said where the subscription begins."""
        self.cursor = cursor
        self._epoch = cursor.partition("@")[2]
        if self._on_open is not None:
            self._on_open(cursor)
            self._on_open = None

    def take(self, said: Said | str | bytes, received_ns: int) -> Delivery | Gap | None:
        """What one line, part or message said. None for what is not delivered (where a stream begins, a farewell)."""
        if isinstance(said, envelope.Received):
            return self.delivered(said.id, said.data, received_ns)
        if isinstance(said, (str, bytes)):
            return self.foreign(said if isinstance(said, str) else said.decode("utf-8", "replace"), received_ns)
        if isinstance(said, (Gap, envelope.Start)):
            self.opened(said.cursor)
        return said if isinstance(said, Gap) else None

    def take_answer(self, said: envelope.Answer | bytes | None, received_ns: int) -> list[Delivery | Gap]:
        """What one whole answer to a poll brought, in order; ``more`` says whether to ask again at once."""
        self.more = isinstance(said, envelope.Answer) and said.more
        if said is None:
            return []
        if isinstance(said, bytes):
            return [self.foreign(said.decode("utf-8", "replace"), received_ns)]
        self.opened(said.gap.cursor if said.gap else said.cursor)
        items: list[Delivery | Gap] = [] if said.gap is None else [said.gap]
        items += [self.delivered(event.id, event.data, received_ns) for event in said.events]
        self.cursor = said.cursor
        return items

    def delivered(self, event_id: int, data: str | bytes, received_ns: int, cursor: str | None = None) -> Delivery:
        """An event of a lab's, whose *cursor* is that of its id in the present epoch unless one came with it."""
        self.count += 1
        if cursor is None:
            cursor = f"{event_id}@{self._epoch}" if self._epoch else str(event_id)
        elif self._on_open is not None or cursor.partition("@")[2] != self._epoch:
            self.opened(cursor)
        self.cursor = cursor
        return Delivery(event_id, data, cursor, received_ns, str(event_id))

    def foreign(self, data: str | bytes, received_ns: int, wire_id: str | None = None) -> Delivery:
        self.count += 1
        if wire_id is not None:
            self.cursor = wire_id
        if self._on_open is not None:
            self.opened(self.cursor)
        return Delivery(self.count, data, self.cursor, received_ns, wire_id)
