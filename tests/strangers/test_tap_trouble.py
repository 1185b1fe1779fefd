"""``labkit tap`` where something goes wrong: one clear line of it, and nothing lost that was seen."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_tap import HEAD, answering, ask, chunk, ended, is_refused, nobody, port, tapped

from conftest import UNIT
from labkit.__main__ import main
from labkit.commands import tap as command
from labkit.errors import LabkitError
from labkit.strangers.tap.log import Log, read
from labkit.strangers.tap.tap import tap
from labkit.wire.http2 import PREFACE
from wait import TIMEOUT_S, dial, get, read_all, read_until, reset, serving, until


def lines(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(options)


def test_what_is_open_at_the_end_has_the_bytes_that_it_had_until_then() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(HEAD + chunk(b"data: seven b\n\n"))
        read_all(sock)

    with tapped(script) as between, dial(port(between), get("/")) as client:
        read_until(client, b"seven b\n\n\r\n")
        assert between.exchanges[0].sizes["payload"] == 7
        between.close()
    (seen,) = between.exchanges
    assert seen.is_open and seen.sizes["payload"] == 7 and seen.sizes["headers"] > len(HEAD)


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        (PREFACE, "speaks HTTP/2 in clear text"),
        (b"\x16\x03\x01\x00\x05hello", "speaks TLS to the tap, which listens in clear text"),
        (b"GET / HTTP/1.1\r\nHos", "sent 19 B that were no whole request, and got 0 B"),
    ],
    ids=["h2c", "tls", "mid-head"],
)
def test_a_client_that_asks_nothing_that_is_read_is_told_of_in_a_line(begins: bytes, told: str) -> None:
    with tapped(read_all) as between:
        dial(port(between), begins).close()
        until(lambda: any(told in line for line in between.lines()), told)
        assert between.summary() == "No exchange passed."


def test_a_server_that_resets_is_told_from_one_that_refuses() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        reset(sock)

    with tapped(script) as between:
        assert is_refused(between)
        assert "no answer; the server sent RST" in (ended(between), between.summary())[1]
    with nobody() as url, tap(url) as between:
        assert is_refused(between)
        told = until(lambda: re.search("cannot be reached: .*", "\n".join(between.lines())), "it is said")
        ends = [line for line in between.lines() if "#1 " in line and "GET" not in line]  # if its request came first
    assert "Connection refused" in told[0] and all("the server was not reached" in line for line in ends)


def test_a_server_that_never_answers_and_a_client_that_leaves() -> None:
    with tapped(read_all) as between:
        dial(port(between), get("/")).close()
        (seen,) = ended(between)
        assert (seen.how, seen.status) == ("client", 0) and "no answer; the client sent FIN" in between.summary()


def test_a_port_that_cannot_be_had_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for number, why in ((taken.getsockname()[1], "in use"), (99_999, "ports end at 65535")):
            with pytest.raises(LabkitError, match=f"port {number} cannot be listened on: .*{why}; name another"):
                tap("http://127.0.0.1:1", listen=number)


def test_a_file_that_cannot_be_written_keeps_no_other_from_it_and_is_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with tapped(answering(HEAD, chunk(b"data: 1\n\n"), b"0\r\n\r\n")) as between:
        ask(between, get("/"))
        ended(between)
    (tmp_path / "folder.jsonl").mkdir()
    page, out = tmp_path / "run.html", tmp_path / "folder.jsonl"
    assert not command._write(between, lines("--out", str(out), "--html", str(page)))
    said = capsys.readouterr()
    assert page.exists() and f"labkit: {out} cannot be written" in said.err
    (instead,) = tmp_path.glob("labkit-tap-*/folder.jsonl")
    assert f"wrote {instead} instead" in said.out and read(instead)[1] == between.log.sorted()


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with tapped(read_all) as between, pytest.raises(LabkitError, match="no ordinary file"):
        between.to_html(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_where_no_file_can_be_put_is_said_before_it_begins() -> None:
    with pytest.raises(LabkitError, match=r"/nowhere/a\.jsonl cannot be written: /nowhere is no folder"):
        command.run(lines("--to", "http://127.0.0.1:1", "--out", "/nowhere/a.jsonl"))


def test_of_two_hundred_connections_at_once_each_event_is_put_down() -> None:
    pieces = [chunk(b"id: %d\ndata: x\n\n" % n) for n in range(5)]
    with tapped(answering(HEAD, *pieces, end=b"0\r\n\r\n")) as between:
        clients = [dial(port(between), get("/s", "Connection: close")) for _ in range(200)]
        had = sum(read_all(client).count(b"data: x") for client in clients)
        for client in clients:
            client.close()
        found = ended(between, 200)
    assert had == 1000 == sum(len(seen.events) for seen in found) and all(seen.whole for seen in found)


@contextlib.contextmanager
def running(url: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command, and the port that it listens on."""
    words = [sys.executable, "-m", "labkit", "tap", "--to", url, *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        try:
            yield process, number
        finally:
            process.kill()


def test_half_a_character_out_of_json_keeps_no_file_from_being_written(tmp_path: Path) -> None:
    log = Log({"clock": "", "started": "", "started_ns": 0})
    entry = log.put("event", log.started_ns, x=1, id=None, type="", **log.carried(json.loads('"\\ud800 after"')))
    assert read(log.write(tmp_path / "a.jsonl", log.entries))[1] == [entry] and entry["data"] == "? after"


def test_ctrl_c_twice_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    with serving(answering(HEAD, chunk(b"data: 1\n\n"), b"0\r\n\r\n")) as url:
        with running(url, "--out", str(out)) as (process, number):
            with dial(number, get("/", "Connection: close")) as client:
                read_all(client)
            for _ in range(2):
                process.send_signal(signal.SIGINT)
            said, complaint = process.communicate(timeout=30 * UNIT)
    assert f"wrote {out}" in said and "Traceback" not in complaint
    assert [entry["what"] for entry in read(out)[1]].count("event") == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_of_a_body_that_passes_little_is_held() -> None:
    size = 1 << 27
    over = threading.Event()

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            sock.sendall(bytes(1 << 20))
        over.wait(TIMEOUT_S)

    with serving(script) as url, running(url, "--quiet") as (process, number):
        status = Path(f"/proc/{process.pid}/status")

        def kib(name: str) -> int:
            return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

        before = kib("VmRSS")
        with dial(number, get("/")) as client:
            left = size
            while left > 0 and (data := client.recv(1 << 20)):
                left -= len(data)
        grown = (kib("VmHWM") - before) << 10
        over.set()
    assert left <= 0 and grown < size / 2


@pytest.mark.parametrize("option", ["--seconds", "--cut-after", "--stall-after"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_time_that_never_comes_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tap", "--to", "http://127.0.0.1:9/", "--seconds", "0", option, value]) == 2
    assert f"{option} must be a number of seconds" in capsys.readouterr().err
