"""A server's part of RFC 9113, RFC 7541 and RFC 8441, over raw frames: each clause that bytes on the wire can tell."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest
from http2_cases import CASES, HELD, PAGE, TAKES, Case, dies
from http2_outcomes import live
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from conftest import UNIT
from labkit.lab.lab import Lab
from labkit.techniques import TECHNIQUES, Technique, find
from raw_http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    MOST,
    PREFACE,
    Code,
    Got,
    Kind,
    Peer,
    Setting,
    data,
    frame,
    goaway,
    headers,
    ping,
    request,
    rst,
    settings,
    status,
    window,
)
from wait import get, read_all

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
hpack = pytest.importorskip("hpack")

LARGE = f"{PAGE}?topic=large&after=0"
LARGE_BYTES = 200_000


@stream_request_body
class Deaf(RequestHandler):
    """Takes a body's first piece, and no more for as long as the exchange lasts."""

    def prepare(self) -> None:
        self.gone = asyncio.Event()

    async def data_received(self, chunk: bytes) -> None:
        await self.gone.wait()

    def on_connection_close(self) -> None:
        self.gone.set()
        super().on_connection_close()

    async def post(self) -> None:
        self.finish()


class Long(RequestHandler):
    """Answers with a field of 40 000 bytes."""

    def get(self) -> None:
        self.set_header("X-Long", "y" * 40_000)
        self.finish("short")


class Late(WebSocketHandler):
    """Does not answer at once."""

    async def prepare(self) -> None:
        await asyncio.sleep(0.01 * UNIT)


