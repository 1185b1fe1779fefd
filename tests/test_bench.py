"""The bench: that it runs, counts right, and calls a run void that lost, repeated or swapped an event."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import UNIT

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
    assert done.returncode == 0 and "--quick" in done.stdout, done.stderr
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


def test_plain_fan_out_costs_little_more_than_tornados_own_loop() -> None:
    from costs import TORNADO, Settings, fan_out

    rows = {(row["server"], row["technique"]): row for row in fan_out(Settings(100, rounds=8, events=10))}
    for technique in ("websocket", "sse"):
        row = rows["labkit plain", technique]
        assert row["reference"] == TORNADO
        assert min(row["ratios"]) <= 1.5  # of rounds that the rest of the machine left alone
