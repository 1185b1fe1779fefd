"""Whatever bytes a server sends, in whatever pieces: deliveries and gaps, or one error of the kit, in bounded time."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit import loop
from labkit.client.ledger import Ledger
from labkit.errors import LabkitError
from labkit.subscribing.contract.receiver import check_marks
from labkit.techniques import TECHNIQUES, Delivery, Technique, exhibits
from labkit.techniques.exhibits.forever_frame import CALL, END
from labkit.wire.events import Gap
from labkit.wire.handshake import accept_key
from wait import TIMEOUT_S, read_until

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ANSWER = b'{"events":[{"id":1,"data":"x"}],"cursor":"1@abcd"}'
LINES = b'{"cursor":"0@abcd"}\n{"id":1,"data":"x"}\n{"gap":{"after":"1@abcd","next":3},"cursor":"2@abcd"}\n'


def counted(body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


SEEDS = {
    "polling": counted(ANSWER),
    "long-polling": OK + b"Transfer-Encoding: chunked\r\n\r\n32\r\n" + ANSWER + b"\r\n0\r\n\r\n",
    "http-streaming": OK + b"\r\n" + LINES,
    "sse": OK + b"Content-Type: text/event-stream\r\nContent-Encoding: deflate\r\n\r\n"
    + zlib.compress(b"id: 0@abcd\n\nid: 1@abcd\ndata: x\n\n"),
    "websocket": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n"
    b'\x81\x13{"cursor":"0@abcd"}\x89\x00\x01\x08{"id":1,\x80\x0b"data":"x"}\x88\x02\x03\xe8',
    "plugin-socket": LINES.replace(b"\n", b"\0"),
    "bayeux": counted(b'[{"channel":"/meta/handshake","clientId":"c"}]'),
    "bosh": counted(b"<body sid='a' cursor='0@abcd' hold='1'/>"),
    "jsonp-polling": counted(b"/**/labkit0(" + ANSWER + b");"),
    "forever-frame": OK + b"\r\n" + b"".join(CALL + line + END for line in LINES.splitlines()),
}  # fmt: skip
EVERY = [*TECHNIQUES, *exhibits.EXHIBITS]


class Server:
    """Answers each connection with the bytes that are set, in the pieces that are set, and ends it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(TIMEOUT_S)
                try:
                    self._talk(sock)
                except OSError:
                    continue

    def _talk(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = sock.recv(1, socket.MSG_PEEK)
        request = read_until(sock, b"\0" if begin == b"{" else b"\r\n\r\n")
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
        for piece in self.pieces:
            sock.sendall(piece.replace(b"KEY", accept_key(key[1].decode()).encode()) if key else piece)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@st.composite
def answers(draw: st.DrawFn, seed: bytes) -> list[bytes]:
    """A sound answer that was changed in some places, in a few pieces; or nothing like one."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 4))
        data[at : at + length] = draw(
            st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\n\n", b"\0", b"\xff" * 4, seed])
        )
    data[draw(st.integers(0, len(data))) if draw(st.booleans()) else len(data) :] = b""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def brought(
    technique: Technique, port: int, ledger: Ledger, *, within_s: float = 0.03, most: int = 10_000
) -> list[Delivery | Gap] | LabkitError:
    """What a client brings from one exchange or a few: *most* items, or those of *within_s* seconds."""

    async def receive() -> list[Delivery | Gap] | LabkitError:
        options = technique.taken_of({"interval_s": 0.0, "retry_s": 600.0, "hold_s": 0.0})
        items: list[Delivery | Gap] = []
        url = technique.url("127.0.0.1", {technique.port: port})
        arrived = aclosing(technique.connect(url, ledger=ledger, **options))
        try:
            async with asyncio.timeout(within_s), arrived as arriving:
                async for item in arriving:
                    items.append(item)
                    if len(items) == most:
                        break
        except TimeoutError:
            pass  # it waits before it asks again, as it should
        except LabkitError as error:
            return error
        return items

    return loop.run(asyncio.wait_for(receive(), 2 * TIMEOUT_S))


@pytest.mark.parametrize("technique", EVERY, ids=lambda t: t.name)
def test_whatever_a_server_sends_is_delivered_or_said(server: Server, technique: Technique) -> None:
    server.pieces = [SEEDS[technique.name]]
    has_events = technique not in (exhibits.BAYEUX, exhibits.BOSH)
    sound = brought(technique, server.port, Ledger(), **({"within_s": TIMEOUT_S, "most": 1} if has_events else {}))
    assert not isinstance(sound, LabkitError) and bool(sound) == has_events

    @settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
    @given(pieces=answers(SEEDS[technique.name]))
    def any_of_them(pieces: list[bytes]) -> None:
        server.pieces, ledger = pieces, Ledger()
        end = brought(technique, server.port, ledger)
        for record in ledger.connections:
            check_marks(record)
        if isinstance(end, LabkitError):
            assert str(end).isprintable()
        else:
            assert all(isinstance(item, Delivery | Gap) for item in end)

    any_of_them()
