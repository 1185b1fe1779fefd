"""Exports, read back by parsers that share nothing with the writers; by tshark as well where there is one."""

from __future__ import annotations

import base64
import errno
import gzip
import ipaddress
import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import UNIT
from feeding import assert_cost_is_linear
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError, WireError
from labkit.measuring.export import to_har, to_pcapng
from labkit.measuring.export.exchanges import exchanges
from labkit.measuring.export.packets import comments_of, hexdump, read_pcapng
from labkit.measuring.export.pcapng import checksum
from labkit.measuring.run import Run
from labkit.wire.dissect import Dissector
from labkit.wire.frames import Frame, Opcode, encode_frame
from labkit.wire.spans import Direction
from marking import mark

MS = 1_000_000
T0 = 7_000_000_000_000
STARTED_NS = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z
GET = b"GET /polling?after=3%40k3f9&topic= HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: labkit\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"events":[]}'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def run_of(ledger: Ledger, **settings: Any) -> Run:
    started = {"techniques": [], "started": "2026-01-02T03:04:05+00:00", "started_ns": T0, "mss": 1460}
    return Run([], {}, ledger, started | settings, versions={"labkit": "0.1.0"})


def connect(
    ledger: Ledger, technique: str = "polling", host: str = "127.0.0.1", port: int = 40_000
) -> ConnectionRecord:
    record = ledger.opened(technique, 2, local=(host, port), remote=(host, 80), t_ns=T0 + 10 * MS)
    record.connected_ns = T0 + 12 * MS
    return record


def talk(record: ConnectionRecord, *said: tuple[str, bytes], first_ms: int = 20) -> None:
    """Writes and reads, 10 ms apart."""
    for i, (direction, data) in enumerate(said):
        record.transferred(direction, data, T0 + (first_ms + 10 * i) * MS)  # type: ignore[arg-type]


def close(record: ConnectionRecord, by: str, after_ms: int = 500) -> None:
    record.closed_ns, record.closed_by = T0 + after_ms * MS, by


# A pcapng reader of its own


@dataclass
class Packet:
    t_ns: int
    comment: str
    source: tuple[str, int]
    target: tuple[str, int]
    flags: int
    seq: int
    ack: int
    options: bytes
    data: bytes


