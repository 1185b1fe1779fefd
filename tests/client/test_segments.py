"""TCP/IP headers, derived, beside a capture of the same connections; where none is permitted, by the rules."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from conftest import UNIT
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.segments import read_segments
from labkit.lab.lab import Lab
from labkit.measuring.measurement import measure
from labkit.measuring.schedules import periodic
from labkit.techniques import TECHNIQUES
from wait import until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts TCP segments")

FIN, SYN, RST = 1, 2, 4
TIMESTAMPS = 12  # bytes of that option, padded
ATTACH_FILTER, RCVBUFFORCE, PACKET, STATISTICS = 26, 33, 263, 6  # of Linux, which Python does not name
HEADERS_BYTES = 14 + 60 + 60  # Ethernet, and what IP and TCP may have
OUTGOING_HEADERS = (  # loopback shows each packet twice; whole ones of all its programs would be too many
    *((0x30, 0, 0, 0xFFFFF004), (0x15, 0, 1, 4)),  # is its type PACKET_OUTGOING?
    *((0x06, 0, 0, HEADERS_BYTES), (0x06, 0, 0, 0)),
)
"""For the kernel (Linux, networking/filter.rst): what of a packet is captured."""
Port = int


class Capture:
    """Sizes of all headers that went over loopback, by the ports of both ends, read by a parser of its own."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self._stopped = False
        self.headers: defaultdict[frozenset[Port], int] = defaultdict(int)
        self.ended: defaultdict[frozenset[Port], int] = defaultdict(int)
        self.syn_bytes: set[int] = set()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stopped:
            try:
                data = self._socket.recv(HEADERS_BYTES)
            except TimeoutError:
                continue
            self._packet(data[14:])

    def _packet(self, ip: bytes) -> None:
        if ip[0] >> 4 != 4 or ip[9] != socket.IPPROTO_TCP:
            return
        size, ip_header = struct.unpack_from("!H", ip, 2)[0], 4 * (ip[0] & 15)
        segment = ip[ip_header:]
        ports, flags = frozenset(struct.unpack_from("!HH", segment)), segment[13]
        headers = ip_header + 4 * (segment[12] >> 4)
        segments = max(1, -(-(size - headers) // (1460 - TIMESTAMPS)))  # loopback hands several over as one
        self.headers[ports] += headers * segments
        self.ended[ports] += bool(flags & FIN) + 2 * bool(flags & RST)
        if flags & SYN:
            self.syn_bytes.add(headers)

    def of(self, record: ConnectionRecord) -> int:
        """The headers of one connection, once it is over."""
        ports = frozenset((record.local[1], record.remote[1]))
        until(lambda: self.ended[ports] >= 2)
        return self.headers[ports]

    def dropped(self) -> int:
        """Packets that the system did not hand over, since there was no room for them."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(PACKET, STATISTICS, 8))
        return int(dropped)

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()


@contextmanager
def capturing() -> Iterator[Capture]:
    try:
        listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    except (AttributeError, OSError):
        pytest.skip("no right to capture packets")
    with listening:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in OUTGOING_HEADERS))
        program = struct.pack("HP", len(OUTGOING_HEADERS), ctypes.addressof(code))
        listening.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
        with suppress(OSError):  # beyond what others may ask for
            listening.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 64 << 20)
        listening.bind(("lo", 0))
        listening.settimeout(0.1)
        capture = Capture(listening)
        try:
            yield capture
        except AssertionError:
            if capture.dropped():
                pytest.skip("other traffic over loopback was too much for a whole capture")
            raise
        finally:
            capture.stop()


CASES: list[tuple[str, dict[str, Any], int]] = [
    *((technique.name, {}, 40) for technique in TECHNIQUES),
    ("polling", {"keep_alive": False}, 40),
    ("long-polling", {"keep_alive": False}, 40),
    ("long-polling", {"http_version": "1.0"}, 40),
    ("http-streaming", {"recycle": 2}, 40),
    ("sse", {}, 50_000),
]


@pytest.mark.parametrize(("name", "options", "size"), CASES, ids=str)
def test_derived_headers_are_within_two_per_cent_of_a_capture(name: str, options: dict[str, Any], size: int) -> None:
    schedule = periodic(rate_per_s=40 / UNIT, duration_s=0.5 * UNIT, payload_bytes=size)
    path: dict[str, Any] = {"one_way_s": 0.005, "poll_interval_s": 0.025 * UNIT, "progress": False}
    for left in (2, 1, 0):  # on a busy machine an acknowledgement more may follow what is derived
        with capturing() as capture, Lab("segments") as lab:
            run = measure(lab, [name], schedule, options={name: options}, **path)
            off = {}
            for hop in ("client", "link.near", "link.far"):
                records = list(run.ledger.of(hop=hop))
                assert len(records) >= (5 if "keep_alive" in options or "http_version" in options else 1)
                derived = sum(record.tcp_ip_bytes or 0 for record in records)
                off[hop] = abs(derived / sum(capture.of(record) for record in records) - 1)
            assert max(off.values()) <= 0.02 or left, off
            assert capture.syn_bytes == {60}, "the rule for what a SYN carries is another here"
        if max(off.values()) <= 0.02:
            break


# By the rules


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as here:
        there, _ = listening.accept()
        with there:
            yield here, there


def told(sock: socket.socket, *, accepted: bool = False) -> ConnectionRecord:
    record = Ledger().opened("", 0, local=("", 0), remote=("", 0), t_ns=0)
    read_segments(sock, record, accepted=accepted)
    return record


def test_one_that_closes_first_has_fin_fin_and_ack_to_come() -> None:
    with pair() as (here, _):
        record = told(here)
    assert (record.segments_out, record.segments_in) == (2 + 2, 1 + 1)  # SYN, ACK; FIN, ACK
    assert record.tcp_ip_bytes == 6 * record.segment_header_bytes + record.syn_option_bytes


def test_one_that_closes_second_has_its_own_fin_to_come() -> None:
    with pair() as (here, there):
        there.shutdown(socket.SHUT_WR)
        assert here.recv(1) == b""
        record = told(here)
    assert record.segments_in == 1 + 1 + 1  # SYN, FIN, and the acknowledgement to come


def test_one_that_has_not_read_all_ends_with_a_reset() -> None:
    with pair() as (here, there):
        there.sendall(b"unread")
        until(lambda: bool(here.recv(1, socket.MSG_PEEK)))
        record = told(here)
    assert record.segments_in == 1 + 1  # SYN and data; nothing more comes


def test_one_that_is_told_to_reset_sends_one_segment_more() -> None:
    with pair() as (here, _):
        here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        record = told(here)
    assert (record.segments_out, record.segments_in) == (2 + 1, 1)


def test_one_that_was_accepted_has_the_syn_that_the_system_did_not_count() -> None:
    with pair() as (here, there):
        ours, theirs = told(here), told(there, accepted=True)
    assert (theirs.segments_out, theirs.segments_in) == (1 + 2, 2 + 1)  # SYN, FIN, ACK; SYN, ACK, FIN
    assert ours.syn_option_bytes == theirs.syn_option_bytes > 0
