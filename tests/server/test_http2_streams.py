"""What a stream of HTTP/2 owes its events, its siblings and its server, over raw frames: order, room, leaving, ends."""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Callable
from functools import partial

import pytest

from conftest import UNIT
from labkit.lab.lab import Lab
from labkit.server.http2_sending import FRAME_BYTES
from labkit.subscribing.contract.waiting import settle
from raw_http2 import Code, Got, Kind, Peer, Setting, goaway, headers, request, rst, status, window
from wait import until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')

from labkit.server.http2_streams import Stream

STREAMS = ("/sse", "/http-streaming", "/http-streaming?format=multipart")
WINDOW = 65_535  # of a connection, and of a stream, that nobody has enlarged


def both(**options: object) -> Callable[..., Lab]:
    return partial(Lab, "streams", http=(1, 2), **options)


def open_streams(peer: Peer, lab: Lab, *paths: str) -> list[int]:
    """Ask for these at once, and wait until the lab has as many subscribers more."""
    before = lab.stats()["subscribers"]
    first = 1 + max((got.stream for got in peer.got if got.stream % 2), default=-1) + 1
    streams = list(range(first, first + 2 * len(paths), 2))
    peer.send(*(headers(stream, request(path=path)) for stream, path in zip(streams, paths, strict=True)))
    until(lambda: lab.stats()["subscribers"] == before + len(paths), "subscribed")
    return streams


def read_on(peer: Peer, stream: int, wanted: bytes) -> bytes:
    """Read until the stream has brought *wanted*, and say that what it brought is read."""
    while wanted not in peer.body(stream)[-200_000:]:
        got = peer.read()
        assert got is not None, peer.story()
        if got.kind == Kind.DATA and got.stream == stream and got.payload:
            peer.send(window(stream, len(got.payload)), window(0, len(got.payload)))
    return peer.body(stream)


def ids(body: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb'(?:^id: |"id":)(\d+)@?', body, re.M)]


# -- order -----------------------------------------------------------------------------------------------------------


def test_streams_that_share_a_connection_bring_each_event_once_and_in_order() -> None:
    with both()() as lab, Peer(lab.port) as peer:
        streams = open_streams(peer, lab, *STREAMS, *STREAMS)
        for number in range(300):
            lab.publish(f"event {number + 1}.")
        for stream in streams:
            body = read_on(peer, stream, b"event 300.")
            assert re.findall(rb"event (\d+)\.", body) == [b"%d" % n for n in range(1, 301)]
        heads = [status(peer.of(stream, Kind.HEADERS)[0]) for stream in streams]
        assert heads == [200] * 6 and not any(got.ends for got in peer.got)


def test_who_says_of_each_piece_that_it_is_read_may_say_so_late_and_all_at_once() -> None:
    with both()() as lab, Peer(lab.port) as peer:
        (stream,) = open_streams(peer, lab, "/sse")
        for number in range(1, 801):
            lab.publish("x")
            while (got := peer.read()) is not None and b"id: %d@" % number not in got.payload:
                pass  # each is waited for, and so in a piece of its own
        assert len(peer.of(stream, Kind.DATA)) >= 800
        for got in peer.of(stream, Kind.DATA):
            peer.send(window(stream, len(got.payload)) + window(0, len(got.payload)))
        peer.echo()


def test_a_silent_stream_has_its_heartbeats() -> None:
    with both(heartbeat_s=0.1 * UNIT)() as lab, Peer(lab.port) as peer:
        (stream,) = open_streams(peer, lab, "/sse")
        while peer.body(stream).count(b":\n") < 2:
            assert peer.read() is not None


# -- room: flow control is the backpressure ---------------------------------------------------------------------------


def test_a_stream_that_nobody_reads_does_not_starve_its_siblings() -> None:
    """RFC 9113 section 5.2: a client that keeps to the first windows, and reads one of two streams."""
    with both(queue=10_000, slow="unbounded")() as lab, Peer(lab.port) as peer:
        unread, read = open_streams(peer, lab, "/http-streaming", "/http-streaming")
        size = 1000
        for number in range(300):  # five windows
            lab.publish("x" * size + f"event {number + 1}.")
            read_on(peer, read, f"event {number + 1}.".encode())
        held = len(peer.body(unread))
        assert WINDOW // 2 - 2 * size <= held <= WINDOW // 2 + 1, "as much as one stream may hold, and no more"
        given = 0
        while b"event 300." not in peer.body(unread):  # whoever reads again is given the rest
            back, given = len(peer.body(unread)) - given, len(peer.body(unread))
            peer.send(window(unread, back) + window(0, back) if back else b"")
            assert peer.read() is not None
        assert ids(peer.body(unread)) == ids(peer.body(read)) == list(range(1, 301))


