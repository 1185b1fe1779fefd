"""A request of HTTP/2 as Tornado's handlers see it, and their answers as HTTP/2 carries them, over raw frames."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler, stream_request_body

from conftest import UNIT
from labkit.lab.lab import Lab
from labkit.server.handler import PushHandler
from labkit.server.http2_requests import Refused, request_of
from labkit.techniques import TECHNIQUES, Technique, find
from raw_http2 import Code, Kind, Peer, data, headers, request
from wait import dial, get, read_all, until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
hpack = pytest.importorskip("hpack")


class Told(RequestHandler):
    """Tells what it was asked."""

    def get(self) -> None:
        asked = self.request
        self.set_header("Connection", "keep-alive, x-mine")
        self.set_header("X-Mine", "of this connection alone")
        self.set_header("X-Name", "café")
        self.set_cookie("a", "1")
        self.set_cookie("b", "2")
        fields = {name: value for name, value in asked.headers.get_all()}
        told = {"version": asked.version, "host": asked.host, "protocol": asked.protocol, "ip": asked.remote_ip}
        self.write({**told, "fields": fields, "cookies": {n: m.value for n, m in asked.cookies.items()}})


class Wrong(RequestHandler):
    """Says a length that its body has not, or fails behind its head."""

    async def get(self) -> None:
        match self.get_query_argument("how"):
            case "short":
                self.set_header("Content-Length", "100")
                self.write("short")
            case "long":
                self.set_header("Content-Length", "2")
                self.write("longer")
            case "upgrade":
                self.set_status(101)
        await self.flush()

    def log_exception(self, *_: Any) -> None:
        pass


class Failing(PushHandler):
    """One of the kit's kind that fails behind its head."""

    async def get(self) -> None:
        await self.send(b"half of")
        raise RuntimeError("a fault in mid-answer")


@stream_request_body
class Slow(RequestHandler):
    """Takes one piece of a body after the other, each in its time."""

    def prepare(self) -> None:
        self.sizes: list[int] = []

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.sizes.append(len(chunk))

    def post(self) -> None:
        self.write({"bytes": sum(self.sizes)})


def mine(handler: type[RequestHandler]) -> Technique:
    name = handler.__name__.lower()
    return replace(find("polling"), name=name, short=name, route=f"/{name}", handler=handler)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("exchanges", http=(1, 2), techniques=(*TECHNIQUES, *map(mine, (Told, Wrong, Failing, Slow)))) as opened:
        yield opened


def told(peer: Peer, stream: int, *fields: tuple[str, str]) -> dict[str, Any]:
    assert peer.ask(stream, request("GET", "/told", *fields)) == 200
    return dict(json.loads(peer.body(stream)))


def raw_fields_of(peer: Peer, stream: int) -> list[tuple[bytes, bytes]]:
    return list(hpack.Decoder().decode(peer.of(stream, Kind.HEADERS)[-1].payload, raw=True))


def fields_of(peer: Peer, stream: int) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw_fields_of(peer, stream)]


