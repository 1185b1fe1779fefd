"""What HTTP/2 lets one client do to others (RFC 9113 section 10.5), tried on a lab in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator

import pytest

from conftest import UNIT
from http2_floods import FLOODS, HELD, TAKES
from labkit.lab.lab import Lab
from raw_http2 import (
    MOST,
    PREFACE,
    Code,
    Got,
    Kind,
    Peer,
    continuation,
    data,
    fields,
    frame,
    headers,
    peers,
    ping,
    request,
    rst,
    settings,
    window,
)
from wait import get, read_until, until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')

MIB = 1 << 20
MOST_SENT = 40 * MIB  # of a flood: what a server must not wait for
ASK_AFTER = 100_000  # bytes of one
LARGE = "/polling?topic=large&after=0"
SOCKET = (
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *request(path="/websocket/echo")[1:],
    ("sec-websocket-version", "13"),
)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    patience_s = getattr(request, "param", 2) * UNIT
    with Lab("http2 abuse", http=(1, 2), process=True, write_timeout_s=patience_s) as opened:
        for _ in range(4):
            opened.publish("x" * 60_000, "large")
        yield opened


impatient = pytest.mark.parametrize("lab", [0.5], indirect=True)
"""Where a test waits until the lab's patience is over."""


class Siblings:
    """A client of HTTP/1 and one of HTTP/2, which mean well."""

    def __init__(self, port: int) -> None:
        self.first = socket.create_connection(("127.0.0.1", port), timeout=5 * UNIT)
        self.second = Peer(port)
        self.streams = itertools.count(1, 2)

    def ask(self) -> None:
        """Have both answered."""
        self.first.sendall(get("/polling"))
        assert read_until(self.first, b'"}').startswith(b"HTTP/1.1 200 ")
        assert self.second.ask(next(self.streams)) == 200
        self.second.got.clear()


@pytest.fixture(scope="module")
def siblings(lab: Lab) -> Iterator[Siblings]:
    opened = Siblings(lab.port)
    with opened.first, opened.second:
        yield opened


def resident_bytes(lab: Lab) -> float:
    usage = lab.usage()
    assert usage is not None
    return usage["rss_bytes"]


def codes(peer: Peer, kind: Kind = Kind.GOAWAY) -> list[Code]:
    return [got.code for got in peer.got if got.kind == kind]


def to_the_end(peer: Peer) -> None:
    with contextlib.suppress(TimeoutError):
        while peer.read() is not None:
            pass
    assert peer.ended, f"no end: {peer.story()}"


# -- floods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_off_and_others_are_answered_meanwhile(lab: Lab, siblings: Siblings, flood: str) -> None:
    before, sent = resident_bytes(lab), 0
    with Peer(lab.port) as peer:
        for piece in FLOODS[flood]():
            if not peer.send(piece) or (peer.look() and codes(peer)) or sent > MOST_SENT:
                break
            if (sent := sent + len(piece)) // ASK_AFTER > (sent - len(piece)) // ASK_AFTER:
                siblings.ask()
        assert sent <= MOST_SENT, f"{sent} bytes taken: {peer.story()}"
        to_the_end(peer)
    siblings.ask()
    assert codes(peer)[-1:] in ([], [Code.ENHANCE_YOUR_CALM], [Code.PROTOCOL_ERROR], [Code.FRAME_SIZE_ERROR])
    assert resident_bytes(lab) - before < 16 * MIB