def ones_complement(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def options_of(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return found


def packet_of(t_ns: int, comment: str, raw: bytes) -> Packet:
    if raw[0] >> 4 == 4:
        size, protocol, head = struct.unpack_from("!H", raw, 2)[0], raw[9], (raw[0] & 15) * 4
        hosts = raw[12:16], raw[16:20]
        assert ones_complement(raw[:head]) == 0xFFFF, "IP checksum"
    else:
        size, protocol, head = 40 + struct.unpack_from("!H", raw, 4)[0], raw[6], 40
        hosts = raw[8:24], raw[24:40]
    assert (size, protocol) == (len(raw), 6)
    segment = raw[head:]
    assert ones_complement(b"".join(hosts) + struct.pack("!II", len(segment), 6) + segment) == 0xFFFF, "TCP checksum"
    source, target, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", segment)
    (a, b), data_at = (str(ipaddress.ip_address(host)) for host in hosts), (offset >> 4) * 4
    return Packet(
        t_ns, comment, (a, source), (b, target), flags, seq, ack, segment[20:data_at], segment[data_at:]
    )  # fmt: skip


def capture_of(path: Path) -> tuple[dict[int, bytes], dict[int, bytes], list[Packet]]:
    """Options of the section and of its one interface, and the packets."""
    data, at = path.read_bytes(), 0
    section: dict[int, bytes] = {}
    interface: dict[int, bytes] = {}
    packets = []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size
        body = data[at + 8 : at + size - 4]
        if kind == 0x0A0D0D0A:
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            section = options_of(body[16:])
        elif kind == 1:
            assert struct.unpack_from("<HHI", body) == (101, 0, 0)
            interface = options_of(body[8:])
        else:
            number, high, low, captured, original = struct.unpack_from("<IIIII", body)
            assert (kind, number, captured) == (6, 0, original)
            comment = options_of(body[20 + captured + -captured % 4 :]).get(1, b"").decode()
            packets.append(packet_of(high << 32 | low, comment, body[20 : 20 + captured]))
        at += size
    return section, interface, packets


def capture(run: Run, folder: Path) -> list[Packet]:
    return capture_of(run.to_pcapng(folder / "run.pcapng"))[2]


def flags_of(packets: list[Packet]) -> list[str]:
    """Who sent what, as ``>S`` for the client's SYN and ``<PA`` for the server's data."""
    letters = {2: "S", 1: "F", 4: "R", 8: "P", 16: "A"}
    return [
        ("<" if p.source[1] == 80 else ">") + "".join(letter for bit, letter in letters.items() if p.flags & bit)
        for p in packets
    ]


def reassembled(packets: list[Packet], port: int) -> bytes:
    """One direction's stream by its sequence numbers, from the SYN or the first data on."""
    sent = [p for p in packets if p.source[1] == port and (p.data or p.flags & 2)]
    base = sent[0].seq + (1 if sent[0].flags & 2 else 0)
    stream = b""
    for p in sent:
        if p.data:
            assert p.seq - base == len(stream)
            stream += p.data
    return stream


# pcapng


def test_a_whole_connection(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger)
    talk(record, ("out", GET), ("in", OK))
    close(record, "client")
    packets = capture(run_of(ledger), tmp_path)
    assert flags_of(packets) == [">S", "<SA", ">A", ">PA", "<A", "<PA", ">A", ">FA", "<FA", ">A"]
    assert (reassembled(packets, 40_000), reassembled(packets, 80)) == (GET, OK)
    assert packets[0].options == b"\x02\x04\x05\xb4\x01\x03\x03\x07"
    last_of = {p.source[1]: p for p in packets}
    assert packets[-1].ack == last_of[80].seq + 1 and last_of[80].ack == packets[-1].seq
    assert packets[0].comment == "polling, subscriber 2" and not any(p.comment for p in packets[1:])


def test_times_are_wall_times_in_nanoseconds(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger)
    record.transferred("out", GET, T0 + 20 * MS + 1)
    section, interface, packets = capture_of(run_of(ledger).to_pcapng(tmp_path / "run.pcapng"))
    assert interface[9] == b"\x09"
    assert b"synthetic" in section[1]
    assert [p.t_ns - STARTED_NS for p in packets] == [10 * MS, 12 * MS, 12 * MS, 20 * MS + 1, 20 * MS + 1]


@pytest.mark.parametrize("mss", [1, 536, 1460, None])
def test_no_segment_is_larger_than_the_mss(tmp_path: Path, mss: int | None) -> None:
    data = os.urandom(3_001 if mss == 1 else 200_001)
    ledger = Ledger()
    talk(connect(ledger), ("in", data))
    packets = capture(run_of(ledger, mss=mss), tmp_path)
    sizes = [len(p.data) for p in packets if p.data]
    assert max(sizes) == (mss or 65_495) and all(size == max(sizes) for size in sizes[:-1])
    assert reassembled(packets, 80) == data
    assert [p.flags & 8 > 0 for p in packets if p.data] == [False] * (len(sizes) - 1) + [True]


@pytest.mark.parametrize(
    ("by", "ends"),
    [("client", [">FA", "<FA", ">A"]), ("server", ["<FA", ">FA", "<A"]), ("reset", ["<RA"]), (None, [])],
)
def test_how_a_connection_ends(tmp_path: Path, by: str | None, ends: list[str]) -> None:
    ledger = Ledger()
    record = connect(ledger)
    talk(record, ("out", GET))
    if by:
        close(record, by)
    assert flags_of(capture(run_of(ledger), tmp_path))[5:] == ends


def test_a_connection_that_was_never_answered(tmp_path: Path) -> None:
    ledger = Ledger()
    connect(ledger).connected_ns = None
    assert flags_of(capture(run_of(ledger), tmp_path)) == [">S"]


def test_a_connection_whose_beginning_was_let_go_starts_later_and_says_so(tmp_path: Path) -> None:
    ledger = Ledger(keep_bytes=100)
    record = connect(ledger)
    talk(record, ("out", b"a" * 90), ("in", b"b" * 50), ("in", b"c" * 40), ("out", b"d" * 10))
    packets = capture(run_of(ledger), tmp_path)
    assert flags_of(packets) == ["<PA", ">A", "<PA", ">A", ">PA", "<A"]
    assert "Starts later" in packets[0].comment and "90 earlier ones were let go" in packets[0].comment
    assert reassembled(packets, 80) == b"b" * 50 + b"c" * 40
    whole = Ledger()
    talk(connect(whole), ("out", b"a" * 90), ("in", b"b" * 50), ("in", b"c" * 40), ("out", b"d" * 10))
    by_data = {p.data: (p.seq, p.ack) for p in capture(run_of(whole), tmp_path) if p.data}
    assert {p.data: (p.seq, p.ack) for p in packets if p.data}.items() <= by_data.items()


def test_a_connection_of_which_nothing_was_kept_still_says_so(tmp_path: Path) -> None:
    ledger = Ledger(keep_bytes=0)
    talk(connect(ledger), ("out", GET), ("in", OK))
    (only,) = capture(run_of(ledger), tmp_path)
    assert "Starts later" in only.comment and only.data == b""


def test_relays_are_left_out_and_connections_are_in_the_order_of_time(tmp_path: Path) -> None:
    ledger = Ledger()
    for port in (40_000, 40_001):
        talk(connect(ledger, port=port), ("out", GET), ("in", OK))
    ledger.opened("", 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=T0, hop="link.near")
    packets = capture(run_of(ledger), tmp_path)
    assert [p.t_ns for p in packets] == sorted(p.t_ns for p in packets)
    assert {p.source[1] for p in packets} == {40_000, 40_001, 80}


def test_ipv6_connections(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger, host="::1"), ("out", GET), ("in", OK + b"x" * 5001))
    packets = capture(run_of(ledger), tmp_path)
    assert packets[0].source == ("::1", 40_000)
    assert reassembled(packets, 80) == OK + b"x" * 5001


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kits_own_reader_finds_what_the_one_above_does(tmp_path: Path, host: str) -> None:
    ledger = Ledger()
    record = connect(ledger, host=host)
    talk(record, ("out", GET), ("in", OK), ("in", STREAM))
    close(record, "server")
    path = run_of(ledger).to_pcapng(tmp_path / "run.pcapng")
    theirs, ours = capture_of(path)[2], read_pcapng(path.read_bytes())
    assert [p.number for p in ours] == list(range(1, len(theirs) + 1))
    assert [(p.t_ns, p.source, p.target, p.data) for p in ours] == [
        (p.t_ns, p.source, p.target, p.data) for p in theirs
    ]
    first = {p.source[1]: p.seq for p in reversed(theirs)}
    assert [p.seq for p in ours] == [p.seq - first[p.source[1]] for p in theirs]
    assert [" ".join(p.flags) for p in ours][:4] == ["SYN", "SYN ACK", "ACK", "PSH ACK"]
    assert [p.flags[0] for p in ours][-3:] == ["FIN", "FIN", "ACK"]


def test_comments_on_the_whole_file_are_read_back(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET))
    path = to_pcapng(run_of(ledger), tmp_path / "run.pcapng", comment="Of é.")
    synthetic, own = comments_of(path.read_bytes())
    assert "synthetic" in synthetic and own == "Of é."
    assert len(capture_of(path)[2]) == len(read_pcapng(path.read_bytes())), "a reader that knows of no comment goes on"
    for data in (b"", b"hello, world", path.read_bytes()[:40]):
        assert comments_of(data) == []


