"""One WebSocket, measured: opened, listened to, pings answered; nothing else is sent."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from labkit.client.http import target, words
from labkit.client.http_connection import HTTPConnection
from labkit.client.speaking import speaking
from labkit.errors import ConnectionLost, Refused, TLSFailed, WireError
from labkit.strangers.probe.asking import STEPS, Question, headers_shown
from labkit.strangers.probe.body_reader import SHOWN, key_of
from labkit.strangers.probe.observation import End, Event, Observation, Piece, Violation
from labkit.strangers.probe.watch import Watch
from labkit.strangers.secrets import hidden, shown
from labkit.wire import handshake
from labkit.wire.events import now_ns
from labkit.wire.fragments import MessageAssembler
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame
from labkit.wire.http1 import printable

CLOSE_S = 0.5


class _Socket:
    """What one WebSocket has said so far."""

    def __init__(self, sent_ns: int) -> None:
        self.sent_ns = sent_ns
        self.decoder = FrameDecoder(masked=False, max_payload_bytes=1 << 26)
        self.assembler = MessageAssembler(max_message_bytes=1 << 26)
        self.pieces: list[Piece] = []
        self.events: list[Event] = []
        self.heartbeats: list[float] = []
        self.violations: list[Violation] = []
        self.close: Frame | None = None
        self.at = 0
        self.answers = b""

    def feed(self, t_ns: int, data: bytes) -> None:
        t_s = (t_ns - self.sent_ns) / 1e9
        self.pieces.append(Piece(t_s, self.at, len(data)))
        self.at += len(data)
        try:
            for frame in self.decoder.feed(data):
                self._take(t_s, frame)
        except WireError as error:
            for frame in self.decoder.before_error:
                self._take(t_s, frame)
            shown = data[:SHOWN].hex(" ")
            self.violations.append(Violation(error.clause, str(error).rpartition(" (")[0], self.at - len(data), shown))
            raise

    def _take(self, t_s: float, frame: Frame) -> None:
        said = self.assembler.feed(frame)
        if isinstance(said, Frame):
            if said.opcode == Opcode.PING:
                self.heartbeats.append(t_s)
                self.answers += encode_frame(Frame(Opcode.PONG, said.payload, mask=os.urandom(4)))
            elif said.opcode == Opcode.CLOSE:
                self.close = said
                self.answers += encode_frame(Frame(Opcode.CLOSE, said.payload[:2], mask=os.urandom(4)))
        elif said is not None:
            data = said.data.encode() if isinstance(said.data, str) else said.data
            shown = data[:SHOWN].decode("utf-8", "replace")
            self.events.append(Event(t_s, t_s, self.at, len(data), key_of(None, data), None, "", shown))


async def ask_socket(question: Question, watch: Watch) -> Observation:
    """Open, listen for as long as the question says, and tell what came. Raises nothing of the network."""
    wiring = replace(question.wiring, versions=(1,))
    seen = Observation(
        question.name,
        shown(str(question.address)),
        question.changed,
        "GET",
        question.shown,
        proxy=str(question.proxy or ""),
        kind="messages",
    )
    socket, http, complaint, status_words = _Socket(now_ns()), None, "", ""
    end: End = "open"
    response: Any = None
    head_s: float | None = None
    try:
        async with watch.within(STEPS * question.seconds):
            http = await speaking(question.address, wiring)
            assert isinstance(http, HTTPConnection)
            http.connection.read_silence_s = None
        async with watch.within(question.seconds), watch.showing(lambda: question.told(len(socket.events))):
            fields = {**handshake.asked(question.address.authority, os.urandom(16), deflate=False), **question.fields}
            await http.request("GET", target(question.address), fields)
            socket.sent_ns = now_ns()
            response = await http.response()
            head_s = (http.received_ns - socket.sent_ns) / 1e9
            if response.status != 101:
                end, status_words = "clean", await words(http)
            else:
                exchange = http.exchange
                assert exchange.request is not None and exchange.response is not None
                handshake.agreed(exchange.request, exchange.response)
                end = await _listen(http, socket, question)
    except TimeoutError:
        end, complaint = question.without_end(watch, has_head=response is not None, is_there=http is not None)
    except (TLSFailed, Refused) as error:
        end, complaint = "refused", str(error)
    except WireError as error:
        end, complaint = "open" if socket.violations else "broken", str(error)
    except ConnectionLost as error:
        if http is None:
            end, complaint = "refused", str(error)
        else:
            end, complaint = "reset" if http.record.closed_by == "reset" else "cut", str(error)
    finally:
        if http is not None:
            http.close()
    record = http.record if http is not None else None
    ended_ns = record.closed_ns if record is not None and record.closed_ns else now_ns()
    code, reason = _closing(socket.close)
    complaint = printable(hidden(complaint, question.hides), 400)
    if response is not None:
        seen = replace(
            seen, status=response.status, http_version=response.http_version, headers=headers_shown(question, response)
        )
    heard = record.heard_ns if record is not None else 0
    return replace(
        seen, started_s=(socket.sent_ns - watch.began_ns) / 1e9, head_s=head_s, pieces=tuple(socket.pieces),
        events=tuple(socket.events), heartbeats=tuple(socket.heartbeats), violations=tuple(socket.violations),
        last_s=(heard - socket.sent_ns) / 1e9 if heard > socket.sent_ns else head_s, end=end,
        end_s=(ended_ns - socket.sent_ns) / 1e9, complaint=complaint,
        words=printable(hidden(status_words, question.hides)), close_code=code,
        close_reason=hidden(reason, question.hides), issuer=http.connection.issuer if http is not None else "",
    )  # fmt: skip


async def _listen(http: HTTPConnection, socket: _Socket, question: Question) -> Any:
    _, data = http.taken_over()
    connection = http.connection
    while True:
        if data:
            socket.feed(connection.received_ns, data)
            if socket.answers:
                answers, socket.answers = socket.answers, b""
                await connection.write(answers)
            if socket.close is not None:
                return "clean"
            if len(socket.events) >= question.enough:
                return "open"
        data = await connection.read()
        if not data:
            return "cut"


def _closing(frame: Frame | None) -> tuple[int | None, str]:
    if frame is None:
        return None, ""
    if len(frame.payload) < 2:
        return 1005, ""
    return int.from_bytes(frame.payload[:2], "big"), printable(frame.payload[2:].decode("utf-8", "replace"))
