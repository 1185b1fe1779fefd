"""``labkit tap --compare``: what a proxy between two taps did, planted, and done by real ones."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_tap import ask, ended, port

import labkit
from conftest import UNIT
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.strangers.tap.comparing import compare
from labkit.strangers.tap.log import Entry, read
from labkit.strangers.tap.tap import tap
from wait import TIMEOUT_S, dial, get, read_until, serving, until

STREAM = [["Content-Type", "text/event-stream"], ["Transfer-Encoding", "chunked"]]
MS = 1_000_000


def log(*entries: Entry, clock: str = "same", started_ns: int = 0) -> tuple[dict[str, Any], list[Entry]]:
    head = {"clock": clock, "started_ns": started_ns, "started": "2026-01-01T00:00:00+00:00"}
    return head, [{"t_ns": 0, "what": "opened", "c": 0, "client": "10.0.0.1:9"}, *entries]


def request(ms: int, *fields: list[str], x: int = 1, target: str = "/s") -> Entry:
    more = {"method": "GET", "target": target, "version": "HTTP/1.1", "fields": [["Host", "a"], *fields]}
    return {"t_ns": ms * MS, "what": "request", "x": x, "c": 0, **more}


def answer(ms: int, *fields: list[str], x: int = 1, status: int = 200) -> Entry:
    more = {"status": status, "version": "HTTP/1.1", "fields": [*STREAM, *fields]}
    return {"t_ns": ms * MS, "what": "answer", "x": x, **more}


def event(ms: int, id: str, x: int = 1) -> Entry:
    return {"t_ns": ms * MS, "what": "event", "x": x, "id": id, "type": "message", "bytes": 5, "digest": f"d{id}"}


def beat(ms: int) -> Entry:
    return {"t_ns": ms * MS, "what": "beat", "x": 1, "bytes": 3}


def end(ms: int, how: str = "whole", x: int = 1) -> Entry:
    return {"t_ns": ms * MS, "what": "end", "x": x, "how": how, "whole": how == "whole", "bytes": {"payload": 5}}


def told(near: list[Entry], far: list[Entry]) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in compare(log(*near), log(*far)).differences]


SERVER = [request(1), answer(2), event(200, "1"), event(400, "2"), event(600, "3"), event(800, "4"), end(1000)]


def test_a_proxy_that_only_passes_on_has_done_nothing() -> None:
    near = [request(0), answer(3), *(event(ms, f"{n}") for n, ms in enumerate((201, 402, 601, 803), 1)), end(1001)]
    assert told(near, SERVER) == []


@pytest.mark.parametrize(
    ("near", "kinds", "says"),
    [
        pytest.param(
            [request(0), answer(1000), *(event(1000, f"{n}") for n in (1, 2, 3, 4)), end(1001)],
            ["late", "late", "merged"], "what went in in 4 reads came out in 1", id="held to the end"),
        pytest.param(
            [request(0), answer(3), event(401, "1"), event(601, "2"), event(801, "3"), event(1001, "4"), end(1001)],
            ["one late"], "came out when the next one went in", id="one late"),
        pytest.param(
            [request(0), answer(3), event(201, "1"), event(601, "3"), event(801, "4"), end(1001)],
            ["missing"], "1 event went in and never came out: 2", id="one missing"),
        pytest.param(
            [request(0), answer(3), *(event(200 * n + 1, f"{n}") for n in (1, 2, 3, 4)), event(900, "9"), end(1001)],
            ["added"], "1 event came out and had not gone in: 9", id="one added"),
        pytest.param(
            [request(0), answer(3), *(event(200 * n + 1, f"{n}") for n in (1, 2, 3, 4)), end(1001, "server")],
            ["end"], "a whole answer came out cut: the proxy sent FIN", id="cut"),
        pytest.param(
            [request(0, ["Last-Event-ID", "7"]), answer(3, ["Content-Encoding", "gzip"]),
             *(event(200 * n + 1, f"{n}") for n in (1, 2, 3, 4)), end(1001)],
            ["request", "answer"], "Last-Event-Id (7) did not go on", id="fields"),
    ],
)  # fmt: skip
def test_what_a_proxy_did_is_told(near: list[Entry], kinds: list[str], says: str) -> None:
    found = told(near, SERVER)
    assert [kind for kind, _ in found] == kinds
    assert says in "; ".join(text for _, text in found)


def test_heartbeats_that_never_came_out_and_the_end_they_should_have_kept_off() -> None:
    far = [request(1), answer(2), event(10, "1"), *(beat(1000 * n) for n in (1, 2, 3)), end(3900, "client")]
    near = [request(0), answer(3), event(11, "1"), end(3900, "server")]
    assert told(near, far) == [
        ("heartbeats", "3 heartbeats went in, 0 came out"),
        ("end", "the proxy ended both sides, 3.89 s after the last that came, 3.90 s after the request"),
    ]


def test_an_end_that_was_not_whole_and_came_out_as_one() -> None:
    far = [request(1), answer(2), event(10, "1"), end(500, "server")]
    near = [request(0), answer(3), event(11, "1"), end(501)]
    assert told(near, far) == [
        ("end", "the server sent FIN before the answer was whole, and it came out as a whole one")
    ]


def test_a_client_that_left_without_the_server_being_told() -> None:
    far = [request(1), answer(2), event(10, "1"), {"t_ns": 9000 * MS, "what": "stopped"}]
    near = [request(0), answer(3), event(11, "1"), end(500, "client")]
    assert told(near, far) == [("end", "the client sent FIN, and the server was not told: the connection to it stayed")]


def test_what_went_in_after_the_client_had_left_is_not_missing() -> None:
    near = [request(0), answer(3), event(201, "1"), event(401, "2"), end(450, "client")]
    assert told(near, [*SERVER[:-1], end(900, "client")]) == []


def test_pings_that_never_came_out_are_counted() -> None:
    ping = [{"t_ns": ms * MS, "what": "control", "x": 1, "way": "in", "op": "ping"} for ms in (100, 200)]
    near = [request(0), answer(3), event(801, "4"), end(1001)]
    far = [request(1), answer(2), *ping, event(800, "4"), end(1000)]
    assert told(near, far) == [("heartbeats", "2 pings went in, 0 came out")]


def test_a_coding_that_is_unknown_here_is_said_and_its_events_are_not_called_missing() -> None:
    near = [request(0), answer(3, ["Content-Encoding", "compress"]), end(1001)]
    assert ("not read", "one side has the coding compress, whose events cannot be read here") in told(near, SERVER)
    assert "missing" not in [kind for kind, _ in told(near, SERVER)]


def test_what_would_let_a_coding_be_read_is_said_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.strangers.tap.exchanges.is_readable", lambda name: False)
    near = [request(0), answer(3, ["Content-Encoding", "br"]), end(1001)]
    said = next(says for kind, says in told(near, SERVER) if kind == "not read")
    assert said.endswith('cannot be read here (pip install "labkit[codings]")')


def test_events_that_are_alike_are_each_paired_once() -> None:
    near = [request(0), answer(3), *(event(ms + 1, "1") for ms in (200, 400, 600)), end(1001)]
    far = [request(1), answer(2), *(event(ms, "1") for ms in (200, 400, 600)), end(1000)]
    assert told(near, far) == []


OPEN = {"t_ns": 9000 * MS, "what": "stopped"}


@pytest.mark.parametrize(
    ("near", "far", "says"),
    [
        ([end(500, "client")], [end(4500, "client")], "the client left, and the server was told 4.00 s later"),
        ([OPEN], [end(500, "server")], "the server sent FIN, and the client was not told"),
        ([end(700, "server")], [end(500, "server")], "it came out 200 ms after it had gone in"),
        ([end(500, "server")], [OPEN], "the proxy sent FIN, and the server was not told: the connection to it stayed"),
        ([end(500, "relay")], [end(500, "server")], "the server sent FIN; a tap ended it (relay)"),
    ],
)
def test_how_both_sides_ended(near: list[Entry], far: list[Entry], says: str) -> None:
    found = told([request(0), answer(3), event(11, "1"), *near], [request(1), answer(2), event(10, "1"), *far])
    assert found == [("end", says)]


def test_of_a_tap_that_ended_as_the_client_left_nothing_is_said_of_the_end() -> None:
    far = [request(1), answer(2), event(10, "1"), {"t_ns": 510 * MS, "what": "stopped"}]
    near = [request(0), answer(3), event(11, "1"), end(500, "client")]
    assert told(near, far) == []


def test_a_client_that_left_where_the_server_was_told_and_goes_on_all_the_same() -> None:
    fin = {"t_ns": 501 * MS, "what": "fin", "x": 1, "by": "client"}
    far = [request(1), answer(2), event(10, "1"), fin, {"t_ns": 9000 * MS, "what": "stopped"}]
    near = [request(0), answer(3), event(11, "1"), end(500, "client")]
    found = compare(log(*near), log(*far))
    assert found.differences == ()
    assert found.lines[-1] == (
        "  open: the proxy sent FIN to the server 1.0 ms later, which has not ended its side in the 8.50 s since"
    )


def test_a_server_that_does_not_notice_a_fin_is_told_from_a_proxy_that_does_not_pass_it_on() -> None:
    over = threading.Event()

    def deaf(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n")
        over.wait(TIMEOUT_S)

    with serving(deaf) as url, tap(url) as far, tap(far.url) as near:
        with dial(port(near), get("/")) as client:
            read_until(client, b"x\n\n")
            client.shutdown(socket.SHUT_WR)
            until(lambda: all(seen.fin_by for between in (near, far) for seen in between.exchanges))
            found, told = near.compare(far), "\n".join([*far.lines(), far.summary()])
        over.set()
    assert found.differences == () and "  open: the proxy sent FIN to the server" in found.lines[-1]
    assert "the client sent FIN, and the server has not ended its side" in told
    assert "open; the client sent FIN" in told


def test_what_the_proxy_answered_itself_never_reached_the_server() -> None:
    assert told([request(0), answer(2, status=503), end(3)], []) == [
        ("never reached", "#1 GET /s was answered 503 before the server's side")
    ]


def test_exchanges_are_paired_by_what_they_carried_where_the_path_was_changed() -> None:
    near = [request(0, target="/a/x"), request(1, x=2, target="/a/y"), answer(3), answer(3, x=2),
            event(11, "1"), event(12, "2", 2)]  # fmt: skip
    far = [
        request(2, target="/y"),
        request(2, x=2, target="/x"),
        answer(2),
        answer(2, x=2),
        event(10, "2"),
        event(10, "1", 2),
    ]
    found = compare(log(*near), log(*far))
    assert found.pairs == 2 and found.differences == ()


def test_sides_given_the_other_way_round_are_known_by_their_times() -> None:
    near = [request(0), answer(3), event(401, "1"), end(1001)]
    far = [request(1), answer(2), event(200, "1"), end(1000)]
    found = compare(log(*far), log(*near))
    assert found.notes[0] == "B is the client's side, by its times, and A the server's."
    assert [one.kind for one in found.differences] == ["late"]


def test_two_machines_are_brought_together_by_the_time_of_day() -> None:
    near = log(request(0), answer(3), event(11, "1"), end(20), clock="a", started_ns=5)
    found = compare(near, log(request(1), answer(2), event(10, "1"), end(20), clock="b", started_ns=10**15))
    assert found.differences == () and "Two clocks" in found.notes[1]


def stream(sock: socket.socket) -> None:
    """Six events, one each 100 ms, and a FIN: all that HTTP/1.0 has for an end."""
    read_until(sock, b"\r\n\r\n")
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for n in range(6):
        sock.sendall(b"id: %d\ndata: x\n\n" % n)
        time.sleep(0.1)


def compared(a: Path, b: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labkit", "tap", "--compare", str(a), str(b)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30 * UNIT, check=False)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.timing
def test_nginx_as_it_comes_holds_head_and_events_and_ends_whole_what_was_cut() -> None:
    with serving(stream) as url, tap(url) as far, labkit.real_intermediary("nginx", ("127.0.0.1", port(far))) as nginx:
        with tap(nginx.url) as near:
            ask(near, get("/events", "Connection: close"))
            ended(near), ended(far)
            found = near.compare(far)
    kinds = [one.kind for one in found.differences]
    assert kinds.count("late") == 2 and "merged" in kinds, str(found)
    assert "what only a FIN ended came out as a whole answer" in str(found)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.timing
def test_haproxy_is_late_and_tells_the_server_of_no_fin_by_files_of_both_kinds(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with Lab("haproxy") as lab, tap(lab.url) as far:
        with labkit.real_intermediary("haproxy", ("127.0.0.1", port(far))) as haproxy, tap(haproxy.url) as near:
            with dial(port(near), get("/sse?after=0", "Connection: close")) as client:
                for n in range(4):
                    lab.publish(f"{n}")
                    time.sleep(0.1)
                read_until(client, b"data: 3\n\n\r\n")
            until(lambda: near.exchanges[0].fin_by)
            time.sleep(0.1)  # of what a tap that ends at once would have heard nothing is said
            done = compared(near.save(tmp_path / "a.parquet"), far.save(tmp_path / "b.jsonl"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "4 events in, 4 out" in done.stdout and "late:" in done.stdout
    assert "end: the client sent FIN, and the server was not told" in done.stdout


@pytest.mark.parametrize("endings", ["jsonl jsonl", "parquet jsonl", "parquet parquet"])
def test_two_taps_with_nothing_between_differ_in_nothing(endings: str, tmp_path: Path) -> None:
    if "parquet" in endings:
        pytest.importorskip("pyarrow")
    with Lab("nothing") as lab, tap(lab.url) as far, tap(far.url) as near:
        with dial(port(near), get("/sse?after=0")) as client:
            lab.publish("one")
            read_until(client, b"one\n\n\r\n")
        ended(near), ended(far)
        names = [tmp_path / f"{n}.{ending}" for n, ending in enumerate(endings.split())]
        done = compared(near.save(names[0]), far.save(names[1]))
    assert done.stderr == "" and "1 event in, 1 out" in done.stdout
    told = [line.strip() for line in done.stdout.splitlines()[2:]]
    assert all(line == "as it went in, so it came out" or line.startswith("late: ") for line in told)  # a machine waits


def test_files_of_two_conversations_are_not_taken_for_one() -> None:
    far = [request(1), answer(2), event(10, "1"), end(20)]
    near = [request(0), answer(3), event(11, "7"), end(21)]
    assert told(near, far) == [
        ("unlike", "1 event went in and 1 came out, none of them alike: changed, or two conversations")
    ]


def test_what_a_file_holds_cannot_steer_the_terminal() -> None:
    odd = {"method": "G\x1bET", "version": "\x9b1m"}
    near = [{**request(0), **odd}, answer(3), event(11, "\x1b[2J"), {**end(500), "how": "\x1b]0;title\x07"}]
    found = compare(log(*near), log({**request(1), "method": "G\x1bET"}, answer(2), end(20)))
    assert found.pairs == 1 and all(line.isprintable() for line in found.lines)


def test_with_nothing_in_common_the_exit_status_is_another(tmp_path: Path) -> None:
    with Lab("alone") as lab, tap(lab.url) as far, tap(lab.url) as near:
        ask(far, get("/polling?after=0", "Connection: close"))
        ended(far)
        done = compared(near.save(tmp_path / "a.jsonl"), far.save(tmp_path / "b.jsonl"))
    assert done.returncode == 2 and "A saw no exchange." in done.stdout


WHOLE = '{"labkit": "labkit tap", "format": 1, "clock": "", "started": "2026-01-01", "started_ns": 1, "entries": 1}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no tap's file"),
        ("\x00\n", "is no tap's file"),
        ("[1]\n", "is no tap's file"),
        ('{"labkit": "labkit tap", "format": 9}\n', "was written by a newer labkit"),
        ('{"labkit": "labkit tap", "format": "1"}\n', "is damaged: its first line"),
        (WHOLE, "is damaged: it has 0 of its 1 happenings"),
        (WHOLE + "5\n", "is damaged: line 2 is no happening"),
        (WHOLE + '{"t_ns": 1, "wh\n', "is damaged: line 2 is no happening"),
        (WHOLE + '{"t_ns": 1, "what": "event", "x": 1}\n', "is damaged: line 2 is no happening"),
        (WHOLE + '{"t_ns": 1, "what": "answer", "x": 1, "status": 200, "version": "", "fields": [["a"]]}\n',
         "is damaged: line 2 is no happening"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_or_is_damaged_is_refused_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(LabkitError, match=says):
        read(path)