def test_a_capture_that_is_cut_short_or_none_is_refused(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET))
    data = run_of(ledger).to_pcapng(tmp_path / "run.pcapng").read_bytes()
    assert read_pcapng(data)
    for bad in (b"", data[4:], b"GIF89a" + data, data[:-5], data[: len(data) // 8 * 4 + 2]):
        with pytest.raises(WireError, match="pcapng"):
            read_pcapng(bad)


def test_a_hexdump_is_as_hexdump_prints_it() -> None:
    assert list(hexdump(b"GET / HTTP/1.1\r\n" + b"~" * 48 + b"ab")) == [
        "0000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..",
        "0010  7e 7e 7e 7e 7e 7e 7e 7e  7e 7e 7e 7e 7e 7e 7e 7e  ~~~~~~~~~~~~~~~~",
        "*",
        "0040  61 62                                             ab",
    ]


def test_an_empty_run_is_an_empty_capture(tmp_path: Path) -> None:
    assert capture(run_of(Ledger()), tmp_path) == []


@given(st.binary(max_size=300))
def test_the_internet_checksum(data: bytes) -> None:
    assert checksum(data) == 0xFFFF - ones_complement(data)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (apt-get install -y tshark)")
def test_tshark_reads_it_without_a_complaint(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger)
    talk(record, ("out", GET), ("in", OK), ("out", GET), ("in", OK))
    close(record, "client")
    path = run_of(ledger).to_pcapng(tmp_path / "run.pcapng")
    checks = (
        "-o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -T fields -e http.response.code -e _ws.expert".split()
    )
    found = subprocess.run(
        ["tshark", "-r", path, *checks], capture_output=True, text=True, timeout=60 * UNIT, check=True
    )  # fmt: skip
    assert [line.split("\t")[0] for line in found.stdout.splitlines()].count("200") == 2
    for complaint in ("checksum", "Retransmission", "Out-Of-Order", "unseen", "Malformed"):
        assert complaint not in found.stdout


# HAR

_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": required | optional, "required": list(required)}


_PAIRS = {"type": "array", "items": _object({"name": _TEXT, "value": _TEXT})}
_COMMON = {
    "httpVersion": _TEXT,
    "cookies": {"type": "array"},
    "headers": _PAIRS,
    "headersSize": _NUMBER,
    "bodySize": _NUMBER,
}
_TIMINGS = {name: {"type": "number", "minimum": 0} for name in ("send", "wait", "receive")}
_AT_LEAST_MINUS_1 = {"type": "number", "minimum": -1}
_MESSAGE = {"type": {"enum": ["send", "receive"]}, "time": _NUMBER, "opcode": {"type": "integer"}, "data": _TEXT}
_ENTRY = _object(
    {
        "startedDateTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00$"},
        "time": {"type": "number", "minimum": 0},
        "request": _object({"method": _TEXT, "url": _TEXT, "queryString": _PAIRS, **_COMMON}),
        "response": _object(
            {
                "status": {"type": "integer"},
                "statusText": _TEXT,
                "content": _object({"size": _NUMBER, "mimeType": _TEXT}, text=_TEXT, encoding=_TEXT),
                "redirectURL": _TEXT,
                **_COMMON,
            }
        ),
        "cache": {"type": "object"},
        "timings": _object(_TIMINGS, **dict.fromkeys(("blocked", "dns", "connect", "ssl"), _AT_LEAST_MINUS_1)),
    },
    _webSocketMessages={"type": "array", "items": _object(_MESSAGE)},
)
HAR_1_2 = _object(
    {
        "log": _object(
            {
                "version": {"const": "1.2"},
                "creator": _object({"name": _TEXT, "version": _TEXT}),
                "entries": {"type": "array", "items": _ENTRY},
            }
        )
    }
)


def archive(ledger: Ledger, folder: Path) -> dict[str, Any]:
    import jsonschema  # a second of CPU, for whoever only collects the tests

    log = json.loads(run_of(ledger).to_har(folder / "run.har").read_text(encoding="utf-8"))
    jsonschema.validate(log, HAR_1_2)
    for entry in log["log"]["entries"]:
        assert entry["time"] == pytest.approx(sum(t for t in entry["timings"].values() if t >= 0))
    return dict(log["log"])


def test_exchanges_on_one_connection(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET), ("in", OK[:30]), ("in", OK[30:]), ("out", GET), ("in", OK))
    first, second = archive(ledger, tmp_path)["entries"]
    assert first["request"]["url"] == "http://127.0.0.1:80/polling?after=3%40k3f9&topic="
    assert first["request"]["queryString"] == [{"name": "after", "value": "3@k3f9"}, {"name": "topic", "value": ""}]
    assert (first["request"]["headersSize"], first["request"]["bodySize"]) == (len(GET), 0)
    assert (first["response"]["status"], first["response"]["headersSize"]) == (200, len(OK) - 13)
    assert first["response"]["content"] == {"size": 13, "mimeType": "application/json", "text": '{"events":[]}'}
    assert {"name": "Content-Length", "value": "13"} in first["response"]["headers"]
    timings = first["timings"]
    assert [timings[name] for name in ("connect", "send", "wait", "receive")] == [2, 0, 10, 10]
    assert first["startedDateTime"] == "2026-01-02T03:04:05.010000+00:00"
    assert second["timings"]["connect"] == -1 and second["startedDateTime"].endswith("05.050000+00:00")


