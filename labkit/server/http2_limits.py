"""What one peer may make an HTTP/2 server do (RFC 9113 section 10.5): each frame is looked at before ``h2`` reads it.

A frame costs, and what gets somewhere pays. A peer begins with some hundreds of frames that get nowhere, has more as
time passes, and earns what an ordinary client sends beside each answer. Who has spent it is asked to be calm
(``ENHANCE_YOUR_CALM``) and let go; other connections do not notice, since the frames of one are handed on a few at a
time.

=============================================================  ========================================================
what is sent                                                   what bounds it
=============================================================  ========================================================
streams begun and reset at once (CVE-2023-44487), or with      a request costs until it is answered, a reset costs
what makes the server reset them (CVE-2025-8671)
CONTINUATION without end (CVE-2024-27316)                      the bytes of a field block, and its time
SETTINGS, PING, PRIORITY, unknown types, empty DATA,           each costs
DATA for streams that are gone (CVE-2019-9512 to 9518)
WINDOW_UPDATE, and windows opened byte by byte (CVE-2019-9511) costs; only DATA that no window has cut small pays
a field block that unpacks to megabytes (CVE-2016-6581)        ``h2``'s bound on its unpacked size
a table of any size for the fields of answers                  no more of it is used than is usual
a frame said to be large                                       refused by its head
a preface, or a field block, that does not come to its end     its time
=============================================================  ========================================================

How many streams there may be, how long one that nobody reads is held, and that a peer which takes no answers is not
read either, is told by ``http2_streams.py`` and ``http2_sending.py``. Pure: no socket, no event loop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterator

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from labkit.wire.http2 import HEADER_BYTES, Kind

FRAME_BYTES = 16_384
"""The largest frame that is taken: what a server that says nothing takes (section 6.5.2)."""
BLOCK_BYTES = 64 << 10
"""The most that a field block may have, packed; unpacked it may have as much."""
TABLE_BYTES = 4096
"""The most that the table of what is sent may have; a peer may grant any size (RFC 7541 section 7.3)."""
AT_ONCE = 8
"""How many frames are handed on together; then the event loop may belong to others."""
BURST = 1000
"""What a peer has at the beginning, and at the most."""
PER_S = 50
"""What it has more of after each second."""
ANSWERED = 6
"""What an answer that has ended pays: its request, and what a client may say beside it."""
SENT = 3
"""What DATA pays that was sent: a PING now and then, and some of its stream, if that is left."""
UPDATES = 2
"""How many WINDOW_UPDATE DATA lets its peer send besides, for the stream and the connection, however late they come."""
SMALL_BYTES = 256
"""DATA below this that a window has cut off pays nothing; a field block above it is handed on alone."""
RESET = 3
"""What it costs to give a stream up, beside its request."""
COSTS: dict[int, int] = {Kind.HEADERS: 2, Kind.RST_STREAM: RESET}
"""In frames that get nowhere; what is not named costs one, SETTINGS more the more they are."""
MOST = (1 << 31) - 1
_SIZES: dict[int, int] = {Kind.PING: 8, Kind.RST_STREAM: 4, Kind.WINDOW_UPDATE: 4}
_OF_BLOCKS = (Kind.HEADERS, Kind.CONTINUATION)
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED = 0x4, 0x8


class Fault(Exception):
    """What ends a connection (section 5.4.1)."""

    def __init__(self, code: ErrorCodes, why: str) -> None:
        super().__init__(why)
        self.code = code


class Allowance:
    """What one peer has left, in frames that get nowhere.

    Args:
        clock: seconds, from whenever.
    """

    __slots__ = ("_clock", "_left", "_since_s", "_updates")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._updates = 0
        self._since_s = clock()

    def charge(self, cost: int, what: str) -> None:
        """Take that much.

        Raises:
            Fault: there is not as much left.
        """
        now_s = self._clock()
        self.earn((now_s - self._since_s) * PER_S)
        self._since_s = now_s
        if self._left < cost:
            raise Fault(ErrorCodes.ENHANCE_YOUR_CALM, f"too much that gets nowhere, at last {what}")
        self._left -= cost

    def earn(self, much: float) -> None:
        self._left = min(BURST, self._left + much)

    def sent(self) -> None:
        """DATA was sent that will be answered. Who reads late says late that it has read, and then all at once."""
        self.earn(SENT)
        self._updates += UPDATES

    def charge_update(self) -> None:
        """Take what a WINDOW_UPDATE costs: nothing, as long as there is DATA that it may be about.

        Raises:
            Fault: as :meth:`charge`.
        """
        if self._updates:
            self._updates -= 1
        else:
            self.charge(1, "WINDOW_UPDATE")


class Gate:
    """Hands on whole frames, a few at a time, and none that no answer of ``h2`` could follow.

    Beside what a frame costs this sees to what ``h2`` leaves to others: that SETTINGS come first (section 3.4), that a
    frame's size is refused before all of it is here (4.2), sizes that are fixed (6.5, 6.7), a reserved bit (6.9).

    Args:
        preface: what of it is still to come.
        allowance: what the peer has left.
        streams: those that there are.
    """

    __slots__ = ("_allowance", "_begun", "_block_bytes", "_count", "_held", "_in_block", "_preface", "_streams")

    def __init__(self, preface: bytes, allowance: Allowance, streams: Container[int]) -> None:
        self._allowance = allowance
        self._preface = preface  # what of it is still to come
        self._streams = streams
        self._begun = False  # the peer's settings are here
        self._held = bytearray()
        self._in_block = False  # a field block is not whole
        self._block_bytes = 0
        self._count = 0  # of frames handed on, a field block in pieces being one

    @property
    def waits(self) -> int:
        """A number of what the peer has begun and must end in its time, the preface or a field block; 0 if nothing."""
        waits = not self._begun or self._in_block or (len(self._held) > 3 and self._held[3] == Kind.HEADERS)
        return 1 + self._count if waits else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Whole frames of what has come, those before a fault too.

        Raises:
            Fault: the connection must end.
        """
        self._held += data
        if self._preface and not self._take_preface():
            return
        begin = end = count = 0
        try:
            while (behind := self._look(end)) > end:
                kind, size = self._held[end + 3], behind - end
                # in one piece with a GOAWAY h2 forgets its answers to what comes before, and reads nothing behind it
                leaves, is_large = kind == Kind.GOAWAY, kind in _OF_BLOCKS and size > SMALL_BYTES
                if leaves and begin < end:
                    yield bytes(self._held[begin:end])
                    begin = end
                end, count = behind, count + 1
                if count % AT_ONCE == 0 or leaves or is_large:  # many fields take their time
                    yield bytes(self._held[begin:end])
                    begin = end
        except Fault:
            if begin < end:
                yield bytes(self._held[begin:end])
            raise
        if begin < end:
            yield bytes(self._held[begin:end])
        del self._held[:end]

    def _take_preface(self) -> bool:
        """Whether all of the preface is here."""
        size = min(len(self._preface), len(self._held))
        if self._held[:size] != self._preface[:size]:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "not the preface")
        self._preface = self._preface[size:]
        del self._held[:size]
        return not self._preface

    def _look(self, at: int) -> int:
        """Look at the frame that begins there; where it ends, or *at* while it is not whole."""
        held = self._held
        if len(held) < at + HEADER_BYTES:
            return at
        kind, flags, size = held[at + 3], held[at + 4], int.from_bytes(held[at : at + 3])
        if size > FRAME_BYTES:
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        body = at + HEADER_BYTES
        if len(held) < body + size:
            return at
        if not self._begun:
            if kind != Kind.SETTINGS or flags & _ACK:
                raise Fault(ErrorCodes.PROTOCOL_ERROR, "no settings first")
            self._begun = True
        if size != _SIZES.get(kind, size) or (kind == Kind.SETTINGS and flags & _ACK and size):
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of type {kind} of {size} bytes")
        stream = int.from_bytes(held[at + 5 : body]) & MOST
        if kind == Kind.DATA:
            padding = held[body] + 1 if size and flags & _PADDED else 0
            gets_nowhere = size <= padding and not flags & _END_STREAM
            self._allowance.charge(int(gets_nowhere or stream not in self._streams), "DATA")
        elif kind == Kind.SETTINGS:
            self._look_at_settings(flags, body, size)
        elif kind == Kind.WINDOW_UPDATE:
            self._allowance.charge_update()
            held[body] &= 0x7F
        else:
            self._allowance.charge(COSTS.get(kind, 1), f"a frame of type {kind}")
        if kind in _OF_BLOCKS:
            self._look_at_block(size, bool(flags & _END_HEADERS))
        self._count += not self._in_block
        return body + size

    def _look_at_settings(self, flags: int, body: int, size: int) -> None:
        """Each in its order: ``h2`` keeps only what is said last (6.5.3), and a table as large as it is told."""
        self._allowance.charge(1 if flags & _ACK else 4 + size // 6, "SETTINGS")
        for at in range(body, body + size - 5, 6):
            name, value = struct.unpack_from(">HI", self._held, at)
            if name == SettingCodes.INITIAL_WINDOW_SIZE and value > MOST:
                raise Fault(ErrorCodes.FLOW_CONTROL_ERROR, "a window above its most")
            if name == SettingCodes.HEADER_TABLE_SIZE and value > TABLE_BYTES:
                struct.pack_into(">I", self._held, at + 2, TABLE_BYTES)

    def _look_at_block(self, size: int, whole: bool) -> None:
        self._block_bytes = size + (self._block_bytes if self._in_block else 0)
        if self._block_bytes > BLOCK_BYTES:
            raise Fault(ErrorCodes.ENHANCE_YOUR_CALM, f"a field block of {self._block_bytes} bytes and more")
        self._in_block = not whole
