"""What a subscriber is handed, and each event of it encoded once for all that are told in the same bytes.

Pure: no sockets. What the bytes are is each technique's own affair; the JSON that most of them carry is in
``wire/envelope.py``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from labkit.wire.envelope import Closing, Start
from labkit.wire.events import Event, Gap

Item = Event | Gap | Start | Closing
Encode = Callable[[Item, str], bytes]
"""An item, and the epoch that its cursor is of, as the bytes of one technique."""
Wrap = Callable[[bytes], bytes]
Encoded = TypeVar("Encoded", str, bytes)

_CACHED_EVENTS = 256  # encoded events that are kept for those that are behind, and for the polls
_CACHED_BYTES = 1 << 20


def _uncounted(_: int) -> None: ...


class Once(Generic[Encoded]):
    """Events in the bytes of one encoding, each encoded once; the newest are kept, within bounds.

    Args:
        encode: gives the bytes of an event.
        counted: is told by how many bytes what is kept has grown, below 0 where it has shrunk.
    """

    __slots__ = ("_bytes", "_counted", "_encode", "_kept")

    def __init__(self, encode: Callable[[Event], Encoded], counted: Callable[[int], None] = _uncounted) -> None:
        self._encode: Callable[[Event], Encoded] = encode
        self._counted = counted
        self._kept: OrderedDict[int, Encoded] = OrderedDict()
        self._bytes = 0

    def __call__(self, event: Event) -> Encoded:
        found = self._kept.get(event.id)
        if found is None:
            found, before = self._encode(event), self._bytes
            self._kept[event.id] = found
            self._bytes += sys.getsizeof(found)  # a text's length says nothing of its bytes
            while self._kept and (len(self._kept) > _CACHED_EVENTS or self._bytes > _CACHED_BYTES):
                self._bytes -= sys.getsizeof(self._kept.popitem(last=False)[1])
            self._counted(self._bytes - before)
        return found

    def clear(self) -> None:
        """Keep nothing of what was encoded so far."""
        if self._bytes:
            self._kept.clear()
            self._counted(-self._bytes)
            self._bytes = 0

    def retire(self) -> None:
        """Its owner goes: what somebody may still encode with it counts no more."""
        self.clear()
        self._counted = _uncounted