def test_a_handler_sees_the_request_that_it_knows(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        asked = told(peer, 1, ("cookie", "a=1; b=2"), ("x", "y"), ("cookie", "c=3"), ("te", "trailers"))
        assert (asked["version"], asked["host"], asked["protocol"]) == ("HTTP/2.0", "localhost", "http")
        assert asked["ip"] == "127.0.0.1" and asked["cookies"] == {"a": "1", "b": "2", "c": "3"}
        assert asked["fields"] == {"Host": "localhost", "X": "y", "Cookie": "a=1; b=2; c=3"}
        assert "Cookie" not in told(peer, 3)["fields"]


def test_over_tls_it_sees_that_too() -> None:
    pytest.importorskip("trustme")
    with Lab("exchanges over TLS", http=(1, 2), tls=True, techniques=(mine(Told),)) as lab:
        trust = ssl.create_default_context(cafile=lab.cafile)
        trust.set_alpn_protocols(["h2"])
        with Peer(lab.port, tls=trust) as peer:
            assert told(peer, 1)["protocol"] == "https"


def test_an_answer_leaves_the_connections_own_fields_behind(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        told(peer, 1)
        names = [name for name, _ in fields_of(peer, 1)]
        assert not {"connection", "keep-alive", "x-mine", "transfer-encoding"} & set(names)
        assert names.count("set-cookie") == 2 and names[0] == ":status"


def test_a_field_beyond_ascii_has_the_bytes_that_it_has_over_http1(lab: Lab) -> None:
    with Peer(lab.port) as peer, dial(lab.port, get("/told", "Connection: close")) as sock:
        told(peer, 1)
        (value,) = (value for name, value, *_ in raw_fields_of(peer, 1) if name == b"x-name")
        assert value == "café".encode("latin-1") and b"X-Name: %s\r\n" % value in read_all(sock)


@pytest.mark.parametrize("how", ["short", "long", "upgrade"])
def test_an_answer_that_goes_wrong_behind_its_head_is_reset_as_a_fault_of_the_server(
    lab: Lab, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request(path=f"/wrong?how={how}")))
        assert peer.until(lambda got: got.kind == Kind.RST_STREAM).code is Code.INTERNAL_ERROR
        assert not any(got.ends for got in peer.of(1))
        peer.echo()
    until(lambda: caplog.messages == ["Cannot send error response after headers written"], "Tornado's word")
    caplog.clear()


def test_an_answer_that_a_fault_breaks_off_is_not_ended_as_if_it_were_whole(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9112 section 8, RFC 9113 section 8.1."""
    with dial(lab.port, get("/failing")) as sock:
        assert read_all(sock).endswith(b"\r\n\r\n7\r\nhalf of\r\n")
    with Peer(lab.port) as peer:
        peer.send(headers(1, request(path="/failing")))
        assert peer.until(lambda got: got.kind == Kind.RST_STREAM).code is Code.INTERNAL_ERROR
        assert not any(got.ends for got in peer.of(1))
    assert caplog.messages == 2 * ["in GET '/failing'"]
    caplog.clear()


def test_a_body_goes_on_as_its_handler_takes_it(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        peer.send(headers(1, request("POST", "/slow"), end=False))
        sent, left, window = 0, 65_535, 65_535
        while sent < 500_000:
            size = min(16_000, left, window)
            if not size:
                got = peer.until(lambda got: got.kind == Kind.WINDOW_UPDATE)
                more = int.from_bytes(got.payload)
                left, window = left + more * (got.stream == 1), window + more * (got.stream == 0)
                continue
            peer.send(data(1, b"x" * size))
            sent, left, window = sent + size, left - size, window - size
        peer.send(data(1, end=True))
        assert peer.answer(1) == 200 and json.loads(peer.body(1)) == {"bytes": sent}


def test_a_body_that_does_not_come_has_its_time() -> None:
    with Lab("little time", http=(1, 2)) as lab, Peer(lab.port) as peer:
        lab._server.http.conn_params.body_timeout = 0.1 * UNIT  # type: ignore[union-attr]
        with Peer(lab.port) as late:
            late.send(headers(1, request("POST", "/events"), end=False))
            assert late.until(lambda got: got.kind == Kind.RST_STREAM).code is Code.CANCEL
            late.echo()
        assert peer.ask(1) == 200


def test_a_page_of_elsewhere_a_foreign_host_and_a_wrong_token_are_refused_as_over_http1(lab: Lab) -> None:
    lab.allow_origin("https://hub.example", token="secret")
    with Peer(lab.port) as peer:
        foreign = (("origin", "https://foreign.example"),)
        cases: list[tuple[str, str, tuple[tuple[str, str], ...], int]] = [
            ("localhost", "/polling", (), 200),
            ("rebound.example", "/polling", (), 403),
            ("localhost", "/polling", foreign, 403),
            ("localhost", "/polling?token=secret", (("origin", "https://hub.example"),), 200),
            ("localhost", "/polling?token=wrong", (("origin", "https://hub.example"),), 403),
            ("localhost", "/events", foreign, 403),
        ]
        for number, (host, path, more, wanted) in enumerate(cases):
            method = "POST" if path == "/events" else "GET"
            block = ((":method", method), (":scheme", "http"), (":path", path), (":authority", host), *more)
            assert peer.ask(2 * number + 1, block) == wanted, (host, path, more)
        allowed = dict(fields_of(peer, 7))
        assert allowed["access-control-allow-origin"] == "https://hub.example"
        host_only = ((":method", "GET"), (":scheme", "http"), (":path", "/polling"), ("host", "rebound.example"))
        assert peer.ask(31, host_only) == 403


def test_who_publishes_learns_the_number_and_the_time_is_that_of_the_head(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for number in range(1, 4):
            stream = 2 * number - 1
            peer.send(headers(stream, request("POST", "/events?topic=up"), end=False), data(stream, b"hello"))
            peer.send(data(stream, b" there", end=True))
            assert peer.answer(stream) == 200 and json.loads(peer.body(stream)) == {"id": number}
        assert peer.ask(7, request(path="/polling?topic=up&after=0")) == 200
        assert [event["data"] for event in json.loads(peer.body(7))["events"]] == ["hello there"] * 3
        assert peer.of(7, Kind.DATA)[-1].ends and len(peer.of(7, Kind.DATA)) == 1, "no frame only for the end"


def test_a_head_request_is_answered_at_once_and_subscribes_nobody(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for number, path in enumerate(("/sse", "/http-streaming", "/long-polling", "/polling", "/")):
            assert peer.ask(2 * number + 1, request("HEAD", path)) == 200
            assert peer.of(2 * number + 1, Kind.HEADERS)[-1].ends and not peer.body(2 * number + 1)
        until(lambda: lab.stats()["subscribers"] == 0, "nobody")


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ([(b":method", b"GET"), (b":path", b"no slash")], 400),
        ([(b":method", b"GET"), (b":path", b"*")], 400),
        ([(b":method", b"GET"), (b":path", b"/a b")], 400),
        ([(b":method", b"GET"), (b":path", b"/\r\nX: y")], 400),
        ([(b":method", b"CONNECT"), (b":path", b"/"), (b":protocol", b"connect-udp")], 501),
    ],
    ids=["no slash", "an asterisk", "a space", "a line's end", "another protocol"],
)
def test_what_no_handler_could_make_sense_of_is_refused(fields: list[tuple[bytes, bytes]], refused: int) -> None:
    with pytest.raises(Refused) as raised:
        request_of(fields)
    assert raised.value.status == refused


def test_a_websockets_connect_looks_as_an_upgrade_does() -> None:
    asked = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":path", b"/websocket"), (b":authority", b"a")]
    found = request_of([*asked, (b"sec-websocket-version", b"13")])
    assert found.websocket and found.line.method == "GET"
    wanted = {"Host": "a", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Version": "13"}
    assert HTTPHeaders(wanted).items() <= found.headers.items()