def test_messages_that_share_reads(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET + GET + GET[:10]), ("in", OK + OK[:60]), ("in", OK[60:]))
    entries = archive(ledger, tmp_path)["entries"]
    assert [entry["response"]["status"] for entry in entries] == [200, 200]
    assert [entry["response"]["headersSize"] + entry["response"]["bodySize"] for entry in entries] == [len(OK)] * 2


def test_a_body_that_was_sent(tmp_path: Path) -> None:
    post = b"POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nh\xc3\xa9llo"
    ledger = Ledger()
    talk(connect(ledger), ("out", post), ("in", OK))
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["request"]["postData"] == {"mimeType": "text/plain", "text": "héllo", "params": []}
    assert entry["request"]["bodySize"] == 6


def test_a_stream_that_has_not_ended_is_an_entry(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger, "sse"), ("out", GET), ("in", STREAM), ("in", b"9\r\ndata: 1\n\n\r\n"), ("in", b"9\r\ndata:"))
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["content"]["text"] == "data: 1\n\ndata:"
    assert entry["comment"] == "sse, subscriber 2; the answer had not ended"
    assert entry["timings"]["receive"] == 20


def test_a_stream_that_was_cut_is_an_entry(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger, "sse")
    talk(record, ("out", GET), ("in", STREAM), ("in", b"9\r\ndata: 1\n\n\r\n9\r\nda"))
    close(record, "server")
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["content"]["text"] == "data: 1\n\nda" and "had not ended" in entry["comment"]


