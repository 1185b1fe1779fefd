"""How a client half makes deliveries of what a server says."""

from __future__ import annotations

from collections.abc import Callable

from labkit.errors import ConnectionLost
from labkit.techniques.delivery import Delivery, id_and_epoch
from labkit.wire import envelope
from labkit.wire.events import Gap, size_bytes

Opened = Callable[[str], None]
"""Told the cursor at which a subscription begins, as soon as the client knows it."""
Said = envelope.Received | Gap | envelope.Start | envelope.Closing


class Reader:
    """Makes deliveries and gaps of what one subscription is told, and keeps its cursor.

    What lies at or before the cursor in the same epoch is not handed over again, whoever repeats it: an intermediary
    that shares a connection among polls, a cache, a server that goes on from too far back.

    Text of somebody else's server is one delivery each: its ``event_id`` is its number in the order of arrival.

    Args:
        after: the cursor to go on from.
        on_open: told the cursor at which the subscription begins.
        held_back: told the payload bytes of each event that is not handed over.
        arrived: how many events have come before.

    Attributes:
        is_lab: whether a lab has been heard.
        more: whether the newest answer to a poll was cut, and the rest is to be asked for at once.
        brought: whether the newest answer was one, and another than the one before.
    """

    def __init__(
        self,
        after: str | None,
        on_open: Opened | None,
        held_back: Callable[[int], None] = lambda _: None,
        arrived: int = 0,
    ) -> None:
        self.cursor = after or ""
        self.count = arrived
        self.is_lab = self.more = self.brought = False
        self._before: bytes | None = None  # the newest answer of somebody else's
        self._on_open, self._held_back = on_open, held_back
        self._newest, self._epoch = id_and_epoch(self.cursor)

    def opened(self, cursor: str) -> None:
        """The server has said where the subscription begins, or is: never before where it has been."""
        newest, epoch = id_and_epoch(cursor)
        if epoch != self._epoch or newest > self._newest:
            self._move(cursor)
        self._tell_open(self.cursor)

    def _move(self, cursor: str) -> None:
        self.cursor = cursor
        self._newest, self._epoch = id_and_epoch(cursor)

    def _tell_open(self, cursor: str) -> None:
        if self._on_open is not None:
            self._on_open(cursor)
            self._on_open = None

    def take(self, said: Said | str | bytes, received_ns: int) -> Delivery | Gap | None:
        """What one line, part or message said.

        None for what is not delivered: where a stream begins, a farewell, what has been told before.

        Raises:
            ConnectionLost: what a lab does not say, where a lab has been heard.
        """
        if isinstance(said, envelope.Received):
            return self.delivered(said.id, said.data, received_ns)
        if isinstance(said, (str, bytes)):
            return self.foreign(said if isinstance(said, str) else said.decode("utf-8", "replace"), received_ns)
        self.is_lab = True
        if isinstance(said, Gap):
            return self._gap(said)
        if isinstance(said, envelope.Start):
            self.opened(said.cursor)
        return None

    def take_answer(self, said: envelope.Answer | bytes | None, received_ns: int) -> list[Delivery | Gap]:
        """What one whole answer to a poll brought, in order; ``more`` says whether to ask again at once.

        Raises:
            ConnectionLost: as ``take``.
        """
        self.more = self.brought = False
        if said is None:
            return []
        if isinstance(said, bytes):
            self.brought, self._before = said != self._before, said
            return [self.foreign(said.decode("utf-8", "replace"), received_ns)]
        self.is_lab = True
        gap = None if said.gap is None else self._gap(said.gap)
        self._tell_open(said.cursor)
        self._enter(said.cursor.partition("@")[2])
        found = [self.delivered(event.id, event.data, received_ns) for event in said.events]
        self.opened(said.cursor)
        items = [item for item in (gap, *found) if item is not None]
        self.brought = bool(items) or not said.events
        self.more = said.more and bool(items)
        return items

    def _gap(self, gap: Gap) -> Gap | None:
        """A gap begins where this subscription is, and ends further on or in another epoch; else it was told before."""
        newest, epoch = id_and_epoch(gap.cursor)
        was_told = epoch == self._epoch and newest <= self._newest and gap.after != self.cursor
        if not was_told:
            self._move(gap.cursor)
        self._tell_open(gap.cursor)
        return None if was_told else gap

    def _enter(self, epoch: str) -> None:
        """What comes next is of this epoch; in another one ids begin anew."""
        if epoch != self._epoch:
            self._newest, self._epoch = 0, epoch

    def delivered(
        self, event_id: int, data: str | bytes, received_ns: int, cursor: str | None = None
    ) -> Delivery | None:
        """An event of a lab's, whose *cursor* is that of its id in the present epoch unless one came with it."""
        if cursor is None:
            cursor = f"{event_id}@{self._epoch}" if self._epoch else str(event_id)
        else:
            self._enter(cursor.partition("@")[2])
        if event_id <= self._newest:
            self._held_back(size_bytes(data))
            return None
        self.count += 1
        self._newest, self.cursor = event_id, cursor
        if self._on_open is not None:  # asked at each event: without a call
            self._tell_open(cursor)
        return Delivery(event_id, data, cursor, received_ns, str(event_id))

    def foreign(
        self, data: str | bytes, received_ns: int, wire_id: str | None = None, cursor: str | None = None
    ) -> Delivery:
        """An event of somebody else's; *cursor* is what to come back with, where there is such a thing.

        Raises:
            ConnectionLost: a lab has been heard, and this is none of it: something between puts its own words in.
        """
        if self.is_lab:
            shown = data[:60] if isinstance(data, str) else data[:60].decode("utf-8", "replace")
            raise ConnectionLost(f"the lab's words were followed by what no lab says: {shown!r}")
        self.count += 1
        if cursor is not None:
            self.cursor = cursor
        self._tell_open(self.cursor)
        return Delivery(self.count, data, self.cursor, received_ns, wire_id)