def test_a_flood_is_told_to_be_calm(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(ping() * 900)
        peer.echo()
        peer.send(ping() * 500)
        to_the_end(peer)
        assert codes(peer) == [Code.ENHANCE_YOUR_CALM]


# -- who means well ---------------------------------------------------------------------------------------------------


def test_requests_with_all_that_clients_say_beside_are_answered_one_and_all(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for first in range(1, 1001, 100):
            some = range(first, first + 100, 2)
            for stream in some:
                peer.send(frame(Kind.PRIORITY, 0, stream, bytes(5)), headers(stream), window(0, 30), ping())
            peer.echo()
            assert all(any(got.ends for got in peer.of(stream)) or peer.answer(stream) == 200 for stream in some)
            peer.got.clear()


def test_each_frame_of_large_answers_may_be_acknowledged_twice(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for stream in range(1, 101, 2):
            peer.send(headers(stream, request(path=LARGE)))
            while not (got := peer.until(lambda got: got.kind == Kind.DATA)).ends:
                peer.send(window(0, len(got.payload)), window(stream, len(got.payload)))
            peer.send(window(0, max(1, len(got.payload))))
        assert len(peer.got) > 600
        peer.echo()


def test_a_websocket_of_thousands_of_messages_is_not_cut_off(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, SOCKET, end=False))
        for _ in range(30):
            peer.send(data(1, b"\x81\x82\0\0\0\0hi") * 100)
            peer.until(lambda got: got.kind == Kind.DATA)
        peer.echo()


def test_a_page_may_be_left_with_all_its_streams_several_times_over(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for first in range(1, 601, 200):
            some = range(first, first + 200, 2)
            peer.send(*(headers(stream, request(path=HELD)) for stream in some))
            for stream in some:
                if not peer.of(stream, Kind.DATA):
                    peer.until(lambda got, s=stream: got.kind == Kind.DATA and got.stream == s)
            peer.send(*map(rst, some))
        peer.echo()
    until(lambda: lab.stats()["subscribers"] == 0, "every stream is left")


# -- who reads nothing ------------------------------------------------------------------------------------------------


@impatient
def test_a_thousand_streams_that_nobody_reads_cost_little_and_are_let_go(lab: Lab, siblings: Siblings) -> None:
    before = resident_bytes(lab)
    with peers(lab.port, 10, (4, 0)) as some:
        for peer in some:
            peer.send(*(headers(stream, request(path=f"{HELD}?topic=unread&after=0")) for stream in range(1, 201, 2)))
        for peer in some:
            for _ in range(100):
                peer.until(lambda got: got.kind == Kind.HEADERS)
        for _ in range(100):
            lab.publish("y" * 10_000, "unread")
        siblings.ask()
        assert resident_bytes(lab) - before < 48 * MIB
        until(lambda: lab.stats()["subscribers"] == 0, "each is given up in its time")
        for peer in some:
            peer.echo()  # the connection lives
            assert codes(peer, Kind.RST_STREAM) == [Code.CANCEL] * 100


@impatient
def test_windows_opened_byte_by_byte_hold_an_answer_no_longer_than_its_time(lab: Lab, siblings: Siblings) -> None:
    with Peer(lab.port, (4, 0)) as peer:
        peer.send(headers(1, request(path=LARGE)))
        for _ in range(2000):
            peer.send(window(1, 1))
            got = peer.until(lambda got: got.stream == 1 or got.kind == Kind.GOAWAY)
            if got.kind in (Kind.RST_STREAM, Kind.GOAWAY):
                break
            siblings.ask()
        assert codes(peer, Kind.RST_STREAM) == [Code.CANCEL] or codes(peer) == [Code.ENHANCE_YOUR_CALM]


@impatient
def test_a_connection_that_takes_nothing_is_let_go_with_all_its_answers(lab: Lab, siblings: Siblings) -> None:
    until(lambda: lab.stats()["connections"] == 2, "those of other tests are gone, the siblings' stay")
    before = resident_bytes(lab)
    with Peer(lab.port, (4, MOST), receive_bytes=4096) as peer:
        peer.send(window(0, MOST - 65535), *(headers(stream, request(path=LARGE)) for stream in range(1, 201, 2)))
        siblings.ask()
        assert resident_bytes(lab) - before < 64 * MIB
        until(lambda: lab.stats()["connections"] == 2, "it is closed")


# -- who sends much, or never comes to an end --------------------------------------------------------------------------


def test_bodies_that_go_on_are_refused_once_they_are_too_large(lab: Lab, siblings: Siblings) -> None:
    before = resident_bytes(lab)
    with Peer(lab.port) as peer:
        left = {0: 65535, 1: 65535}
        peer.send(headers(1, request("POST", TAKES), end=False))
        for _ in range(2000):
            if any(got.kind == Kind.HEADERS for got in peer.got):
                break
            for stream in left:
                while left[stream] < 16000:
                    got = peer.until(lambda got: got.kind in (Kind.WINDOW_UPDATE, Kind.HEADERS))
                    left[got.stream] += int.from_bytes(got.payload) if got.kind == Kind.WINDOW_UPDATE else MOST
            peer.send(data(1, bytes(16000)))
            left = {stream: size - 16000 for stream, size in left.items()}
        assert peer.answer(1) == 413
        siblings.ask()
        assert resident_bytes(lab) - before < 16 * MIB


def test_streams_beyond_the_room_there_is_are_told_to_come_again() -> None:
    with Lab("http2 room", http=(1, 2), max_connections=12) as lab, Peer(lab.port) as peer:
        held = range(1, 23, 2)  # and their connection
        peer.send(*(headers(stream, request(path=HELD)) for stream in held))
        for stream in held:
            peer.until(lambda got, s=stream: got.kind == Kind.DATA and got.stream == s)
        assert peer.ask(23) == 503
        with socket.create_connection(("127.0.0.1", lab.port), timeout=5 * UNIT) as other:
            other.sendall(get("/polling"))
            assert other.recv(4096).startswith(b"HTTP/1.1 503 ")
        peer.send(rst(1))
        assert peer.ask(25) == 200


SLOW: dict[str, Callable[[Peer], object]] = {
    "nothing behind the preface's first line": lambda peer: peer.send(PREFACE[:18]),
    "no settings": lambda peer: peer.send(PREFACE),
    "half of its settings": lambda peer: peer.send(PREFACE + settings((4, 1))[:-1]),
    "half of a field block": lambda peer: peer.send(
        PREFACE + settings() + headers(1, fields(*request())[:20], flags=0) + continuation(1)
    ),
    "half of a HEADERS frame": lambda peer: peer.send(PREFACE + settings() + headers(1)[:30]),
}


@pytest.mark.parametrize("slow", SLOW)
def test_what_does_not_come_to_its_end_is_given_up(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    monkeypatch.setattr("labkit.server.http2.HEAD_S", 0.3 * UNIT)
    with Lab("http2 slow", http=(1, 2)) as lab, Peer(lab.port, bare=True) as peer:
        SLOW[slow](peer)
        to_the_end(peer)
        assert codes(peer) == [Code.ENHANCE_YOUR_CALM]


def test_what_comes_to_its_end_in_time_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.server.http2.HEAD_S", 0.3 * UNIT)
    with Lab("http2 slow", http=(1, 2)) as lab, Peer(lab.port) as peer:
        quiet = Got(Kind.PING, 1, 0, b"12345678")
        for stream in range(1, 9, 2):
            block = fields(*request())
            peer.send(headers(stream, block[:20], flags=0))
            peer.sock.settimeout(0.1 * UNIT)
            with pytest.raises(TimeoutError):
                peer.read()
            peer.sock.settimeout(peer.timeout_s)
            peer.send(continuation(stream, block[20:], last=True), ping())
            assert peer.answer(stream) == 200
            assert quiet in peer.got
