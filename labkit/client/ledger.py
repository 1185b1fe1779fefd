"""What went over each connection: the bytes, when, and what each byte was for.

Pure bookkeeping, filled by the counted sockets in ``connection.py`` and by the relays. Directions are the
client's on every hop: ``out`` runs from the client to the server, ``in`` from the server to the client.

Every byte that a client sent or read ends up in one category:

==========  =====================================================================
payload     the event's own data
envelope    the event's id and the JSON around the data
framing     chunk headers, SSE fields, frame headers, boundaries, NULs
headers     HTTP requests, status lines and header fields
tls         TLS handshakes, and of each record what is not its content (RFC 8446
            section 5.2: its header, its padding, its tag)
==========  =====================================================================

Where there is TLS, ``bytes_in`` and ``bytes_out`` count what is on the wire; transfers and marks lie in what it
carries, whose bytes keep their sizes when they are encrypted.

TCP and IP headers are not among the bytes read from a socket. They are *derived* from the kernel's count of
segments (``TCP_INFO``, Linux) as 40 bytes a segment, 52 with TCP timestamps, and a SYN's options; what follows the
close is added by rule (``segments.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from labkit.wire.spans import CATEGORIES, Category, Direction, Mark


@dataclass(frozen=True, slots=True)
class Transfer:
    """One read or one write: the bytes and where they lie in their direction's stream."""

    t_ns: int
    direction: Direction
    start: int
    data: bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


@dataclass(slots=True)
class ConnectionRecord:
    """One TCP connection as one side of one hop saw it.

    Counters are exact for the connection's whole life. ``transfers`` and ``marks`` hold its newest
    ``keep_bytes`` bytes; ``dropped_bytes`` says how many older ones were let go.
    """

    technique: str
    subscriber: int
    hop: str  # "client", or a relay's name with ".near" (towards the client) or ".far"
    local: tuple[str, int]
    remote: tuple[str, int]
    opened_ns: int
    connected_ns: int | None = None
    closed_ns: int | None = None
    closed_by: str | None = None  # "client", "server", "reset"
    ended_ns: int | None = None  # of a relay's: when the first FIN or RST came; the other direction may go on
    bytes_out: int = 0  # on the wire
    bytes_in: int = 0
    carried_out: int = 0  # without those of TLS: where the next transfer begins
    carried_in: int = 0
    writes: int = 0
    reads: int = 0
    requests: int = 0
    responses: int = 0
    segments_out: int | None = None
    segments_in: int | None = None
    segment_header_bytes: int = 40
    syn_option_bytes: int = 0  # what both SYN carry beyond that
    duplicates: int = 0  # events that came again and were not handed over
    duplicate_bytes: int = 0  # of their payload, which is counted as such too
    heard_ns: int = 0  # when the newest byte came
    tls_version: str = ""  # and cipher suite, once the handshake is done
    http_version: str = ""  # 1.0, 1.1 or 2, as its server has spoken it; empty before it has, or without HTTP
    shared: bool = False  # by several subscribers of its technique: whose a byte is, its exchange says
    alpn: str = ""  # the protocol that was agreed on in it (RFC 7301)
    handshake_bytes: int = 0  # of TLS, both ways
    by_category: dict[Category, int] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    by_route: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of a relay's: requests and bytes by category, by path and topic with a space between."""
    transfers: deque[Transfer] = field(default_factory=deque)
    marks: deque[Mark] = field(default_factory=deque)
    keep_bytes: int = 1 << 20
    held_bytes: int = 0
    dropped_bytes: int = 0

    def transferred(self, direction: Direction, data: bytes, t_ns: int, wire_bytes: int | None = None) -> None:
        """Put down one write (``out``) or one read (``in``).

        Args:
            data: what it carried.
            wire_bytes: its size where TLS makes that another one; what is whole of it, :meth:`sealed` is told.
        """
        size = len(data) if wire_bytes is None else wire_bytes
        if direction == "out":
            self.bytes_out, self.writes = self.bytes_out + size, self.writes + 1
            start, self.carried_out = self.carried_out, self.carried_out + len(data)
        else:
            self.bytes_in, self.reads, self.heard_ns = self.bytes_in + size, self.reads + 1, t_ns
            start, self.carried_in = self.carried_in, self.carried_in + len(data)
        if wire_bytes is not None and not data:
            return
        if self.keep_bytes <= 0:
            self.dropped_bytes += len(data)
            return
        self.transfers.append(Transfer(t_ns, direction, start, data))
        self.held_bytes += len(data)
        while self.held_bytes > self.keep_bytes and len(self.transfers) > 1:
            oldest = self.transfers.popleft()
            self.held_bytes -= len(oldest.data)
            self.dropped_bytes += len(oldest.data)

    def sealed(self, size: int) -> None:
        """Put down bytes that TLS has added to what it carries: read or written already, and now of a whole record."""
        self.by_category["tls"] += size

    def mark_all(self, marks: Sequence[Mark]) -> None:
        """Say what bytes were for that one read or write brought."""
        by_category = self.by_category
        for mark in marks:
            by_category[mark.category] += mark.stop - mark.start
        if self.keep_bytes > 0:
            self.marks.extend(marks)
            while len(self.marks) > 64 + self.keep_bytes // 16:
                self.marks.popleft()

    @property
    def bytes_total(self) -> int:
        return self.bytes_in + self.bytes_out

    @property
    def tcp_ip_bytes(self) -> int | None:
        """Bytes of TCP and IP headers, derived; None where the platform does not count segments."""
        if self.segments_in is None or self.segments_out is None:
            return None
        return (self.segments_in + self.segments_out) * self.segment_header_bytes + self.syn_option_bytes


class Ledger:
    """The connections of one run, newest last.

    Args:
        keep_bytes: how many bytes of each connection to keep for ``explain`` and the exports. 0 keeps none;
            the counters stay exact either way.
    """

    def __init__(self, keep_bytes: int = 1 << 20) -> None:
        self.keep_bytes = keep_bytes
        self.connections: list[ConnectionRecord] = []
        self.accepted_ns = 0
        """When the newest answer came that was a success: 2xx, 304 or 101. A request that was written is none."""

    def opened(
        self,
        technique: str,
        subscriber: int,
        *,
        local: tuple[str, int],
        remote: tuple[str, int],
        t_ns: int,
        hop: str = "client",
    ) -> ConnectionRecord:
        """Begin the record of a new connection."""
        record = ConnectionRecord(technique, subscriber, hop, local, remote, t_ns, keep_bytes=self.keep_bytes)
        self.connections.append(record)
        return record

    def held_back(self, technique: str, subscriber: int, payload_bytes: int) -> None:
        """Put down that an event came again, on the newest connection of that client."""
        for record in reversed(self.connections):
            if record.technique == technique and (record.subscriber == subscriber or record.shared):
                record.duplicates += 1
                record.duplicate_bytes += payload_bytes
                return

    def of(self, technique: str | None = None, hop: str = "client") -> Iterator[ConnectionRecord]:
        """The connections of one technique (of all, by default) at one hop."""
        return (c for c in self.connections if c.hop == hop and technique in (None, c.technique))

    def near(self) -> Iterator[ConnectionRecord]:
        """The connections that relays saw their clients make."""
        return (c for c in self.connections if c.hop.endswith(".near"))

    def of_route(self, route: str, topic: str) -> Iterator[ConnectionRecord]:
        """Those on which clients without a ledger asked for this."""
        return (c for c in self.near() if f"/{route} {topic}" in c.by_route)
