"""The WebSocket client against servers of scripts: what is sent, pings, and closes wherever they come."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, WireError
from labkit.subscribing.contract.receiver import check_marks
from labkit.wire.close_codes import encode_close
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame
from labkit.wire.handshake import accept_key
from wait import TIMEOUT_S, read_all, read_until, serving

Script = Callable[[socket.socket], None]
CLOSE = encode_frame(Frame(Opcode.CLOSE, encode_close(1000)))


def talking(*frames: bytes, then: Script = lambda sock: None, fields: str = "") -> Script:
    """Shake hands, send what is to be sent, and go on as told."""

    def script(sock: socket.socket) -> None:
        request = read_until(sock, b"\r\n\r\n").decode()
        key = re.search(r"Sec-WebSocket-Key: (\S+)", request)
        assert key is not None
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        sock.sendall(f"{head}Sec-WebSocket-Accept: {accept_key(key[1])}\r\n{fields}\r\n".encode() + b"".join(frames))
        then(sock)

    return script


def talk(script: Script, work: Callable[[WebSocketConnection], Awaitable[Any]], **options: Any) -> Any:
    """What *work* makes of the open connection."""
    ledger = Ledger()

    async def bounded(url: str) -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            opened = await WebSocketConnection.open(url, Wiring(ledger, "websocket"), **options)
            try:
                return await work(opened)
            finally:
                await opened.close()

    with serving(script) as url:
        try:
            return loop.run(bounded(url))
        finally:
            check_marks(ledger.connections[0])


async def everything(opened: WebSocketConnection) -> tuple[list[Any], int]:
    return [message async for message in opened], opened.close_code


def test_7_1_5_a_close_between_fragments_is_a_close() -> None:
    """Autobahn 7.1.5: what follows the close is not read."""
    heard = bytearray()
    frames = [
        encode_frame(Frame(Opcode.TEXT, b"whole")),
        encode_frame(Frame(Opcode.TEXT, b"begun", fin=False)),
        CLOSE,
        encode_frame(Frame(Opcode.CONTINUATION, b"ended")),
        b"\xff\xff",
    ]
    messages, code = talk(talking(*frames, then=lambda sock: heard.extend(sock.recv(100))), everything)
    assert (messages, code) == (["whole"], 1000)
    assert [(f.opcode, f.payload) for f in FrameDecoder(masked=True).feed(bytes(heard))] == [
        (Opcode.CLOSE, encode_close(1000))
    ]


def test_what_came_before_a_broken_rule_is_handed_over_and_the_rule_is_raised() -> None:
    messages: list[Any] = []

    async def work(opened: WebSocketConnection) -> None:
        async for message in opened:
            messages.append(message)

    with pytest.raises(WireError, match="shortest form"):
        talk(talking(encode_frame(Frame(Opcode.TEXT, b"good")) + b"\x82\x7e\x00\x01x"), work)
    assert messages == ["good"]


@pytest.mark.parametrize("apart", [False, True])
def test_7_1_7_a_close_that_breaks_the_rules_is_the_last_that_is_heard(apart: bool) -> None:
    async def work(opened: WebSocketConnection) -> int:
        with pytest.raises(WireError, match="close"):
            await everything(opened)
        return opened.close_code

    wrong = encode_frame(Frame(Opcode.CLOSE, b"\x03\xe7"))
    script = talking(wrong, then=lambda sock: sock.sendall(CLOSE)) if apart else talking(wrong + CLOSE)
    assert talk(script, work) == 1006


def test_a_server_that_goes_on_after_our_close_is_left() -> None:
    def on_and_on(sock: socket.socket) -> None:
        while True:
            sock.sendall(1000 * encode_frame(Frame(Opcode.TEXT, b"x" * 100)))

    with pytest.raises(WireError, match=r"RFC 6455 section 5\.2"):
        talk(talking(b"\x83\x00", then=on_and_on), everything)


@pytest.mark.parametrize("end", [CLOSE, b""], ids=["closed", "cut"])
def test_send_and_ping_raise_what_they_promise_once_it_is_over(end: bytes) -> None:
    async def work(opened: WebSocketConnection) -> None:
        waiting = await opened.ping(b"1")
        await everything(opened)
        for attempt in (opened.send("x"), opened.send(b"x"), opened.ping()):
            with pytest.raises(ConnectionLost):
                await attempt
        with pytest.raises(ConnectionLost):
            await waiting

    def script(sock: socket.socket) -> None:
        FrameDecoder(masked=True).feed(sock.recv(100))
        sock.sendall(end)

    talk(talking(then=script), work)


def test_what_cannot_be_sent_is_said_and_nothing_is() -> None:
    async def work(opened: WebSocketConnection) -> int:
        before = opened.record.bytes_out
        for attempt in (opened.send("\ud800"), opened.ping(b"x" * 126)):
            with pytest.raises(WireError):
                await attempt
        return opened.record.bytes_out - before

    assert talk(talking(then=read_all), work) == 0


def test_messages_deflated_with_a_window_of_8_bits_are_inflated() -> None:
    fields = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"
    stored = b"\x00\x05\x00\xfa\xffhello\x00"  # RFC 7692 section 7.2.3.3
    frames = [encode_frame(Frame(Opcode.TEXT, stored, rsv1=True)), CLOSE]
    assert talk(talking(*frames, fields=fields), everything, deflate=True) == (["hello"], 1000)


def test_an_accept_key_that_is_wrong_is_said_with_its_clause() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        head = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n"
        sock.sendall(head + encode_frame(Frame(Opcode.TEXT, b"x")))
        read_all(sock)

    with pytest.raises(WireError, match=r"nonsense.*RFC 6455 section 4\.1"):
        talk(script, everything)


def test_nothing_is_sent_behind_a_message_that_was_given_up_in_the_middle() -> None:
    given_up = threading.Event()
    seen: list[bytes] = []

    def then(sock: socket.socket) -> None:
        given_up.wait(TIMEOUT_S)
        seen.append(read_all(sock))

    async def work(opened: WebSocketConnection) -> None:
        sending = asyncio.create_task(opened.send(bytes(12 << 20)))
        await asyncio.wait([sending], timeout=0.3 * UNIT)
        sending.cancel()
        await asyncio.wait([sending])
        given_up.set()
        with pytest.raises(ConnectionLost):
            await opened.send("of another")

    talk(talking(then=then), work)
    assert len(seen[0]) < 12 << 20