def test_a_body_that_the_close_ends(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger, "http-streaming")
    get = b"GET /http-streaming HTTP/1.0\r\n\r\n"
    talk(record, ("out", get), ("in", b"HTTP/1.0 200 OK\r\n\r\n"), ("in", b"one\n"), ("in", b"two\n"))
    close(record, "server")
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["content"]["text"] == "one\ntwo\n" and "ended" not in entry["comment"]
    assert entry["request"]["httpVersion"] == "HTTP/1.0" == entry["response"]["httpVersion"]
    assert entry["request"]["url"] == "http://127.0.0.1:80/http-streaming"


def test_a_request_that_was_not_answered(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger, "long-polling")
    talk(record, ("out", GET))
    close(record, "client")
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["status"] == 0 and entry["comment"].endswith("not answered")
    assert entry["timings"]["wait"] == 480


def test_a_body_that_is_no_text(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET), ("in", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x00"))
    content = archive(ledger, tmp_path)["entries"][0]["response"]["content"]
    assert (content["text"], content["encoding"]) == (base64.b64encode(b"\xff\x00").decode(), "base64")


def test_a_body_in_gzip_is_shown_decoded(tmp_path: Path) -> None:
    body = gzip.compress(b'{"events":[]}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    ledger = Ledger()
    talk(connect(ledger), ("out", GET), ("in", head + body))
    response = archive(ledger, tmp_path)["entries"][0]["response"]
    assert (response["content"]["text"], response["bodySize"]) == ('{"events":[]}', len(body))


def test_a_refusal_that_was_cut_has_what_had_come_of_it(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger)
    talk(record, ("out", GET), ("in", b"HTTP/1.1 503 Busy\r\nContent-Length: 20\r\n\r\ntoo many"))
    close(record, "server")
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert (entry["response"]["status"], entry["response"]["content"]["text"]) == (503, "too many")
    assert "had not ended" in entry["comment"]


def test_a_close_that_was_the_client_s_own_ends_no_body(tmp_path: Path) -> None:
    ledger = Ledger()
    record = connect(ledger, "http-streaming")
    talk(record, ("out", GET), ("in", b"HTTP/1.0 200 OK\r\n\r\none\n"))
    close(record, "client")
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["content"]["text"] == "one\n" and "had not ended" in entry["comment"]


def test_what_follows_that_is_no_request_is_counted_as_left_out(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", GET), ("in", OK), ("out", b"nonsense\r\n\r\n"))
    log = archive(ledger, tmp_path)
    assert len(log["entries"]) == 1 and "what follows 1 exchange is no whole HTTP request" in log["comment"]


UPGRADE = (
    b"GET /websocket HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


def test_websocket_messages(tmp_path: Path) -> None:
    ping = encode_frame(Frame(Opcode.PING, b"", mask=b"abcd"))
    parts = encode_frame(Frame(Opcode.TEXT, "hé".encode()[:2], fin=False)), encode_frame(
        Frame(Opcode.CONTINUATION, "hé".encode()[2:])
    )  # fmt: skip
    binary = encode_frame(Frame(Opcode.BINARY, b"\x00\x01"))
    ledger = Ledger()
    talk(
        connect(ledger, "websocket"),
        ("out", UPGRADE), ("in", SWITCHING + b"\r\n" + parts[0]), ("out", ping), ("in", parts[1] + binary),
    )  # fmt: skip
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["request"]["url"] == "ws://127.0.0.1:80/websocket" and entry["_resourceType"] == "websocket"
    messages = entry["_webSocketMessages"]
    assert [(m["type"], m["opcode"], m["data"]) for m in messages] == [
        ("send", 9, ""),
        ("receive", 1, "hé"),
        ("receive", 2, "AAE="),
    ]
    assert messages[1]["time"] == pytest.approx(STARTED_NS / 1e9 + 0.05, abs=1e-5)


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
def test_websocket_messages_that_are_compressed(tmp_path: Path, flush: int) -> None:
    deflater = zlib.compressobj(wbits=-15)
    frames = b""
    for text in (b"again and again", b"again and again"):
        data = (deflater.compress(text) + deflater.flush(flush)).removesuffix(b"\0\0\xff\xff")
        frames += encode_frame(Frame(Opcode.TEXT, data, rsv1=True))
        deflater = zlib.compressobj(wbits=-15) if flush == zlib.Z_FINISH else deflater
    ledger = Ledger()
    head = SWITCHING + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    talk(connect(ledger, "websocket"), ("out", UPGRADE), ("in", head + frames))
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert [message["data"] for message in entry["_webSocketMessages"]] == ["again and again"] * 2


def test_websocket_messages_up_to_what_breaks_the_rules(tmp_path: Path) -> None:
    ledger = Ledger()
    frame = encode_frame(Frame(Opcode.TEXT, b"fine"))
    talk(connect(ledger, "websocket"), ("out", UPGRADE), ("in", SWITCHING + b"\r\n"), ("in", frame + b"\xf1\x00"))
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert [message["data"] for message in entry["_webSocketMessages"]] == ["fine"]
    assert "its messages from the server end early" in entry["comment"] and "RFC 6455" in entry["comment"]


def test_what_is_not_http_is_counted_as_left_out(tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger, "plugin-socket"), ("out", b'{"subscribe": {}}\0'), ("in", b'{"cursor":"0@k3f9"}\0'))
    log = archive(ledger, tmp_path)
    assert log["entries"] == [] and log["comment"] == "Left out: plugin-socket, port 40000: not HTTP"


def test_a_connection_whose_beginning_was_let_go_resumes_at_a_whole_exchange(tmp_path: Path) -> None:
    ledger = Ledger(keep_bytes=3 * len(GET) + 2 * len(OK))
    record = connect(ledger)
    for i in range(4):
        talk(record, ("out", GET), ("in", OK), first_ms=20 + 20 * i)
        mark(record, "out", i * len(GET), (i + 1) * len(GET), "headers", "GET /polling")
        mark(record, "in", i * len(OK), i * len(OK) + len(OK) - 13, "headers", "200, headers")
    entries = archive(ledger, tmp_path)["entries"]
    assert [entry["startedDateTime"][-15:-6] for entry in entries] == ["05.060000", "05.080000"]
    assert [entry["timings"]["wait"] for entry in entries] == [10, 10]


def test_a_stream_whose_head_was_let_go_is_counted_as_left_out(tmp_path: Path) -> None:
    ledger = Ledger(keep_bytes=20)
    talk(connect(ledger, "sse"), ("out", GET), ("in", STREAM), ("in", b"9\r\ndata: 1\n\n\r\n"))
    log = archive(ledger, tmp_path)
    assert log["entries"] == [] and "heads were among the bytes that were let go" in log["comment"]


def test_a_pipelined_connection_resumes_at_a_request_and_its_own_answer(tmp_path: Path) -> None:
    asked = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(4)]
    answered = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % i for i in range(4)]
    said: list[tuple[Direction, bytes]] = [("out", asked[0])]
    for i in range(3):
        said += [("out", asked[i + 1]), ("in", answered[i])]
    ledger, dissector = Ledger(keep_bytes=sum(len(data) for _, data in said[1:])), Dissector()
    record = connect(ledger)
    for direction, data in said:
        talk(record, (direction, data))
        record.mark_all(dissector.feed(direction, data))
    entries = archive(ledger, tmp_path)["entries"]
    found = [(e["request"]["url"][-2:], e["response"]["content"].get("text")) for e in entries]
    assert found == [("/1", "1"), ("/2", "2"), ("/3", "")]


def test_what_goes_through_the_tunnel_of_a_proxy(tmp_path: Path) -> None:
    asked = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"
    ledger = Ledger()
    record = connect(ledger)
    opened = b"HTTP/1.1 200 Established\r\n\r\n"
    talk(
        record,
        ("out", asked),
        ("in", opened),
        ("out", GET[:20]),
        ("out", GET[20:]),
        ("in", OK),
        ("out", GET),
        ("in", OK),
    )
    tunnel, *entries = archive(ledger, tmp_path)["entries"]
    assert (tunnel["request"]["method"], tunnel["request"]["url"]) == ("CONNECT", "http://a:443")
    assert (tunnel["response"]["headersSize"], tunnel["response"]["bodySize"]) == (len(opened), 0)
    assert "not ended" not in tunnel["comment"]
    assert [(e["request"]["headersSize"], e["response"]["content"]["text"]) for e in entries] == [
        (len(GET), '{"events":[]}')
    ] * 2
    assert [entry["timings"]["wait"] for entry in entries] == [10, 10]


@pytest.mark.parametrize(
    ("target", "url"),
    [("/to/http://b/c?d", "http://h/to/http://b/c?d"), ("http://b/c", "http://b/c"), ("//[://b", "http://h//[://b")],
)
def test_an_address_is_a_whole_one(target: str, url: str, tmp_path: Path) -> None:
    ledger = Ledger()
    talk(connect(ledger), ("out", f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()))
    assert archive(ledger, tmp_path)["entries"][0]["request"]["url"] == url


def test_no_body_is_longer_than_what_a_client_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.measuring.export.exchanges.MAX_ITEM_BYTES", 100_000)
    coded = gzip.compress(b"x" * 1_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
    ledger = Ledger()
    talk(connect(ledger), ("out", GET), ("in", head + coded))
    (entry,) = archive(ledger, tmp_path)["entries"]
    assert entry["response"]["content"]["size"] == 100_000 and "too long to read" in entry["comment"]


def test_a_long_answer_costs_what_its_length_does() -> None:
    def prepared(size: int) -> Callable[[], object]:
        record = connect(Ledger(keep_bytes=1 << 30))
        talk(record, ("out", GET), ("in", b"HTTP/1.1 200 OK\r\n\r\n"), *[("in", b"x" * 2000)] * size)
        return partial(exchanges, record)

    assert_cost_is_linear(prepared, 500)


def test_relays_are_left_out(tmp_path: Path) -> None:
    ledger = Ledger()
    near = ledger.opened("", 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=T0, hop="link.near")
    talk(near, ("out", GET), ("in", OK))
    assert archive(ledger, tmp_path)["entries"] == []


# Files


@pytest.mark.parametrize("export", [to_pcapng, to_har])
def test_what_cannot_be_written_is_said_and_what_stood_there_still_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export: Callable[[Run, Path], Path]
) -> None:
    run = run_of(Ledger())
    with pytest.raises(LabkitError, match="nowhere/run cannot be written: No such file"):
        export(run, tmp_path / "nowhere" / "run")
    (tmp_path / "run").write_text("stays")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(LabkitError, match="run cannot be written: No space left"):
        export(run, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"] and (tmp_path / "run").read_text() == "stays"


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
