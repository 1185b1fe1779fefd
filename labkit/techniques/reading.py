"""What a client half hands over, and how it reads a lab's JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labkit.client.connection import Opened
from labkit.client.http import HTTPClient
from labkit.client.http_connection import Body
from labkit.wire import envelope
from labkit.wire.events import Gap, size_bytes


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
    """Turns the JSON of one subscription into deliveries and gaps, and keeps its cursor and its bytes' marks.

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

    @property
    def unopened(self) -> bool:
        """Whether somebody still waits to be told where the subscription begins."""
        return self._on_open is not None

    def at(self, event_id: int) -> str:
        """The cursor of an event in the present epoch."""
        return f"{event_id}@{self._epoch}" if self._epoch else str(event_id)

    def read(self, text: str, received_ns: int) -> Delivery | Gap | None:
        """One line, part or message. None for what is not delivered (where a stream begins, a farewell)."""
        match envelope.decode(text):
            case envelope.Received(event_id, data):
                return self.delivered(event_id, data, received_ns)
            case Gap() as gap:
                self.opened(gap.cursor)
                return gap
            case envelope.Start(cursor):
                self.opened(cursor)
                return None
            case envelope.Closing():
                return None
        return self.foreign(text, received_ns)

    def delivered(self, event_id: int, data: str | bytes, received_ns: int) -> Delivery:
        self.count += 1
        self.cursor = self.at(event_id)
        return Delivery(event_id, data, self.cursor, received_ns, str(event_id))

    def foreign(self, data: str | bytes, received_ns: int, wire_id: str | None = None) -> Delivery:
        self.count += 1
        if wire_id is not None:
            self.cursor = wire_id
        if self._on_open is not None:
            self.opened(self.cursor)
        return Delivery(self.count, data, self.cursor, received_ns, wire_id)


def mark_json(body: Body, raw: bytes, items: Iterable[Delivery | Gap | None]) -> None:
    """Mark the JSON bytes *raw* that carried *items*: the data is payload, everything around it envelope.

    JSON escapes and base64 make the data longer on the wire; what they add counts as envelope.
    """
    at = 0
    for item in items:
        if not isinstance(item, Delivery):
            continue
        label, key = f"event {item.event_id}", "data" if isinstance(item.data, str) else "base64"
        needle = f'{{"id":{item.wire_id or item.event_id},"{key}":"'.encode()
        found = raw.find(needle, at)
        start = at if found < 0 else found + len(needle)  # not there: somebody else's JSON, or none
        payload = min(size_bytes(item.data), len(raw) - start)
        body.mark(max(found, at) - at, "envelope", "JSON")
        body.mark(start - max(found, at), "envelope", label, item.event_id)
        body.mark(payload, "payload", label, item.event_id)
        at = start + payload
    body.mark(len(raw) - at, "envelope", "JSON")


def read_answer(client: HTTPClient, reader: Reader, text: str) -> list[Delivery | Gap]:
    """What one whole answer to a poll brought, in order; the reader's cursor moves on, the bytes are marked.

    ``reader.more`` says whether to ask again at once.
    """
    assert client.http is not None
    received_ns = client.http.connection.received_ns
    answer = envelope.decode_answer(text)
    items: list[Delivery | Gap] = []
    reader.more = answer is not None and answer.more
    if answer is not None:
        if answer.gap is not None:
            items.append(answer.gap)
        reader.opened(answer.gap.cursor if answer.gap else answer.cursor)
        items += [reader.delivered(e.id, e.data, received_ns) for e in answer.events]
        reader.cursor = answer.cursor
    elif text:
        items.append(reader.foreign(text, received_ns))
    mark_json(client.http.body, text.encode(), items)
    return items