def with_handler(name: str, handler: type[RequestHandler]) -> Technique:
    return replace(find("polling"), name=name, short=name, route=f"/{name}", handler=handler)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    own = (with_handler("deaf", Deaf), with_handler("long", Long), with_handler("late", Late))
    with Lab("http2 conformance", http=(1, 2), techniques=(*TECHNIQUES, *own), max_event_bytes=100_000) as opened:
        for _ in range(LARGE_BYTES // 50_000):
            opened.publish("x" * 50_000, "large")
        yield opened


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_what_is_sent_is_answered_as_the_clause_says(lab: Lab, case: Case) -> None:
    with Peer(lab.port, bare=case.bare, timeout_s=2 * UNIT) as peer:
        peer.send(case.sent)
        assert not (wrong := case.may.judge(peer)), wrong


# -- starting (sections 3.4, 6.5.3) -----------------------------------------------------------------------------------


def test_the_preface_may_come_byte_by_byte_and_the_servers_begins_with_settings(lab: Lab) -> None:
    with Peer(lab.port, bare=True) as peer:
        for byte in PREFACE + settings((Setting.ENABLE_PUSH, 0)):
            peer.send(bytes([byte]))
        first = peer.read()
        assert first is not None and (first.kind, first.stream, first.flags & ACK) == (Kind.SETTINGS, 0, 0)
        peer.until(lambda got: got.kind == Kind.SETTINGS and bool(got.flags & ACK))
        peer.send(frame(Kind.SETTINGS, ACK))
        assert live(peer) == ""


@pytest.mark.parametrize(
    "sent", [PREFACE[:-6] + b"XX\r\n\r\n", PREFACE[:-2] + b"\n\n", b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"]
)
def test_a_preface_that_is_none_ends_the_connection(lab: Lab, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", lab.port), timeout=2 * UNIT) as sock:
        sock.sendall(sent)
        try:
            read_all(sock)
        except ConnectionResetError:
            pass


def test_what_is_announced_can_be(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        said = peer.announced
        assert said.get(Setting.ENABLE_PUSH, 0) == 0  # section 6.5.2: a server has no other
        assert said.get(Setting.INITIAL_WINDOW_SIZE, 0) <= MOST
        assert FRAME_BYTES <= said.get(Setting.MAX_FRAME_SIZE, FRAME_BYTES) < 1 << 24


def test_over_tls_what_was_agreed_on_is_what_is_spoken() -> None:
    pytest.importorskip("trustme", reason="trustme is not installed (pip install 'labkit[test]')")
    with Lab("http2 over tls", http=(1, 2), tls=True) as lab:
        trusting = ssl.create_default_context(cafile=lab.cafile)
        trusting.set_alpn_protocols(["h2"])
        with Peer(lab.port, tls=trusting) as peer:
            assert live(peer) == ""
        with Peer(lab.port, tls=trusting, bare=True) as peer:
            peer.send(get("/polling"))
            assert dies(Code.PROTOCOL_ERROR).judge(peer) == ""


def test_each_settings_frame_and_each_ping_is_acknowledged_once(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.got.clear()
        peer.send(*(settings((4, 70_000 + n)) + ping(b"number %d" % n) for n in range(3)), ping(b"no reply", ACK))
        peer.echo()
        assert [got.kind for got in peer.got] == [Kind.SETTINGS, Kind.PING] * 3 + [Kind.PING]
        assert all(got.flags == ACK and got.stream == 0 for got in peer.got)
        assert [got.payload for got in peer.got if got.kind == Kind.PING][:3] == [b"number %d" % n for n in range(3)]


# -- streams (section 5) ----------------------------------------------------------------------------------------------


def test_more_streams_than_may_be_are_refused_and_the_others_live(lab: Lab) -> None:
    with Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, 1000)) as peer:
        most = peer.announced[Setting.MAX_CONCURRENT_STREAMS]
        assert most >= 100  # section 6.5.2
        streams = range(1, 2 * most, 2)
        peer.send(*(headers(stream, request(path=HELD)) for stream in streams))
        peer.send(headers(2 * most + 1, request(path=HELD)))
        refused = peer.until(lambda got: got.kind in (Kind.RST_STREAM, Kind.GOAWAY))
        assert refused.stream == 2 * most + 1 and refused.code in (Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)
        peer.send(rst(1))
        assert live(peer) == ""
        assert all(status(peer.of(stream, Kind.HEADERS)[0]) == 200 for stream in streams)


def test_a_reset_is_not_answered_by_one_nor_by_anything_else(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request(path=HELD)))
        peer.until(lambda got: got.stream == 1 and got.kind == Kind.DATA)
        peer.send(rst(1))
        peer.got.clear()
        assert live(peer) == ""
        assert not peer.of(1)


def test_the_last_stream_there_can_be_is_answered(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(MOST) == 200
        peer.echo()


def test_a_fault_says_which_stream_was_the_last_to_be_begun(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(7) == 200
        peer.send(data(0))
        said = peer.until(lambda got: got.kind == Kind.GOAWAY)
        assert said.payload[:4] == (7).to_bytes(4)


def test_streams_begun_before_a_clients_goaway_are_answered_still(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", TAKES), end=False) + goaway() + data(1, b"late", end=True))
        assert peer.answer(1) == 200


def test_what_came_before_a_clients_goaway_is_acknowledged(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", TAKES), end=False) + settings() + ping(b"and then") + goaway())
        told = [peer.until(lambda got: bool(got.flags & ACK)) for _ in range(2)]
        assert [(got.kind, got.payload) for got in told] == [(Kind.SETTINGS, b""), (Kind.PING, b"and then")]


# -- flow control (sections 5.2, 6.9) ---------------------------------------------------------------------------------


def sizes(peer: Peer, stream: int) -> list[int]:
    return [len(got.payload) for got in peer.of(stream, Kind.DATA) if got.payload]


def test_a_stream_sends_no_more_than_its_window_and_a_setting_moves_it(lab: Lab) -> None:
    with Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, 0)) as peer:
        peer.send(headers(1, request(path=LARGE)))
        peer.until(lambda got: got.kind == Kind.HEADERS and got.stream == 1)
        peer.echo()
        assert sizes(peer, 1) == []
        peer.send(window(1, 1))
        peer.until(lambda got: got.kind == Kind.DATA)
        peer.echo()
        assert sizes(peer, 1) == [1]
        peer.send(settings((4, 5)))  # each stream's grows by five
        peer.until(lambda got: got.kind == Kind.DATA)
        peer.echo()
        assert sum(sizes(peer, 1)) == 6
        peer.send(settings((4, 0)) + window(1, 4))  # five below what it may: -1
        peer.echo()
        assert sum(sizes(peer, 1)) == 6
        peer.send(window(1, 3))
        peer.until(lambda got: got.kind == Kind.DATA)
        peer.echo()
        assert sum(sizes(peer, 1)) == 8
        peer.send(window(1, MOST - 100) + window(0, 1 << 20))
        assert peer.answer(1) == 200 and sum(sizes(peer, 1)) >= LARGE_BYTES


def test_all_streams_together_send_no_more_than_the_connections_window(lab: Lab) -> None:
    with Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, MOST)) as peer:
        peer.send(*(headers(stream, request(path=LARGE)) for stream in (1, 3, 5)))
        for stream in (1, 3, 5):
            if not peer.of(stream, Kind.HEADERS):
                peer.until(lambda got, s=stream: got.kind == Kind.HEADERS and got.stream == s)
        for _ in range(3):
            peer.echo()
        sent = sum(sum(sizes(peer, stream)) for stream in (1, 3, 5))
        assert 0 < sent <= 65535
        peer.send(window(0, MOST - 65535))
        peer.until(lambda got: got.stream == 5 and got.ends)


def test_no_frame_is_larger_than_the_client_takes(lab: Lab) -> None:
    for most in (FRAME_BYTES, 60_000):
        with Peer(lab.port, (4, MOST), (Setting.MAX_FRAME_SIZE, most)) as peer:
            peer.send(window(0, MOST - 65535))
            assert peer.ask(1, request(path=LARGE)) == 200
            assert max(len(got.payload) for got in peer.got) <= most


def test_data_of_streams_that_are_gone_is_given_back_to_the_connection(lab: Lab) -> None:
    """Section 5.1: it counts, and who gives nothing back for it starves the connection."""
    with Peer(lab.port, timeout_s=2 * UNIT) as peer:
        left = 65535 + sum(increment(got) for got in peer.of(0, Kind.WINDOW_UPDATE))
        for stream in range(1, 41, 2):
            peer.send(headers(stream, request("POST", TAKES), end=False) + rst(stream))
            peer.got.clear()
            while left < 10_000:
                left += increment(peer.until(lambda got: got.kind == Kind.WINDOW_UPDATE and got.stream == 0))
            peer.send(data(stream, bytes(10_000)))
            left -= 10_000
            peer.echo()
            assert not any(got.kind == Kind.GOAWAY for got in peer.got), peer.story()
            left += sum(increment(got) for got in peer.of(0, Kind.WINDOW_UPDATE))
        assert live(peer) == ""


def increment(got: Got) -> int:
    return int.from_bytes(got.payload)


def test_more_than_the_window_is_a_fault_of_flow_control(lab: Lab) -> None:
    with Peer(lab.port, timeout_s=2 * UNIT) as peer:
        most = peer.announced.get(Setting.INITIAL_WINDOW_SIZE, 65535)
        peer.send(headers(1, request("POST", "/deaf"), end=False))
        peer.send(*(data(1, bytes(FRAME_BYTES)) for _ in range(most // FRAME_BYTES + 2)))
        fault = peer.until(lambda got: got.kind in (Kind.RST_STREAM, Kind.GOAWAY))
        assert fault.code is Code.FLOW_CONTROL_ERROR


def test_a_handler_that_takes_nothing_is_sent_no_more_than_a_window_and_its_siblings_live(lab: Lab) -> None:
    with Peer(lab.port, timeout_s=2 * UNIT) as peer:
        most = peer.announced.get(Setting.INITIAL_WINDOW_SIZE, 65535)
        peer.send(headers(1, request("POST", "/deaf"), end=False))
        peer.send(*(data(1, bytes(FRAME_BYTES)) for _ in range(most // FRAME_BYTES)))
        peer.echo()
        assert sum(increment(got) for got in peer.of(1, Kind.WINDOW_UPDATE)) < most
        assert live(peer) == ""


# -- messages (section 8) ---------------------------------------------------------------------------------------------


def fields_of(peer: Peer, stream: int) -> list[tuple[str, str]]:
    decoder = hpack.Decoder()
    found: list[tuple[str, str]] = []
    for got in peer.got:
        if got.kind == Kind.HEADERS:
            decoded = decoder.decode(got.payload)
            if got.stream == stream:
                found += decoded
    return found


@pytest.mark.parametrize("path", [PAGE, HELD, "/", "/nowhere", "/websocket", "/http-streaming?framing=eof"])
def test_an_answers_fields_are_in_lower_case_and_none_is_the_connections(lab: Lab, path: str) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request(path=path)))
        peer.until(lambda got: got.stream == 1 and got.kind == Kind.HEADERS)
        names = [name for name, _ in fields_of(peer, 1)]
        assert names[0] == ":status" and not any(name.startswith(":") for name in names[1:])
        assert all(name == name.lower() for name in names)
        of_connections = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
        assert not of_connections & set(names)


def test_an_answers_head_tells_of_the_table_that_the_client_grants(lab: Lab) -> None:
    with Peer(lab.port) as peer:  # of no bytes
        assert peer.ask(1) == 200 and peer.ask(3) == 200
        first, second = peer.of(1, Kind.HEADERS)[0], peer.of(3, Kind.HEADERS)[0]
        assert first.payload[0] == 0x20  # RFC 7541 section 4.2
        assert second.payload[0] & 0xE0 != 0x20 and len(second.payload) >= len(first.payload) - 1  # it kept nothing


def test_the_whole_server_can_be_asked_for_its_options(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(1, request("OPTIONS", "*")) == 204  # section 8.3.1


def test_a_head_larger_than_a_frame_comes_in_pieces_and_nothing_between_them(lab: Lab) -> None:
    with Peer(lab.port, (4, MOST)) as peer:
        peer.send(headers(1, request(path=LARGE)) + headers(3, request(path="/long")))
        peer.until(lambda got: got.stream == 3 and got.kind == Kind.HEADERS)
        first = len(peer.got) - 1
        assert not peer.got[first].flags & END_HEADERS
        peer.until(lambda got: bool(got.kind == Kind.CONTINUATION and got.flags & END_HEADERS))
        pieces = peer.got[first + 1 :]
        assert all(got.kind == Kind.CONTINUATION and got.stream == 3 for got in pieces)
        assert all(len(got.payload) <= FRAME_BYTES for got in peer.got)
        peer.until(lambda got: got.stream == 3 and got.ends)


@pytest.mark.parametrize("path", [PAGE, HELD, LARGE])
def test_head_has_no_content(lab: Lab, path: str) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(1, request("HEAD", path)) == 200
        assert peer.body(1) == b"" and live(peer) == ""


def test_a_304_has_no_content(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(1, request("GET", f"{PAGE}?etag=1")) == 200
        etag = dict(fields_of(peer, 1))["etag"]
        assert peer.ask(3, request("GET", f"{PAGE}?etag=1", ("if-none-match", etag))) == 304
        assert peer.body(3) == b"" and live(peer) == ""


def test_a_body_that_is_too_large_is_answered_before_its_end_and_then_not_wanted(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", TAKES, ("content-length", "999999999")), end=False))
        assert peer.answer(1) == 413
        assert [got.code for got in peer.of(1, Kind.RST_STREAM)] in ([], [Code.NO_ERROR])  # section 8.1
        assert live(peer) == ""


def test_who_expects_to_be_told_to_go_on_is_told(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", TAKES, ("expect", "100-continue")), end=False))
        told = peer.until(lambda got: got.kind == Kind.HEADERS)
        assert status(told) == 100 and not told.ends
        peer.send(data(1, b"now", end=True))
        assert peer.answer(1) == 200


# -- WebSocket (RFC 8441) ---------------------------------------------------------------------------------------------

SOCKET = (
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *request(path="/websocket/echo")[1:],
    ("sec-websocket-version", "13"),
)


def test_a_websocket_is_announced_opened_without_a_key_and_ends_with_its_stream(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        assert peer.announced[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        peer.send(headers(1, SOCKET, end=False))
        head = peer.until(lambda got: got.kind == Kind.HEADERS)
        assert status(head) == 200 and not head.flags & END_STREAM
        assert not {"sec-websocket-accept", "connection", "upgrade"} & set(dict(fields_of(peer, 1)))
        peer.send(data(1, b"\x81\x82\0\0\0\0hi"))
        assert peer.until(lambda got: got.kind == Kind.DATA).payload == b"\x81\x02hi"
        peer.send(data(1, b"\x88\x82\0\0\0\0\x03\xe8", end=True))
        peer.until(lambda got: got.stream == 1 and got.ends)
        assert peer.body(1).endswith(b"\x88\x02\x03\xe8") and live(peer) == ""


def test_a_websocket_ends_once_where_its_window_is_less_than_nothing(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, SOCKET, end=False) + data(1, b"\x81\x82\0\0\0\0hi"))
        peer.until(lambda got: got.kind == Kind.DATA)
        peer.send(settings((Setting.INITIAL_WINDOW_SIZE, 0)))
        peer.echo()
        peer.send(data(1, end=True))
        peer.until(lambda got: got.kind == Kind.DATA)
        peer.echo()
        assert [got.ends for got in peer.of(1, Kind.DATA)] == [False, True]


@pytest.mark.parametrize("ends", [False, True], ids=["open", "ended"])
def test_a_websocket_of_an_unknown_version_is_refused(lab: Lab, ends: bool) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, (*SOCKET[:-1], ("sec-websocket-version", "99")), end=ends))
        assert peer.answer(1) == 426
        assert peer.of(1)[0].kind == Kind.HEADERS and live(peer) == ""


@pytest.mark.parametrize("path", ["/websocket/echo", "/late"])
def test_a_websocket_that_is_ended_as_it_is_asked_for_is_answered_and_then_ended(lab: Lab, path: str) -> None:
    with Peer(lab.port) as peer:
        assert peer.ask(1, tuple((n, path if n == ":path" else v) for n, v in SOCKET)) == 200
        assert peer.of(1)[0].kind == Kind.HEADERS and live(peer) == ""


def test_a_reset_websocket_takes_nothing_else_with_it(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, SOCKET, end=False) + headers(3, SOCKET, end=False))
        peer.until(lambda got: got.stream == 3 and got.kind == Kind.HEADERS)
        peer.send(rst(1), data(3, b"\x81\x82\0\0\0\0hi"))
        assert peer.until(lambda got: got.kind == Kind.DATA).stream == 3
        assert live(peer) == ""


# -- the judge --------------------------------------------------------------------------------------------------------


def test_the_judge_reads_a_status_in_each_way_that_it_can_be_written() -> None:
    encoder = hpack.Encoder()
    for code in (100, 200, 204, 299, 304, 345, 403, 426, 431, 501, 503, 678):
        for block in (encoder.encode([(":status", str(code))], huffman=coded) for coded in (False, True)):
            if block[0] < 0x80 | 62:  # else it is an index into a table that the client does not grant
                assert status(Got(Kind.HEADERS, 4, 1, b"\x20" + block)) == code
