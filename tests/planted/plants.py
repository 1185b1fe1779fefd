"""A lie for each claim that no simulation makes: what is changed in the kit, and by what words its verdict says so.

Each is planted in a process of its own (:mod:`planted.__main__`), for good. The experiment is the claim's own, whole.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Plant:
    """A lie: in words, what plants it, the verdict that it is to bring, and a pattern of that verdict's reason."""

    lie: str
    plant: Callable[[], None]
    says: str
    verdict: str = "refuted"


# 01


def a_descriptor_stays() -> None:
    from labkit.lab.listening import LabHTTPServer

    take = LabHTTPServer._handle_connection

    def keeping(self: Any, connection: socket.socket, address: Any) -> None:
        os.open(os.devnull, os.O_RDONLY)
        take(self, connection, address)

    LabHTTPServer._handle_connection = keeping


def never_304() -> None:
    from labkit.techniques.polling import PollingHandler

    PollingHandler.check_etag_header = lambda self: False


def a_figure_changed() -> None:
    from labkit.course.polling import per_message

    rows = per_message.PUBLISHED
    per_message.PUBLISHED = (replace(rows[0], clients=rows[0].clients * 1.3), *rows[1:])


# 02


def closing_each() -> None:
    from labkit.client.http import HTTPClient

    init = HTTPClient.__init__

    def closing(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        self.headers["Connection"] = "close"

    HTTPClient.__init__ = closing


def never_idle() -> None:
    from labkit.network.intermediary import Intermediary

    init = Intermediary.__init__

    def patient(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more | {"idle_timeout_s": None})

    Intermediary.__init__ = patient


def twice_the_threads() -> None:
    from labkit.course.long_polling.bounded import ThreadServer

    init = ThreadServer.__init__
    ThreadServer.__init__ = lambda self, threads: init(self, 2 * threads)


def one_escaped() -> None:
    import json

    from labkit.wire import envelope

    envelope._dumps = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


# 03


def held_until_the_end() -> None:
    """What a body that EOF ends would carry leaves with the end."""
    from labkit.techniques.http_streaming import HTTPStreamingHandler

    send = HTTPStreamingHandler.send

    async def held(self: Any, data: bytes) -> None:
        if b'"id"' in data and (self.text("framing", "") == "eof" or self.request.version == "HTTP/1.0"):
            self.write(data)
        else:
            await send(self, data)

    HTTPStreamingHandler.send = held


def chunks_end_the_connection() -> None:
    from labkit.techniques.http_streaming import HTTPStreamingHandler

    get = HTTPStreamingHandler.get

    async def closing(self: Any) -> None:
        self.set_header("Connection", "close")
        await get(self)

    HTTPStreamingHandler.get = closing


def ended_after_one() -> None:
    from labkit.techniques.http_streaming import HTTPStreamingHandler

    recycle = HTTPStreamingHandler.recycle
    HTTPStreamingHandler.recycle = lambda self: recycle(self) or 1


def reset_as_fin() -> None:
    from labkit.network.link import Link

    cut = Link.cut
    Link.cut = lambda self, how="reset", **more: cut(self, "fin", **more)


def borders_left_alone() -> None:
    from labkit.network.intermediary import Intermediary

    init = Intermediary.__init__

    def plain(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more | {"split_bytes": None, "merge_s": None})

    Intermediary.__init__ = plain


def at_once() -> None:
    """No client is waited for: what one event holds is put down as what it wanted."""
    from labkit.course.http_streaming import buffering

    tried = buffering._tried
    buffering._tried = lambda *asked: replace(tried(*asked), body_bytes=buffering.EVENT_BYTES)


def never_leading() -> None:
    from labkit.techniques import http_streaming

    get = http_streaming.HTTPStreamingHandler.get

    async def trailing(self: Any) -> None:
        choice = self.choice
        self.choice = lambda name, *known: known[0] if name == "boundary" else choice(name, *known)
        await get(self)

    http_streaming.HTTPStreamingHandler.get = trailing


# 04


def a_space_kept() -> None:
    from labkit.course.sse import decoders

    ours = decoders.ours

    def spaced(reads: Any) -> Any:
        events, retry_ms = ours([read.replace(b"data: ", b"data:  ") for read in reads])
        return events, retry_ms

    decoders.ours = spaced


def no_answer_ends_it() -> None:
    """The client takes a 204 for an ordinary end."""
    from labkit.course.sse import giving_up

    ours = giving_up._ending

    async def never(asked: Any) -> None:
        if asked.path.split("/")[1] == "204":
            await asked.head("200 OK", giving_up.STREAM)
            return
        await ours(asked)

    giving_up._ending = never


def a_line_more() -> None:
    """Blocks of less than seven bytes are dispatched by nobody, and the barest stream has a line more."""
    from labkit.course.case_server import Asked

    write = Asked.write

    async def longer(self: Any, data: bytes) -> None:
        await write(self, data.replace(b"data:", b"id:7\ndata:"))

    Asked.write = longer


# 05


def another_accept() -> None:
    from labkit.wire import handshake

    handshake._ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B12"


def a_ping_beside_each() -> None:
    from labkit.server.socket_route import EchoSocket

    on_message = EchoSocket.on_message

    async def pinging(self: Any, message: str | bytes) -> None:
        self.ping(b"")
        if (said := on_message(self, message)) is not None:
            await said

    EchoSocket.on_message = pinging


def two_bytes_less() -> None:
    """The wire is read as if the largest frames of a client had two bytes less."""
    from labkit.course.websocket.frame_headers import Header

    Header.header_bytes = property(
        lambda self: self.frame_bytes - self.payload_bytes - 2 * (self.payload_bytes > 65535)
    )


def one_key() -> None:
    from labkit.client import websocket
    from labkit.wire.frames import Frame, encode_frame

    def masked(opcode: Any, payload: bytes) -> bytes:
        return encode_frame(Frame(opcode, payload, mask=b"same"))

    websocket._masked = masked


def no_pong_between_fragments() -> None:
    from labkit.server.websocket import CorrectedProtocol
    from labkit.wire.frames import Opcode

    handle = CorrectedProtocol._handle_message

    def deaf(self: Any, opcode: int, data: bytes) -> Any:
        between = opcode == Opcode.PING and self._fragmented_message_buffer is not None
        return None if between else handle(self, opcode, data)

    CorrectedProtocol._handle_message = deaf


def any_code() -> None:
    from labkit.server import websocket

    websocket.decode_close = lambda data: None


def no_pings() -> None:
    from labkit.server.websocket import CorrectedProtocol

    async def never(self: Any) -> None:
        await asyncio.sleep(3600)

    CorrectedProtocol.periodic_ping = never


def five_ms_late() -> None:
    from labkit.server.socket_route import EchoSocket

    on_message = EchoSocket.on_message

    async def late(self: Any, message: str | bytes) -> None:
        await asyncio.sleep(0.005)
        if (said := on_message(self, message)) is not None:
            await said

    EchoSocket.on_message = late


# 06 and 08


def no_nul_at_the_end() -> None:
    from labkit.techniques import plugin_socket

    plugin_socket.POLICY = plugin_socket.POLICY.rstrip(b"\0") + b"\n"


def sixty_ms_late() -> None:
    from labkit.server.handler import PushHandler

    send = PushHandler.send

    async def late(self: Any, data: bytes) -> None:
        await asyncio.sleep(0.06)
        await send(self, data)

    from labkit.server import fanout

    PushHandler.send = late
    fanout.attach_stream = lambda *_: None


def one_wins_everywhere() -> None:
    """Whatever is measured of one technique lies below the others' least."""
    from labkit.course.side_by_side.comparison import Comparison

    interval = Comparison.interval

    def better(self: Any, column: str, technique: str) -> Any:
        if technique != "websocket":
            return interval(self, column, technique)
        least = min(interval(self, column, other).lowest for other in self.techniques if other != technique)
        return replace(interval(self, column, technique), value=least - 2, low=least - 3, high=least - 1, wide=None)

    Comparison.interval = better


# 14


def sixty_ms_late_over_http2() -> None:
    from labkit.server.exchange import Exchange
    from labkit.server.handler import PushHandler

    send = PushHandler.send

    async def late(self: Any, data: bytes) -> None:
        if isinstance(self.request.connection, Exchange):
            await asyncio.sleep(0.06)
        await send(self, data)

    PushHandler.send = late


def five_streams() -> None:
    from labkit.server import http2

    http2.SETTINGS[http2.MAX] = 5


def told_twice() -> None:
    """A tab keeps the third event twice."""
    from labkit.course.later_http import tabs_sharing

    page_of = tabs_sharing.page_of

    def doubled(name: str) -> Any:
        page = page_of(name)
        handler = page.handler

        class Doubled(handler):  # type: ignore[misc, valid-type]
            def finish(self, chunk: Any = None) -> Any:
                kept = b"got.push(id);"
                return super().finish(chunk and chunk.replace(kept, kept + b" if (id === 3) got.push(id);"))

        return replace(page, handler=Doubled)

    tabs_sharing.page_of = doubled


def given_up_as_an_end() -> None:
    from h2.connection import H2Connection

    H2Connection.reset_stream = lambda self, stream, error_code=0: self.end_stream(stream)


def nothing_remembered() -> None:
    """No field is put into the table of either side."""
    import hpack

    encode = hpack.Encoder.encode
    hpack.Encoder.encode = lambda self, headers, huffman=True: encode(
        self, [(*tuple(field)[:2], True) for field in headers], huffman
    )


def a_window_too_small() -> None:
    """A connection's window is one stream's, whatever was asked for."""
    from labkit.course.later_http import raw

    talk = raw.talk
    raw.talk = lambda url, *, cafile=None, window=0: talk(url, cafile=cafile)


def no_packet_lost() -> None:
    """The packets that are put down as lost arrive; a connection that is to stand still does not."""
    from labkit.course.later_http import loss
    from labkit.network.link import Link

    carry = loss._carry

    class PutDown:
        def __init__(self, ports: list[int]) -> None:
            self._ports = ports

        def __contains__(self, port: int) -> bool:
            if port not in self._ports:
                self._ports.append(port)
            return True

    loss._carry = lambda server, client, dropped, *more: carry(server, client, PutDown(dropped), *more)
    Link.stall = lambda self, *given, **more: None


def push_allowed() -> None:
    from labkit.course.later_http.settings_said import Words

    value = Words.value
    Words.value = lambda self, name: 1 if name == "ENABLE_PUSH" else value(self, name)


def deaf_to_goaway() -> None:
    from labkit.course.later_http.raw import Talk

    Talk.goaway = property(lambda self: None, lambda self, told: None)


def let_through_over_http2() -> None:
    """At an edge of HTTP/2 a program lets events through that it holds back over HTTP/1.1."""
    from labkit.course.later_http import fronts

    real = fronts.real_intermediary

    def kind(name: str, target: Any = None, config: str = "default", **more: Any) -> Any:
        return real(name, target, "recommended" if more.get("http") == 2 else config, **more)

    fronts.real_intermediary = kind


PLANTS = {
    "P3": Plant("a descriptor stays behind each connection", a_descriptor_stays, "descriptors a client"),
    "P4": Plant("If-None-Match is not looked at", never_304, "200 without news"),
    "P5": Plant("a published figure does not follow from its inputs", a_figure_changed, "does not follow"),
    "L4": Plant("escapes where raw UTF-8 is promised", one_escaped, "whatever its text"),
    "L5b": Plant("each poll closes its connection", closing_each, "took"),
    "L6": Plant("the intermediary ends nothing that is idle", never_idle, "every hold above it broken"),
    "L7": Plant("a descriptor more for each held client", a_descriptor_stays, "2.00 descriptors for each"),
    "L12": Plant("twice as many threads as it says", twice_the_threads, "threads held, one more waited"),
    "S1": Plant("a body that EOF ends leaves when it ends", held_until_the_end, "in time"),
    "S1b": Plant("a chunked stream ends its connection", chunks_end_the_connection, "no answer"),
    "S1c": Plant("each response carries one event", ended_after_one, "requests"),
    "S2": Plant("a reset that is a FIN", reset_as_fin, "RST: silent"),
    "S5": Plant("no chunk border is moved", borders_left_alone, "by chunks, fewer"),
    "S6": Plant("no client is waited for", at_once, "^0 of"),
    "S8": Plant("a leading boundary that trails", never_leading, "0 events late|is whole 0"),
    "E1": Plant("the space behind a colon is kept", a_space_kept, "breaks"),
    "E3": Plant("204 does not end it", no_answer_ends_it, "204 at once"),
    "E5": Plant("7 bytes of framing are 12", a_line_more, "12 bytes"),
    "W1": Plant("the accept of another GUID", another_accept, "wrong"),
    "W3": Plant("a ping beside each message", a_ping_beside_each, "a header of 4, not 2"),
    "W4": Plant("one masking key for all frames", one_key, "different keys"),
    "W5": Plant("no pong between fragments", no_pong_between_fragments, "a ping between the fragments"),
    "W6": Plant("any close code is taken", any_code, "close"),
    "W7": Plant("no pings", no_pings, "0 of 8 noticed"),
    "W10": Plant("WebSocket alone 5 ms later", five_ms_late, "times as long"),
    "W11": Plant("the largest frames have two bytes less", two_bytes_less, "12 bytes|a header of 12", "confirmed"),
    "X1": Plant("a policy file without its NUL", no_nul_at_the_end, "a policy file"),
    "X2": Plant("each block 60 ms later", sixty_ms_late, "forever frame: .* later"),
    "A1": Plant("one technique is the best in every column", one_wins_everywhere, "best in every column"),
    "S7": Plant("over HTTP/2 each event 60 ms later", sixty_ms_late_over_http2, "HTTP/2: median"),
    "S9": Plant("five streams of a page over HTTP/2", five_streams, "streams begin over HTTP/2"),
    "L11b": Plant("a tab keeps one event twice", told_twice, "1 twice"),
    "H1": Plant("what is given up is ended", given_up_as_an_end, "give up: silent"),
    "H2": Plant("no field is remembered", nothing_remembered, "sent again by polls 2, 3"),
    "H3": Plant("a connection's window is one stream's", a_window_too_small, "window 2"),
    "H4": Plant("no packet is lost", no_packet_lost, "0 of 10 streams"),
    "H5": Plant("a browser that allows push", push_allowed, "ENABLE_PUSH = 1", "undecided"),
    "H6": Plant("GOAWAY is not heard", deaf_to_goaway, "nothing was said"),
    "H7": Plant("over HTTP/2 nothing is held back", let_through_over_http2, "by default"),
}
"""By claim. What needs the notebook's page (L11, E6, B1, A7) is planted in the tests of their judges and seen there."""
