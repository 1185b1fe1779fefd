"""The bench: that it runs, counts right, and calls a run void that lost, repeated or swapped an event."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import UNIT
from labkit.wire.event_stream import encode_comment

BENCH = Path(__file__).parent.parent / "bench"

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the bench needs Linux")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60 * UNIT, check=False)


def test_quick_runs_and_counts_every_delivery(tmp_path: Path) -> None:
    done = bench("--quick", "--subscribers", "20", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    settings = result["settings"]
    assert settings["subscribers"] == 20
    rows = [(row["server"], row["technique"]) for row in result["fan_out"]]
    assert len(rows) == 8 and {("labkit direct", "websocket"), ("labkit direct", "sse")} <= set(rows)
    for row in result["fan_out"]:
        # one round more than is counted: the first
        assert row["deliveries"] == 20 * settings["events"] * (settings["rounds"] + 1)
        assert len(row["cpu_us"]) == len(row["ratios"]) == settings["rounds"] and min(row["cpu_us"]) > 0
    assert [row["technique"] for row in result["memory"]] == ["sse", "websocket", "long-polling"]
    for row in result["memory"]:
        assert row["reached"] == settings["first"] + settings["held"]
    versions = [row["server"] for row in result["http"]]
    assert len(versions) == 7 and "HTTP/2, 100 a connection" in versions and "HTTP/2 over TLS, 1" in versions
    for row in result["http"]:
        assert row["deliveries"] == (20 + settings["first"]) * settings["events"] * (settings["rounds"] + 1)
        assert min(row["cpu_us"]) > 0 and row["begin_us"] > 0
    assert "websockets broadcast()" in done.stdout and "KiB" in done.stdout


def test_bad_arguments_are_named() -> None:
    for arguments, named in [(("--subscribers", "0"), "--subscribers 0"), (("--subscribers", "x"), "'x'")]:
        done = bench(*arguments)
        assert done.returncode == 2 and named in done.stderr
    done = bench("--subscribers", str(10**9))
    assert done.returncode == 2 and "ulimit -n" in done.stderr


def test_it_measures_its_own_checkout_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "labkit").mkdir()
    (tmp_path / "labkit" / "__init__.py").write_text("raise RuntimeError('another labkit')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    words = [sys.executable, str(BENCH), "--help"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--quick" in done.stdout and "bench/figures.py" in done.stdout, done.stderr
    figures = [sys.executable, str(BENCH / "figures.py"), "--help"]
    done = subprocess.run(figures, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "heartbeats" in done.stdout, done.stderr
    words[1:1] = ["-S"]  # without site-packages
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert re.match("bench: (tornado|websockets) is not installed", done.stderr)


@contextmanager
def a_sink() -> Iterator[tuple[socket.socket, socket.socket, object]]:
    """Two connections as a server sees them, and the sink that holds their other ends."""
    from sink import Sink

    sink = Sink("websocket", "k3f9")
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]  # each piece is one read
    for _, theirs in pairs:
        sink.hold(theirs)
    try:
        yield pairs[0][0], pairs[1][0], sink
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()
        sink.ready.close()


def frame(event_id: int) -> bytes:
    text = f'{{"id":{event_id},"data":"x{event_id}"}}'.encode()
    return bytes([0x81, len(text)]) + text


def test_a_sink_takes_each_event_once_from_each_connection_in_pieces_too() -> None:
    with a_sink() as (one, two, sink):
        one.sendall(frame(1))
        two.sendall(frame(1)[:7])
        two.sendall(frame(1)[7:])
        assert sink.expect(1, "x1", UNIT) == 2
        one.sendall(frame(2))
        two.sendall(frame(2))
        assert sink.expect(2, "x2", UNIT) == 2
        assert sink.close() == 2


def test_a_sink_takes_events_that_are_written_together_and_says_when() -> None:
    from sink import Void

    with a_sink() as (one, two, sink):
        for server in (one, two):
            server.sendall(frame(1) + frame(2))
        count, then_ns = sink.expect_several(1, ["x1", "x2"], True)
        assert count == 2 and 0 < time.monotonic_ns() - then_ns < 10 * UNIT * 1e9
        one.sendall(frame(3) + frame(4))
        two.sendall(frame(3) + frame(3))
        with pytest.raises(Void, match="expected"):
            sink.expect_several(3, ["x3", "x4"], True)


def test_events_of_one_turn_share_a_chunk_unless_they_go_directly() -> None:
    from clients import Rows
    from figures import QUICK, streams_of

    rows = Rows()
    streams_of(rows, QUICK, [("ordinary", ("sse",)), ("direct", ("http-streaming",))], 12, (1, 3))
    found = {key[1:] for key in rows.values}
    for of, how in (("sse", "ordinary"), ("http-streaming", "direct")):
        for figure in ("delivery to 12, us", "span to 12, server, ms", "span to 12, clients, ms", "further event, us"):
            assert (figure, of, how) in found
            assert len(rows.values["fanout", figure, of, how]) == QUICK.rounds
        written, read = (rows.values["fanout", f"span to 12, {end}, ms", of, how] for end in ("server", "clients"))
        assert min(written) > 0 and min(read) > 0
        assert min(rows.values["fanout", "delivery to 12, us", of, how]) > 0
    assert sum(line.startswith("| delivery") for line in rows.table("fanout")) == 2


def test_what_clients_ask_is_measured_plain_and_over_tls() -> None:
    pytest.importorskip("trustme")
    from clients import Rows
    from figures import QUICK, asking

    rows = Rows()
    asking(rows, QUICK)
    for how in ("plain", "TLS"):
        for of in ("a poll", "a POST", "a message"):
            assert min(rows.values["asking", "at once, us", of, how]) > 0
        for of in ("a poll's answer", "a long poll and its answer"):
            assert min(rows.values["asking", "first event, us", of, how]) > 0


def test_an_answer_that_is_another_one_makes_a_run_void() -> None:
    from asking import Asker
    from sink import Void

    asker = Asker(None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        asker.sockets[theirs.fileno()] = theirs
        asker.ready.register(theirs, select.EPOLLIN)
        answer = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"id":1}'
        ours.sendall(answer[:50])
        ours.sendall(answer[50:])
        assert asker.read('"id"', 1) == 1
        ours.sendall(answer)
        with pytest.raises(Void, match="2 times"):
            asker.read('"id"', 2)
        ours.close()
        with pytest.raises(Void, match="has ended"):
            asker.read('"id"', 1)
        asker.ready.close()


@contextmanager
def a_sink_of_streams() -> Iterator[tuple[socket.socket, object]]:
    """A connection with two streams as a server sees it, and the sink that holds its other end."""
    streams = pytest.importorskip("streams", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
    sink = streams.Streams(2, None, "k3f9")
    ours, theirs = socket.socketpair()
    connection = streams.Connection(theirs)
    connection.streams = {1, 3}
    theirs.setblocking(False)
    sink.connections[theirs.fileno()] = connection
    sink.ready.register(theirs, select.EPOLLIN)
    with ours, theirs:
        yield ours, sink
        sink.ready.close()


def in_stream(stream: int, event_id: int) -> bytes:
    data = f"id: {event_id}@k3f9\ndata: x{event_id}\n\n".encode()
    return len(data).to_bytes(3) + b"\0\0" + stream.to_bytes(4) + data


def test_a_sink_of_streams_takes_each_event_once_from_each() -> None:
    with a_sink_of_streams() as (server, sink):
        server.sendall(in_stream(1, 1) + in_stream(3, 1)[:20])
        server.sendall(in_stream(3, 1)[20:])
        assert sink.expect(1, "x1", UNIT) == 2
        beat = encode_comment()
        server.sendall(len(beat).to_bytes(3) + b"\0\0\0\0\0\x01" + beat)
        sink.rest()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ([(1, 1)], "1 of 2 streams did not get event 1"),
        ([(1, 1), (3, 2)], "expected"),
        ([(1, 1), (1, 1), (3, 1)], "expected"),
        ([(1, 1), (3, 1), (3, 2)], "expected"),
    ],
    ids=["lost", "another", "repeated", "too soon"],
)
def test_a_run_whose_streams_lose_or_repeat_an_event_is_void(sent: list[tuple[int, int]], why: str) -> None:
    from sink import Void

    with a_sink_of_streams() as (server, sink):
        server.sendall(b"".join(in_stream(*each) for each in sent))
        with pytest.raises(Void, match=why):
            sink.expect(1, "x1", 0.1 * UNIT)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ([frame(1)], "1 of 2 did not get event 2"),  # lost
        ([frame(1), frame(3)], "expected"),  # skipped
        ([frame(2), frame(1)], "expected"),  # swapped
        ([frame(1), frame(1), frame(2)], "expected"),  # repeated
        ([frame(1), frame(2), frame(2)], "more than was published"),  # repeated, last
    ],
    ids=["lost", "skipped", "swapped", "repeated", "repeated last"],
)
def test_a_run_that_loses_repeats_or_swaps_an_event_is_void(sent: list[bytes], why: str) -> None:
    from sink import Void

    with a_sink() as (one, two, sink):
        with pytest.raises(Void, match=why):
            for event_id in (1, 2):
                one.sendall(frame(event_id))
                if event_id == 1:
                    two.sendall(sent[0])
                else:
                    for more in sent[1:]:
                        two.sendall(more)
                sink.expect(event_id, f"x{event_id}", 0.1 * UNIT)
            sink.close()


def test_a_sink_answers_pings_and_takes_no_heartbeat_for_an_event() -> None:
    with a_sink() as (one, two, sink):
        one.sendall(b"\x89\x02hi" + frame(1)[:5])
        one.sendall(frame(1)[5:] + b"\x89")
        two.sendall(frame(1))
        assert sink.expect(1, "x1", UNIT) == 2
        one.sendall(b"\x00")
        two.sendall(b"\x89\x00")
        sink.rest()
        assert one.recv(100) == b"\x8a\x82\0\0\0\0hi" and one.recv(100) == two.recv(100) == b"\x8a\x80\0\0\0\0"
        assert sink.close() == 2


@pytest.mark.alone
def test_plain_fan_out_costs_less_than_twice_tornados_own_loop() -> None:
    from costs import TORNADO, Settings, fan_out

    rows = {(row["server"], row["technique"]): row for row in fan_out(Settings(100, rounds=8, events=10))}
    for technique in ("websocket", "sse"):
        row = rows["labkit plain", technique]
        assert row["reference"] == TORNADO
        assert min(row["ratios"]) < 2  # of rounds that the rest of the machine left alone
