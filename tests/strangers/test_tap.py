"""``labkit tap``: what it tells of servers and clients that know nothing of it, over real sockets."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import labkit
from conftest import UNIT
from labkit.commands import tap as command
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.strangers.tap.exchanges import Seen
from labkit.strangers.tap.log import read
from labkit.strangers.tap.tap import Tap, tap
from labkit.wire.http2 import PREFACE
from wait import TIMEOUT_S, dial, get, read_all, read_until, reset, serving, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answering(*pieces: bytes, end: bytes = b"") -> Callable[[socket.socket], None]:
    """A server that reads one request and sends these, a write each."""

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        for piece in (*pieces, end):
            sock.sendall(piece)

    return script


@contextmanager
def tapped(*scripts: Callable[[socket.socket], None], **options: Any) -> Iterator[Tap]:
    with serving(*scripts) as url, tap(url, **options) as between:
        yield between


@contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses, whoever else wants its port meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/"


def port(between: Tap) -> int:
    return int(between.url.rpartition(":")[2].partition("/")[0])


def ask(between: Tap, request: bytes) -> bytes:
    """All that comes back for it."""
    with dial(port(between)) as client:
        client.sendall(request)
        return read_all(client)


def is_refused(between: Tap) -> bool:
    """Whether a request is answered by an end, or a reset, and nothing else."""
    try:
        return ask(between, get("/")) == b""
    except ConnectionError:
        return True


def ended(between: Tap, count: int = 1) -> list[Seen]:
    """Its exchanges, once so many have ended."""
    until(lambda: sum(entry["what"] == "end" for entry in between.log.entries) >= count, f"{count} ends")
    return between.exchanges


def test_an_event_stream_is_told_event_by_event_with_its_heartbeats_and_who_ended_it() -> None:
    pieces = chunk(b"id: 7\ndata: one\n\n"), chunk(b": still here\n"), chunk(b"event: ping\ndata: 1\n\n"), chunk(b"da")
    with tapped(answering(HEAD, *pieces)) as between:
        ask(between, get("/events"))
        (seen,) = ended(between)
        lines = "\n".join(between.lines())
    assert seen.technique == "sse" and [entry["id"] for entry in seen.events] == ["7"]
    assert len(seen.beats) == 2
    assert (seen.how, seen.whole) == ("server", False)
    assert "<- event 7, 3 B  one" in lines and "the server sent FIN before the answer was whole" in lines


@pytest.mark.parametrize(
    ("leave", "how"), [(socket.socket.close, "client"), (reset, "client reset")], ids=["fin", "rst"]
)
def test_it_says_that_the_client_has_left(leave: Callable[[socket.socket], None], how: str) -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(HEAD + chunk(b"data: 1\n\n"))
        read_all(sock)

    with tapped(script) as between:
        client = dial(port(between), get("/"))
        read_until(client, b"data: 1\n\n\r\n")
        leave(client)
        (seen,) = ended(between)
    assert seen.how == how


def test_a_whole_answer_and_one_that_only_the_close_ends() -> None:
    whole = answering(HEAD, chunk(b"data: 1\n\n"), b"0\r\n\r\n")
    closed = answering(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
    with tapped(whole, closed) as between:
        for _ in range(2):
            ask(between, get("/"))
        first, second = ended(between, 2)
    assert (first.how, first.whole, second.how, second.whole) == ("whole", True, "server", True)


def test_what_the_close_would_have_ended_is_not_whole_where_the_client_left() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        read_all(sock)

    with tapped(script) as between:
        with dial(port(between), get("/")) as client:
            read_until(client, b"data: 1\n\n")
        (seen,) = ended(between)
    assert (seen.how, seen.whole) == ("client", False)


def test_a_server_that_is_not_there_is_said() -> None:
    with nobody() as url, tap(url) as between:
        assert is_refused(between)
        assert any("cannot be reached" in line for line in between.lines())


def test_the_server_is_asked_as_itself_unless_heads_go_as_sent() -> None:
    heads: list[bytes] = []

    def script(sock: socket.socket) -> None:
        heads.append(read_until(sock, b"\r\n\r\n"))
        sock.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    for as_sent in (False, True):
        with tapped(script, as_sent=as_sent) as between:
            here = f"127.0.0.1:{port(between)}"
            ask(between, f"GET / HTTP/1.1\r\nHost: {here}\r\nOrigin: http://{here}\r\n\r\n".encode())
            expected = here if as_sent else between.to.authority
        assert f"Host: {expected}\r\nOrigin: http://{expected}\r\n".encode() in heads[-1]


def test_it_listens_on_one_address_alone() -> None:
    with tapped(read_all) as between, socket.socket() as elsewhere, pytest.raises(OSError):
        elsewhere.settimeout(TIMEOUT_S)
        elsewhere.connect(("127.0.0.2", port(between)))


def test_what_a_server_had_sent_of_a_head_when_it_ended_is_handed_on() -> None:
    with tapped(answering(b"HTTP/1.1 200 OK\r\nServ")) as between:
        assert ask(between, get("/")) == b"HTTP/1.1 200 OK\r\nServ"


def test_a_server_feels_a_client_that_does_not_read() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + bytes(1 << 26))

    with tapped(script) as between, dial(port(between), get("/"), receive_buffer_bytes=1 << 14):
        until(lambda: len(between._ledger.connections) == 2)
        near, far = sorted(between._ledger.connections, key=lambda record: record.hop, reverse=True)
        read = -1
        while read != far.bytes_in or not read:
            read = far.bytes_in
            time.sleep(0.2 * UNIT)
        assert far.bytes_in - near.bytes_in < 1 << 19


def test_an_event_stream_that_a_post_started_is_read() -> None:
    with tapped(answering(HEAD, chunk(b'data: {"token": "a"}\n\n'), b"0\r\n\r\n")) as between:
        ask(between, b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        (seen,) = ended(between)
    assert (seen.technique, len(seen.events), seen.method) == ("sse", 1, "POST")


def test_a_body_of_another_type_is_told_read_by_read() -> None:
    go_on = threading.Event()

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for size in (9_000, 10):
            sock.sendall(b"x" * size)
            go_on.wait(TIMEOUT_S)

    with tapped(script) as between:
        with dial(port(between), get("/")) as client:
            while not client.recv(65536).endswith(b"x"):
                pass
            until(lambda: between.exchanges and between.exchanges[0].pieces)
            go_on.set()
            read_all(client)
        (seen,) = ended(between)
    sizes = [entry["bytes"] for entry in seen.pieces]
    assert sum(sizes) == 9_010 and sizes[-1] == 10 and len({entry["t_ns"] for entry in seen.pieces}) == len(sizes)


def test_a_return_is_told_with_what_the_client_said_it_held() -> None:
    script = answering(HEAD, chunk(b"id: 3\ndata: x\n\n"))
    with tapped(script) as between:
        ask(between, get("/s"))
        ended(between)
        ask(between, get("/s", "Last-Event-ID: 3"))
        ended(between, 2)
        ask(between, get("/s"))
        ended(between, 3)
        told = between.summary()
    assert "#2 comes back for #1" in told and "with Last-Event-ID 3, and the first event then was 3" in told
    assert "#3 comes back for #2" in told and "without a Last-Event-ID, though 3 had come" in told


def test_what_is_open_when_the_tap_ends_is_not_told_as_ended(tmp_path: Path) -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(HEAD + chunk(b"data: 1\n\n"))
        read_all(sock)

    with tapped(script) as between:
        with dial(port(between), get("/")) as client:
            read_until(client, b"data: 1\n\n\r\n")
            between.close()
    (seen,) = between.exchanges
    assert seen.is_open and len(seen.events) == 1
    assert [entry["what"] for entry in read(between.save(tmp_path / "a.jsonl"))[1]][-1] == "stopped"


def test_what_a_client_had_before_the_tap_ended_is_put_down() -> None:
    piece, had = chunk(b"data: 1\n\n"), bytearray()

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(HEAD)
        while True:  # until the tap has ended
            sock.sendall(piece)

    def follow(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                had.extend(data)

    for _ in range(5):
        had.clear()
        with tapped(script) as between, dial(port(between), get("/")) as client:
            following = threading.Thread(target=follow, args=(client,))
            following.start()
            until(lambda: len(had) > 50_000)
            between.close()
            following.join()
        (seen,) = between.exchanges
        assert len(had[len(HEAD) :]) // len(piece) <= len(seen.events)
        assert between.log.sorted()[-1]["what"] == "stopped"


def test_what_passed_just_before_a_cut_is_put_down() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(HEAD + chunk(b"data: 1\n\n"))
        read_all(sock)

    with tapped(script) as between, dial(port(between), get("/")) as client:
        read_until(client, b"data: 1\n\n\r\n")
        between.cut("fin")
        between.close()
        assert [len(seen.events) for seen in between.exchanges] == [1]


def test_polls_are_recognized_and_held_ones_apart() -> None:
    def held(sock: socket.socket) -> None:
        while read_until(sock, b"\r\n\r\n"):
            time.sleep(0.3 * UNIT)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")

    def answered(sock: socket.socket) -> None:
        while read_until(sock, b"\r\n\r\n"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")

    for script, technique in ((held, "long-polling"), (answered, "polling")):
        with tapped(script) as between:
            client = dial(port(between))
            for n in range(3):
                client.sendall(get(f"/poll?t={n}"))
                read_until(client, b"[]")
                time.sleep(0.1 * UNIT)
            client.close()
            until(lambda between=between: len(between.exchanges) == 3)
            assert {seen.technique for seen in between.exchanges} == {technique}


def test_a_websocket_over_tls_is_read_both_ways() -> None:
    pytest.importorskip("trustme")
    with Lab("tapped", tls=True) as lab, tap(f"wss://localhost:{lab.port}/websocket", cafile=lab.cafile) as between:
        with connect(between.url) as client:
            lab.publish("hello")
            while "hello" not in (client.recv(TIMEOUT_S) or ""):
                pass
            client.send("publish me")
            client.ping().wait(TIMEOUT_S)
        (seen,) = ended(between)
    assert seen.technique == "websocket" and next(entry["data"] for entry in seen.events) == "hello"
    assert [entry["data"] for entry in seen.sent] == ["publish me"]
    assert {(entry["way"], entry["op"]) for entry in seen.controls} >= {
        ("out", "ping"),
        ("in", "pong"),
        ("out", "close"),
    }


def test_a_certificate_that_is_not_believed_is_said() -> None:
    pytest.importorskip("trustme")
    with Lab("unbelieved", tls=True) as lab, tap(f"https://localhost:{lab.port}") as between:
        assert is_refused(between)
        assert any("is not believed" in line for line in between.lines())


SECRETS = (b"s3cr3t-auth", b"s3cr3t-cookie", b"s3cr3t-query", b"s3cr3t-set", b"s3cr3t-key", b"s3cr3t-from")


@pytest.mark.parametrize("with_secrets", [False, True], ids=["without", "with"])
def test_what_lets_somebody_in_is_in_no_file_unless_asked_for(with_secrets: bool, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    answer = answering(HEAD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: sid=s3cr3t-set\r\n\r\n"), b"0\r\n\r\n")
    with tapped(answer, with_secrets=with_secrets) as between:
        target = "/a?access_token=s3cr3t-query&x=1"
        fields = "Authorization: Bearer s3cr3t-auth", "Cookie: a=s3cr3t-cookie", "X-Api-Key: s3cr3t-key"
        fields = (*fields, "Referer: https://a.test/?token=s3cr3t-from", "X-My-Session: s3cr3t-key")
        ask(between, get(target, *fields))
        ended(between)
    run = between.run()
    paths = [
        between.save(tmp_path / "run.jsonl"),
        run.to_har(tmp_path / "run.har", with_secrets=with_secrets),
        run.to_pcapng(tmp_path / "run.pcapng", with_secrets=with_secrets),
    ]
    for path in paths:
        assert {secret in path.read_bytes() for secret in SECRETS} == {with_secrets}, path
    (entry,) = json.loads(paths[1].read_text())["log"]["entries"]  # what is written over leaves a request that is read
    assert with_secrets or "/a?access_token=(left-out)**&x=1" in entry["request"]["url"]
    loaded = labkit.load(between.save(tmp_path / "run.parquet"))
    kept = json.dumps(loaded.settings["tap"]).encode() + b"".join(
        transfer.data for record in loaded.ledger.connections for transfer in record.transfers
    )
    marks = [mark for record in loaded.ledger.connections for mark in record.marks]
    kept += "".join(mark.exchange.query for mark in marks if mark.exchange is not None).encode()
    assert {secret in kept for secret in SECRETS} == {with_secrets}
    assert with_secrets or all(secret not in "\n".join(between.lines()).encode() for secret in SECRETS)


@pytest.mark.parametrize("with_secrets", [False, True], ids=["without", "with"])
def test_a_key_in_the_address_that_is_tapped_is_shown_nowhere_unless_asked_for(
    with_secrets: bool, tmp_path: Path
) -> None:
    with Tap("http://127.0.0.1:9/events?key=s3cr3t-query", with_secrets=with_secrets) as between:
        assert between.url.endswith("/events?key=s3cr3t-query"), "a client is to ask that"
        shown = [repr(between), between.shown_url]
    written = [between.save(tmp_path / "a.jsonl").read_text(), between.to_html(tmp_path / "a.html").read_text()]
    told = [*shown, *written, between._repr_html_(), json.dumps(between.run().settings)]
    assert {"s3cr3t-query" in each for each in told} == {with_secrets}


def test_of_http2_no_bytes_are_in_a_run_for_what_lets_in_is_anywhere_in_them() -> None:
    for with_secrets in (False, True):
        with tapped(read_all, with_secrets=with_secrets) as between:
            dial(port(between), PREFACE + SECRETS[0]).close()
            until(lambda between=between: any(entry["what"] == "closed" for entry in between.log.entries))
        kept = b"".join(transfer.data for record in between.run().ledger.connections for transfer in record.transfers)
        assert (SECRETS[0] in kept) is with_secrets


def test_without_contents_there_are_sizes_and_times_alone(tmp_path: Path) -> None:
    with tapped(answering(HEAD, chunk(b"id: 1\ndata: private\n\n"), b"0\r\n\r\n"), content=False) as between:
        ask(between, get("/"))
        (seen,) = ended(between)
        text = between.save(tmp_path / "run.jsonl").read_text()
    assert seen.events[0]["bytes"] == 7 and "private" not in text + "\n".join(between.lines())
    assert not any(record.transfers for record in between.run().ledger.connections)


def test_a_run_of_it_is_explained_exported_and_read_back_like_any_other(tmp_path: Path) -> None:
    with Lab("run") as lab, tap(lab.url) as between:
        with dial(port(between), get("/sse?after=0")) as client:
            for data in ("one", "two"):
                lab.publish(data)
            read_until(client, b"two\n\n\r\n")
        ended(between)
    run = between.run()
    assert [*run.columns("technique", "event_id", "payload_bytes")] == [("sse", 1, 3), ("sse", 2, 3)]
    assert "two" in str(run.explain(2)) or "event 2" in str(run.explain(2))
    har = json.loads(run.to_har(tmp_path / "run.har").read_text())["log"]["entries"]
    assert har[0]["request"]["url"].endswith("/sse?after=0") and "data: two" in har[0]["response"]["content"]["text"]
    head, entries = read(between.save(tmp_path / "run.jsonl"))
    assert head["to"] == f"{lab.url}/" and entries == between.log.sorted()


def test_a_file_that_no_tap_wrote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(LabkitError, match="no tap's file"):
        read(tmp_path / "a.jsonl")


def test_what_events_hold_cannot_steer_the_terminal() -> None:
    with tapped(
        answering(HEAD, chunk(b"id: \x1b[2J\ndata: \x1b]0;title\x07\x9b1m\xe2\x80\xae\xc2\x9b\n\n"))
    ) as between:
        ask(between, get("/%1b[2J"))
        ended(between)
        told = "\n".join(between.lines()) + between.summary()
    assert all(char.isprintable() or char == "\n" for char in told)


def test_it_can_be_cut_and_healed() -> None:
    with tapped(answering(HEAD, chunk(b"data: 1\n\n"), end=b"0\r\n\r\n")) as between:
        between.cut()
        assert is_refused(between)
        between.heal()
        assert ask(between, get("/")).endswith(b"0\r\n\r\n")


@pytest.mark.timing
def test_nothing_is_delayed_by_more_than_the_link_says() -> None:
    """Medians of one run, against an injected delay: through the tap less direct, and through a tap of 20 ms."""
    with Lab("prompt") as lab, Tap(lab.url) as bare, tap(lab.url, one_way_s=0.02) as slow:
        clients = {name: dial(where, get("/sse")) for name, where in
                   (("direct", lab.port), ("tap", port(bare)), ("slow", port(slow)))}  # fmt: skip
        for client in clients.values():
            read_until(client, b"\n\n\r\n")
        took: dict[str, list[float]] = {name: [] for name in clients}
        for n in range(21):
            began = time.perf_counter()
            lab.publish(f"{n}")
            for name in ("direct", "tap", "slow"):
                read_until(clients[name], b"data: %d\n\n\r\n" % n)
                took[name].append(time.perf_counter() - began)
        for client in clients.values():
            client.close()
    direct, through, delayed = (statistics.median(took[name]) for name in ("direct", "tap", "slow"))
    assert through - direct < 0.25 * (delayed - direct)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_command_tells_and_writes_what_curl_did(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    with serving(answering(HEAD, chunk(b"id: 1\ndata: hello\n\n"), b"0\r\n\r\n")) as url:
        command = [sys.executable, "-m", "labkit", "tap", "--to", f"{url}events", "--out", str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            subprocess.run(["curl", "-sN", address], check=True, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL)
            line = ""
            while "ended whole" not in line:
                line = process.stdout.readline()
                assert line
            process.terminate()
            said = process.communicate(timeout=30 * UNIT)[0]
    assert process.returncode == 0
    assert "sse" in said and f"wrote {out}" in said
    assert [entry["id"] for entry in read(out)[1] if entry["what"] == "event"] == ["1"]


def test_as_a_proxy_it_reads_http_and_counts_what_is_encrypted() -> None:
    def encrypted(sock: socket.socket) -> None:
        sock.sendall(sock.recv(5)[::-1])

    heads: list[bytes] = []

    def plain(sock: socket.socket) -> None:
        heads.append(read_until(sock, b"\r\n\r\n"))
        sock.sendall(HEAD + chunk(b"data: 1\n\n") + b"0\r\n\r\n")

    with serving(plain) as url, serving(encrypted) as other, tap() as between:
        ask(between, f"GET {url}s?a=b HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\r\n".encode())
        with dial(port(between), f"CONNECT {other[7:-1]} HTTP/1.1\r\n\r\n".encode()) as client:
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            client.sendall(b"hello")
            assert read_all(client) == b"olleh"
        assert ask(between, get("/")).startswith(b"HTTP/1.1 400")
        stream, tunnel, refused = ended(between, 3)
    assert heads == [b"GET /s?a=b HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"]
    assert (stream.technique, len(stream.events), stream.path) == ("sse", 1, f"{url}s")
    assert (tunnel.technique, tunnel.sizes["payload"], refused.status) == ("tunnel", 10, 400)


def test_a_proxy_says_that_a_server_is_not_reached() -> None:
    with nobody() as url, tap() as between:
        assert ask(between, f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).startswith(b"HTTP/1.1 502")


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_nothing_of_what_came_is_an_element_of_the_page(tmp_path: Path) -> None:
    hostile = b"</pre><script>alert(1)</script><img src=x onerror=alert(2)>"
    script = answering(HEAD, chunk(b"id: <svg onload=alert(3)>\nevent: <b>\ndata: " + hostile + b"\n\n"), b"0\r\n\r\n")
    with tapped(script) as between:
        ask(between, get("/<iframe>?a=<script>", "Last-Event-ID: <i>"))
        ended(between)
        text = between.to_html(tmp_path / "run.html").read_text()
    assert "alert(1)" in text and "default-src 'none'" in text
    ours = "html meta title style h1 h2 div table tr th td ul li p pre svg text line circle"
    assert Tags(text).names == set(ours.split())
    assert Tags(between._repr_html_()).names == {"p", "pre"}


@pytest.mark.parametrize("words", [[], ["--to", "http://127.0.0.1:1", "--forward"]], ids=["neither", "both"])
def test_it_stands_in_front_of_a_server_or_is_a_proxy(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(LabkitError, match=r"tap needs --to URL, .*, or --forward"):
        command.run(parser.parse_args(words))
