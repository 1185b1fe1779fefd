"""Frames at random, some of which may not be sent: what comes back is a right answer, or a right end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest
from http2_cases import CASES
from http2_outcomes import live

from conftest import UNIT
from labkit.lab.lab import Lab
from raw_http2 import (
    Kind,
    Peer,
    continuation,
    data,
    fields,
    frame,
    headers,
    ping,
    priority,
    request,
    rst,
    settings,
    window,
)
from wait import until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')

PATHS = (
    "/polling /polling?topic=large&after=0 /long-polling?timeout=1 /http-streaming /sse /events /events /websocket/echo"
    " / /nowhere"
).split()
BODIES = (b"", b"x", b"\x81\x82\0\0\0\0hi", b"\x88\x82\0\0\0\0\x03\xe8", bytes(100), bytes(16000))
SOCKET = (
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *request(path="/websocket")[1:],
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("any frames", http=(1, 2), write_timeout_s=0.3 * UNIT, heartbeat_s=0.2 * UNIT) as opened:
        for _ in range(4):
            opened.publish("x" * 50_000, "large")
        yield opened


def frames(chance: random.Random) -> Iterator[bytes]:
    """A conversation that begins streams in order, mostly."""
    coming = 1
    for _ in range(chance.randrange(1, 60)):
        stream = chance.randrange(1, coming, 2) if coming > 1 and chance.random() < 0.99 else chance.randrange(60)
        method, path = chance.choice(["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT"]), chance.choice(PATHS)
        number = coming if chance.random() < 0.99 else stream
        begun = [
            headers(number, request(method, path), end=chance.random() < 0.6),
            headers(number, request("POST", path, ("content-length", "4"))),
            headers(
                number, (*SOCKET, ("sec-websocket-version", chance.choice(["13", "12"]))), end=chance.random() < 0.1
            ),
            headers(number, fields(*request())[:20], flags=0)
            + continuation(number, fields(*request())[20:], last=True),
        ]
        others = [
            data(stream, chance.choice(BODIES), end=chance.random() < 0.4),
            rst(stream, chance.randrange(14)),
            window(chance.choice([0, stream]), chance.choice([1, 5, 1000, 65535])),
            settings((chance.choice([1, 4]), chance.choice([0, 1, 100, 65535]))),
            ping(),
            priority(stream),
            headers(stream, fields(("x-t", "1"))),
            frame(chance.randrange(12), chance.randrange(256), stream, chance.randbytes(chance.choice([0, 4, 5, 8]))),
            chance.choice(CASES).sent,
        ]
        if chance.random() < 0.4:
            yield chance.choices(begun, [8, 1, 2, 1])[0]
            coming = max(coming, number + 2)
        else:
            yield chance.choices(others, [9, 3, 6, 3, 2, 1, 1, 0.2, 0.1])[0]


def check(peer: Peer) -> None:
    """Each stream's answer is a head, then content, then no more (RFC 9113 section 8.1)."""
    begun: set[int] = set()
    over: set[int] = set()
    for got in peer.got:
        if got.kind in (Kind.HEADERS, Kind.DATA):
            assert got.stream not in over, f"behind its end: {got}"
            assert got.kind == Kind.HEADERS or got.stream in begun, f"before its head: {got}"
            begun.add(got.stream)
        if got.ends or got.kind == Kind.RST_STREAM:
            over.add(got.stream)


@pytest.mark.parametrize("seed", range(8))
def test_what_comes_back_is_an_answer_and_others_get_theirs(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        with Peer(lab.port) as peer:
            for sent in frames(chance):
                if not peer.send(sent) or (chance.random() < 0.3 and peer.look() and peer.ended):
                    break
                if chance.random() < 0.2:
                    lab.publish("an event")
            with contextlib.suppress(AssertionError):  # the end may have come first
                peer.echo()
            assert peer.ended or peer.got[-1].kind == Kind.PING, peer.story()
            check(peer)
    with Peer(lab.port) as peer:
        assert live(peer) == ""
    until(lambda: lab.stats()["subscribers"] == 0, "nobody is held any more")
