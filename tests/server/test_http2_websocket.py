"""A WebSocket on a stream of HTTP/2 (RFC 8441), through the lab's own handlers, over raw frames."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tornado.websocket import WebSocketHandler

from conftest import UNIT
from labkit.lab import server
from labkit.lab.lab import Lab
from labkit.subscribing.contract.waiting import settle
from labkit.techniques import TECHNIQUES, Technique
from labkit.wire.close_codes import decode_close
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame
from raw_http2 import Code, Kind, Peer, Setting, data, headers, request, rst, status, window
from wait import until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
hpack = pytest.importorskip("hpack")

MASK = b"\1\2\3\4"


class Plain(WebSocketHandler):
    """A learner's, which knows nothing of the kit."""

    def on_message(self, message: str | bytes) -> None:
        self.write_message(f"you said {message!r}")


MINE = Technique(
    name="mine", title="Mine", spec="", route="/mine", handler=Plain, client=TECHNIQUES[0].client, short="mine"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("sockets", http=(1, 2), max_event_bytes=1 << 20, techniques=(*TECHNIQUES, MINE)) as opened:
        yield opened


class Socket:
    """One WebSocket on a stream of *peer*."""

    def __init__(self, peer: Peer, stream: int, path: str, *more: tuple[str, str]) -> None:
        self.peer, self.stream, self.seen = peer, stream, 0
        self.decoder = FrameDecoder(masked=False, reserved=frozenset({"rsv1"}))
        self.frames: list[Frame] = []
        asked = request("CONNECT", path, (":protocol", "websocket"), ("sec-websocket-version", "13"), *more)
        pseudo = [field for field in asked if str(field[0]).startswith(":")]
        peer.send(headers(stream, (*pseudo, *(field for field in asked if field not in pseudo)), end=False))
        head = peer.until(lambda got: got.stream == stream and got.kind == Kind.HEADERS)
        self.status = status(head)
        self.fields = dict(hpack.Decoder().decode(head.payload))

    def send(self, *messages: str | bytes) -> None:
        for message in messages:
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            raw = message.encode() if isinstance(message, str) else message
            self.say(encode_frame(Frame(opcode, raw, mask=MASK)))

    def say(self, raw: bytes, *, end: bool = False) -> None:
        for start in range(0, len(raw), 16_384):
            self.peer.send(data(self.stream, raw[start : start + 16_384]))
        if end:
            self.peer.send(data(self.stream, end=True))

    def frame(self) -> Frame | None:
        """The next frame; None at the stream's end."""
        while not self.frames:
            got = next((g for g in self.peer.of(self.stream, Kind.DATA)[self.seen :]), None)
            if got is None:
                if any(g.ends for g in self.peer.of(self.stream)):
                    return None
                assert self.peer.read() is not None, self.peer.story()
                continue
            self.seen += 1
            if got.payload:
                self.peer.send(window(self.stream, len(got.payload)) + window(0, len(got.payload)))
            self.frames += self.decoder.feed(got.payload)
        return self.frames.pop(0)

    def message(self) -> bytes:
        frame = self.frame()
        assert frame is not None and frame.opcode in (Opcode.TEXT, Opcode.BINARY), frame
        return frame.payload

    def closing(self) -> tuple[int, str]:
        frame = self.frame()
        assert frame is not None and frame.opcode is Opcode.CLOSE, frame
        return decode_close(frame.payload)


def test_sockets_and_streams_of_one_connection_have_their_events(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        sockets = [Socket(peer, stream, "/websocket?topic=t") for stream in (1, 3, 5)]
        for socket in sockets:
            assert socket.status == 200 and "cursor" in json.loads(socket.message())
            assert not {"sec-websocket-accept", "upgrade", "connection"} & set(socket.fields)
        assert lab.stats()["connections"] == 1
        for number in range(200):
            lab.publish(str(number), "t")
        for socket in sockets:
            assert [json.loads(socket.message())["data"] for _ in range(200)] == [str(n) for n in range(200)]


def test_a_client_publishes_and_is_answered(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        socket = Socket(peer, 1, "/websocket?topic=up")
        socket.message()
        socket.send('{"publish": "up", "ref": 1}')
        said = [json.loads(socket.message()) for _ in range(2)]
        assert {"published": 1, "ref": 1} in said and {"id": 1, "data": "up"} in said
        socket.send("no JSON")
        assert "error" in json.loads(socket.message())


def test_binary_messages_and_deflated_ones_are_the_same_as_over_http1(lab: Lab) -> None:
    lab.publish("x" * 500, "kinds")
    with Peer(lab.port) as peer:
        binary = Socket(peer, 1, "/websocket?topic=kinds&binary=1&after=0")
        binary.message()
        assert binary.message() == (1).to_bytes(8, "big") + b"x" * 500
        offer = ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover")
        deflated = Socket(peer, 3, "/websocket?topic=kinds&deflate=1&after=0", offer)
        assert deflated.fields["sec-websocket-extensions"].startswith("permessage-deflate")
        deflated.message()
        raw = deflated.message()
        assert b'"data":"xxxx' in zlib.decompressobj(-15).decompress(raw + b"\0\0\xff\xff") and len(raw) < 100


def test_a_message_of_many_windows_goes_both_ways(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        socket = Socket(peer, 1, "/websocket/echo")
        raw, sent = encode_frame(Frame(Opcode.BINARY, bytes(400_000), mask=MASK)), 0
        left = {0: 65_535, 1: 65_535}  # of the connection's window, and of the stream's: each is given back in its time
        while sent < len(raw):
            piece = raw[sent : sent + min(16_384, *left.values())]
            peer.send(data(1, piece))
            sent, left = sent + len(piece), {of: much - len(piece) for of, much in left.items()}
            while not all(left.values()):
                got = peer.until(lambda got: got.kind == Kind.WINDOW_UPDATE)
                left[got.stream] += int.from_bytes(got.payload)
        assert socket.message() == bytes(400_000)


def test_each_end_of_a_socket_is_an_end_of_its_stream(lab: Lab) -> None:
    """RFC 8441 section 5: END_STREAM for TCP's FIN, RST_STREAM for its reset."""
    with Peer(lab.port) as peer:
        closing = Socket(peer, 1, "/websocket/echo")
        closing.say(encode_frame(Frame(Opcode.CLOSE, b"\x03\xe8bye", mask=MASK)), end=True)
        assert closing.closing()[0] == 1000 and closing.frame() is None
        half = Socket(peer, 3, "/websocket?topic=ends")
        half.message()
        half.say(b"", end=True)
        assert half.frame() is None
        reset = Socket(peer, 5, "/websocket?topic=ends")
        reset.message()
        until(lambda: lab.stats()["subscribers"] == 1, "one is left")
        peer.send(rst(5))
        until(lambda: lab.stats()["subscribers"] == 0, "nobody is left")
        broken = Socket(peer, 7, "/websocket/echo")
        broken.say(b"\xff\xff")
        assert broken.closing()[0] == 1002 and broken.frame() is None
        peer.echo()


def test_sockets_that_were_closed_take_no_place_though_their_client_ends_no_stream(lab: Lab) -> None:
    """Firefox ends no stream of its own; of those that wait for that the oldest make room."""
    with Peer(lab.port) as peer:
        closed = range(1, 2 * peer.announced[Setting.MAX_CONCURRENT_STREAMS] + 1, 2)
        for stream in closed:
            socket = Socket(peer, stream, "/websocket/echo")
            socket.say(encode_frame(Frame(Opcode.CLOSE, b"\x03\xe8", mask=MASK)))
            assert socket.closing()[0] == 1000 and socket.frame() is None
        for more in (closed.stop, closed.stop + 2):
            assert Socket(peer, more, "/websocket/echo").status == 200
        ended = [(got.stream, got.code) for got in peer.look() if got.kind == Kind.RST_STREAM]
        assert ended[:2] == [(1, Code.NO_ERROR), (3, Code.NO_ERROR)]
        peer.echo()


def test_closing_the_lab_closes_each_socket_in_order() -> None:
    with Lab("closes", http=(1, 2)) as lab, Peer(lab.port) as peer:
        sockets = [Socket(peer, stream, "/websocket") for stream in (1, 3)]
        for socket in sockets:
            socket.message()
        lab.close()
        for socket in sockets:
            assert socket.closing() == (1001, "the lab has closed")


def test_closing_the_lab_ends_the_connection_when_each_socket_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_S", 20 * UNIT)
    with Lab("farewell", http=(1, 2)) as lab, Peer(lab.port) as peer, ThreadPoolExecutor(1) as elsewhere:
        sockets = [Socket(peer, stream, "/websocket") for stream in (1, 3)]
        for socket in sockets:
            socket.message()
        closing = elsewhere.submit(lab.close)
        said = [socket.frame() for socket in sockets]
        for socket, frame in zip(sockets, said, strict=True):
            assert frame is not None and frame.opcode is Opcode.CLOSE
            peer.sock.settimeout(0.1 * UNIT)
            with pytest.raises(TimeoutError):
                socket.frame()
            peer.sock.settimeout(peer.timeout_s)
            socket.say(encode_frame(Frame(Opcode.CLOSE, frame.payload, mask=MASK)))
            assert socket.frame() is None
        closing.result(5 * UNIT)
        assert peer.read() is None


def test_a_socket_that_is_not_read_is_slow_and_its_sibling_is_not() -> None:
    with Lab("slow", http=(1, 2), slow="disconnect", queue=16) as lab, Peer(lab.port) as peer:
        slow, well = Socket(peer, 1, "/websocket"), Socket(peer, 3, "/websocket")
        slow.message()
        well.message()
        for number in range(100):
            lab.publish("x" * 1000 + f"event {number + 1}.")
            settle()
            assert f"event {number + 1}.".encode() in well.message()
        until(lambda: lab.stats()["disconnected"] == 1, "sent away")
        while (frame := slow.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            last = frame
        assert json.loads(last.payload) == {"closing": "slow subscriber"}
        assert frame is not None and decode_close(frame.payload) == (1013, "slow subscriber")


def test_who_answers_no_ping_is_let_go() -> None:
    with Lab("pings", http=(1, 2), heartbeat_s=0.1 * UNIT) as lab, Peer(lab.port) as peer:
        socket = Socket(peer, 1, "/websocket")
        socket.message()
        until(lambda: lab.stats()["subscribers"] == 0, "let go")
        peer.echo()
        assert lab.stats()["connections"] == 1


def test_a_socket_that_was_let_go_and_takes_no_farewell_takes_no_place() -> None:
    options = {"heartbeat_s": 0.1 * UNIT, "write_timeout_s": 0.2 * UNIT}
    with Lab("deaf", http=(1, 2), **options) as lab, Peer(lab.port, (Setting.INITIAL_WINDOW_SIZE, 0)) as peer:
        Socket(peer, 1, "/websocket")
        until(lambda: lab.stats()["subscribers"] == 0, "let go")
        assert peer.until(lambda got: got.kind == Kind.RST_STREAM).stream == 1
        peer.echo()


def test_what_is_no_websocket_is_not_opened_as_one(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        for stream, path in enumerate(("/sse", "/polling", "/", "/http-streaming", "/long-polling?timeout=0")):
            assert Socket(peer, 2 * stream + 1, path).status == 405, path
        assert Socket(peer, 21, "/nowhere").status == 404
        assert Socket(peer, 23, "/websocket?after=x").status == 400
        assert Socket(peer, 25, "/websocket", ("origin", "https://foreign.example")).status == 403
        until(lambda: lab.stats()["subscribers"] == 0, "nobody subscribes by it")
        peer.send(headers(27, ((":method", "CONNECT"), (":protocol", "connect-udp"), *request(path="/sse")[1:])))
        assert peer.answer(27) == 501
        peer.echo()


def test_a_token_comes_as_a_subprotocol_as_over_http1(lab: Lab) -> None:
    lab.allow_origin("https://hub.example", token="secret")
    with Peer(lab.port) as peer:
        offered = ("sec-websocket-protocol", "labkit, secret"), ("origin", "https://hub.example")
        socket = Socket(peer, 1, "/websocket", *offered)
        assert socket.status == 200 and socket.fields["sec-websocket-protocol"] == "labkit"
        assert Socket(peer, 3, "/websocket", ("origin", "https://hub.example")).status == 403


def test_a_learners_own_handler_is_served_as_well(lab: Lab) -> None:
    with Peer(lab.port) as peer:
        socket = Socket(peer, 1, "/mine")
        socket.send("hello")
        assert socket.message() == b"you said 'hello'"
        peer.send(rst(1, Code.CANCEL))
        peer.echo()
