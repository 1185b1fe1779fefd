"""Whose words these are: a lab is known by its first one, and nobody is taken for a lab by what he says later.

A lab states where a stream begins before anything else (``{"cursor":"17@k3f9"}``, in an event stream a block of only
that id), or that it cannot go on from what was asked (``{"gap":...}``), if a cursor was. Whose stream begins otherwise
is somebody else's: its lines, types, cursors and farewells are its own, and each is an event as a whole. An answer to a
poll has no word before it: there the first answer is the word.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.wire.envelope import Answer, Start, told, told_answer, told_binary
from labkit.wire.event_stream import StreamEvent
from labkit.wire.events import Gap
from labkit.wire.fragments import Message
from labkit.wire.spans import Item, Run, Sighting, spliced

_OURS = ("json", "gap", "closing")  # the types under which a lab's event stream carries labkit's own JSON


def as_a_whole(size: int) -> Item:
    """An event of somebody else's: so many bytes of payload."""
    return None, [(size, "payload", "", Sighting())]


def _firsts(goes_on: bool) -> tuple[type, ...]:
    return (Start, Answer, Gap) if goes_on else (Start, Answer)


class Words:
    """Reads what one server says in labkit's JSON, item by item: ``words(raw)``.

    Args:
        tell: what an item says, and what its bytes were for.
        goes_on: whether it was asked to go on from a cursor, or may have been; only then can a gap be the first word.

    Attributes:
        is_lab: whether it is a lab; None before its first word.
    """

    def __init__(self, tell: Callable[[bytes], Item] = told, *, goes_on: bool = True) -> None:
        self.is_lab: bool | None = None
        self._tell = tell
        self._first = _firsts(goes_on)

    def __call__(self, raw: bytes) -> Item:
        """What the next line, part, message or answer says; None for what is somebody else's."""
        if self.is_lab:
            return self._tell(raw)
        if self.is_lab is None:
            item = self._tell(raw)
            self.is_lab = isinstance(item[0], self._first)
            if self.is_lab:
                return item
        return as_a_whole(len(raw))


def answers() -> Words:
    """Reads the answers to the polls of one subscription, one after another."""
    return Words(told_answer)


class Messages(Words):
    """Reads the messages of a WebSocket's server.

    Args:
        with_id: binary ones begin with 8 bytes of id (``?binary=1``).
        goes_on: as of :class:`Words`.
    """

    def __init__(self, *, with_id: bool = False, goes_on: bool = True) -> None:
        super().__init__(goes_on=goes_on)
        self._with_id = with_id

    def message(self, message: Message) -> Item:
        """What the next message says; None for what is somebody else's."""
        data = message.data
        if isinstance(data, str):
            return self(data.encode())
        if self._with_id and self.is_lab:
            return told_binary(data)
        self.is_lab = bool(self.is_lab)
        return as_a_whole(len(data))


class Blocks:
    """Reads the blocks of one event stream that are told: the first, those with a type, and lone ids.

    Args:
        goes_on: as of :class:`Words`.

    Attributes:
        is_lab: whether a lab sends it; None before its first word.
    """

    def __init__(self, *, goes_on: bool = True) -> None:
        self.is_lab: bool | None = None
        self._first = _firsts(goes_on)

    def __call__(self, said: StreamEvent | str, runs: list[Run]) -> Item:
        """What a block says: a lab's JSON under three types, a lone id where it begins; else the block as it is."""
        if self.is_lab is not False:
            item = _told_block(said, runs)
            if self.is_lab is None:
                self.is_lab = isinstance(item[0], self._first)
            if self.is_lab:
                return item
        return (None if isinstance(said, str) else said), runs


def _told_block(said: StreamEvent | str, runs: list[Run]) -> Item:
    if isinstance(said, str):
        return Start.of(said), runs
    if said.type not in _OURS:
        return said, runs
    value, inner = told(said.data.encode())
    sighting = runs[0][3] if any(run[3] for run in inner) else None  # the block's own, with its id as it stood
    inner = [(count, category, label, run and sighting) for count, category, label, run in inner]
    runs = [(count, category, label, sighting) for count, category, label, _ in runs]
    return said if value is None else value, spliced(runs, inner)