def test_what_a_stream_cannot_take_is_a_gap_that_is_told_before_the_next_event() -> None:
    with both(queue=16)() as lab, Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, 1000)) as peer:
        (stream,) = open_streams(peer, lab, "/http-streaming")
        for number in range(400):
            lab.publish(f"event {number + 1}." + "x" * 100)
            settle()  # it is slow, and not only late
        peer.send(window(stream, 1 << 20))
        body = read_on(peer, stream, b"event 400.")
        lines = [line for line in body.splitlines() if b'"id"' in line or b'"gap"' in line]
        got = ids(body)
        assert got == sorted(set(got)) and got[-1] == 400
        gaps = [int(n) for n in re.findall(rb'"next":(\d+)', body)]
        holes = [now for before, now in zip([0, *got], got, strict=False) if now != before + 1]
        assert gaps and gaps == holes and len(lines) == len(got) + len(gaps)


def test_one_event_of_many_windows_comes_whole_to_a_client_that_reads() -> None:
    with both()() as lab, Peer(lab.port) as peer:
        (stream,) = open_streams(peer, lab, "/http-streaming")
        lab.publish("x" * 1_000_000 + "end")
        assert len(read_on(peer, stream, b'end"}\n')) > 1_000_000
        sizes = [len(got.payload) for got in peer.of(stream, Kind.DATA)]
        assert max(sizes) <= FRAME_BYTES <= 16_384


def test_who_leaves_without_a_word_is_let_go_and_takes_nobody_along() -> None:
    """A client that forgets a stream, as some do: it says nothing, and gives nothing back."""
    with both(write_timeout_s=0.3 * UNIT, heartbeat_s=0.1 * UNIT)() as lab, Peer(lab.port) as peer:
        forgotten, other = open_streams(peer, lab, "/http-streaming", "/http-streaming")
        for number in range(100):
            lab.publish("x" * 1000 + f"event {number + 1}.")
            read_on(peer, other, f"event {number + 1}.".encode())
        until(lambda: lab.stats()["subscribers"] == 1, "let go")
        peer.echo()
        (reset,) = peer.of(forgotten, Kind.RST_STREAM)
        assert reset.code is Code.CANCEL and not peer.of(other, Kind.RST_STREAM)
        lab.publish("and on")
        read_on(peer, other, b"and on")


def test_who_reads_nothing_at_all_loses_the_connection() -> None:
    with both(write_timeout_s=0.2 * UNIT, queue=100_000, slow="unbounded")() as lab:
        grant = ((Setting.INITIAL_WINDOW_SIZE, (1 << 31) - 1),)
        with Peer(lab.port, *grant, receive_bytes=4096) as peer:
            peer.send(window(0, (1 << 31) - 1 - WINDOW))
            open_streams(peer, lab, "/http-streaming")
            for _ in range(300):
                lab.publish("x" * 50_000)
            until(lambda: lab.stats()["connections"] == lab.stats()["subscribers"] == 0, "let go")


def test_an_answer_whose_end_nobody_takes_is_given_up() -> None:
    with both(write_timeout_s=0.2 * UNIT)() as lab, Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, 100)) as peer:
        lab.publish("x" * 10_000)
        peer.send(headers(1, request(path="/polling?after=0")))
        assert peer.until(lambda got: got.kind == Kind.RST_STREAM).stream == 1
        peer.echo()


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/long-polling?timeout=600", "/sse", "/http-streaming"])
def test_who_resets_a_stream_is_forgotten_at_once_and_its_sibling_is_not(path: str) -> None:
    with both()() as lab, Peer(lab.port) as peer:
        one, other = open_streams(peer, lab, path, path)
        peer.send(rst(one))
        until(lambda: lab.stats()["subscribers"] == 1, "one is forgotten")
        lab.publish("for the other")
        read_on(peer, other, b"for the other")
        peer.echo()
        assert not [got for got in peer.of(one) if b"for the other" in got.payload]


@pytest.mark.parametrize("path", ["/long-polling?timeout=600", "/sse", "/http-streaming", "/events"])
def test_who_asks_and_leaves_in_the_same_breath_leaves_nothing(path: str) -> None:
    """The reset is read together with the request, before its handler has had a turn."""
    with both()() as lab, Peer(lab.port) as peer:
        method = "POST" if path == "/events" else "GET"
        for stream in range(1, 101, 2):
            peer.send(headers(stream, request(method, path), end=method == "GET") + rst(stream))
        peer.echo()
        until(lambda: lab.stats()["subscribers"] == 0, "nobody is left")
        peer.sock.close()
        until(lambda: lab.stats()["connections"] == 0, "nor a connection")


def test_what_was_refused_is_not_kept_once_it_has_ended() -> None:
    with both()() as lab, Peer(lab.port) as peer:
        for first in range(1, 1000, 100):
            numbers = range(first, first + 100, 2)
            peer.send(*(headers(number, request("GET", "nowhere")) for number in numbers))
            peer.until(lambda got, last=numbers[-1]: got.stream == last and got.ends)  # type: ignore[misc]
        peer.echo()
        gc.collect()
        assert sum(isinstance(kept, Stream) for kept in gc.get_objects()) < 100


def test_who_has_been_answered_before_it_has_sent_all_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.server.http2_streams.LINGER_S", 0.2 * UNIT)
    with both(max_event_bytes=100)() as lab, Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", "/events"), end=False), *(b"\0\0\x64\0\0\0\0\0\1" + b"x" * 100,) * 3)
        assert peer.answer(1) == 413 and b"at most 100 bytes" in peer.body(1)
        assert peer.until(lambda got: got.kind == Kind.RST_STREAM).code is Code.NO_ERROR
        peer.echo()


# -- the end ----------------------------------------------------------------------------------------------------------


def ending(peer: Peer, streams: list[int]) -> list[Got]:
    """All that comes until the end, where each stream ends in order and GOAWAY says which was the last."""
    peer.got.clear()
    while peer.read() is not None:
        pass
    said = [got for got in peer.got if got.kind == Kind.GOAWAY]
    assert said and said[0].code is Code.NO_ERROR
    assert int.from_bytes(said[0].payload[:4]) == max(streams)
    for stream in streams:
        assert [got for got in peer.of(stream) if got.ends], f"stream {stream} was cut: {peer.story()}"
    return peer.got


@pytest.mark.parametrize("process", [False, True], ids=["in the kernel", "apart"])
def test_a_lab_that_closes_says_goaway_and_ends_each_stream(process: bool) -> None:
    with both(process=process)() as lab, Peer(lab.port) as peer:
        streams = open_streams(peer, lab, "/sse", "/http-streaming", "/long-polling?timeout=600")
        lab.close()
        ending(peer, streams)
        assert b'"events":[]' in peer.body(streams[2])


def test_a_lab_that_is_replaced_ends_its_streams_and_the_next_one_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with both()() as first, Peer(first.port) as peer:
        (stream,) = open_streams(peer, first, "/sse")
        with both()() as second:
            assert second.port == first.port
            ending(peer, [stream])
            with Peer(second.port) as again:
                assert again.ask(1) == 200
    assert "is replaced" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_process_that_is_told_to_end_ends_its_streams() -> None:
    with both(process=True)() as lab, Peer(lab.port) as peer:
        (stream,) = open_streams(peer, lab, "/sse")
        assert lab.pid is not None
        os.kill(lab.pid, signal.SIGTERM)
        ending(peer, [stream])


def test_what_is_asked_after_goaway_is_refused_as_never_begun() -> None:
    """RFC 9113 section 6.8: it can be asked elsewhere, without being done twice."""
    with both()() as lab, Peer(lab.port) as peer:
        (stream,) = open_streams(peer, lab, "/sse")
        lab.publish("held up, so that the lab waits for it")
        peer.send(goaway())  # the client's own; nothing is cut off by it
        peer.echo()
        peer.send(headers(stream + 2, request("POST", "/events"), end=False))
        refused = peer.until(lambda got: got.kind == Kind.RST_STREAM)
        assert (refused.stream, refused.code) == (stream + 2, Code.REFUSED_STREAM)
        lab.publish("and on")
        read_on(peer, stream, b"and on")
        peer.send(rst(stream))
        assert peer.read() is None
