"""Hops of a few lines, each with one cause planted in it, in front of a server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from planted_sockets import PING, message, opened
from planted_streams import CUT, STEP_S, Answer, Step, chunk, event, head

from labkit.wire.fragments import MessageAssembler
from labkit.wire.frames import Frame, FrameDecoder
from wait import read_until, serving

BEAT = b":\n\n"


def upstream(url: str) -> socket.socket:
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    return socket.create_connection((place.hostname, place.port), 10)


@contextlib.contextmanager
def keeping_small_writes(url: str, least_bytes: int = 20) -> Iterator[str]:
    """Row 11: a write of fewer bytes waits for one that has as many, so that heartbeats come with the next event."""
    leaving = threading.Event()

    def script(near: socket.socket) -> None:
        with upstream(url) as far:
            far.sendall(read_until(near, b"\r\n\r\n"))
            near.sendall(read_until(far, b"\r\n\r\n"))
            far.settimeout(0.05)
            held = b""
            while not leaving.is_set():
                data = b""
                with contextlib.suppress(TimeoutError):
                    if not (data := far.recv(65536)):
                        break
                held += data
                if len(data) >= least_bytes:
                    near.sendall(held)
                    held = b""

    with serving(script) as hop:
        try:
            yield hop
        finally:
            leaving.set()


def with_heartbeats(period: int = 6) -> Answer:
    """An event, and then so many heartbeats less one, again and again."""

    def answer(_: str) -> Iterator[Step]:
        yield head()
        for number in range(1, 2000):
            yield STEP_S
            yield chunk(BEAT if number % period else event(number))

    return answer


def dying(how: str = CUT, count: int = 8, *fields: str) -> Answer:
    """An application that dies behind so many events; asked in HTTP/1.0 it ends its body with the connection."""

    def answer(asked: str) -> Iterator[Step]:
        is_1_1 = "HTTP/1.1" in asked.partition("\r\n")[0]
        named = "\r\n".join(["HTTP/1.0 200 OK", "Content-Type: text/event-stream", *fields, "", ""]).encode()
        yield head("200 OK", "text/event-stream", *fields) if is_1_1 else named
        for number in range(1, count + 1):
            yield STEP_S
            yield chunk(event(number)) if is_1_1 else event(number)
        yield STEP_S
        yield how

    return answer


def ending_it_cleanly(count: int = 8, last: bytes = b"") -> Answer:
    """Row 27, as nginx makes it of an upstream in HTTP/1.0 that has died."""

    def answer(_: str) -> Iterator[Step]:
        yield head()
        for number in range(1, count + 1):
            yield STEP_S
            yield chunk(event(number))
        yield STEP_S
        yield chunk(last) + b"0\r\n\r\n"

    return answer


def pinging_gateway(url: str) -> Answer:
    """A gateway that ends WebSockets: it pings its own clients, and passes messages on."""

    def answer(asked: str) -> Iterator[Step]:
        yield opened(asked)
        with upstream(url) as far:
            far.sendall(b"GET / HTTP/1.1\r\nHost: far\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Version: 13\r\n"
                        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")  # fmt: skip
            read_until(far, b"\r\n\r\n")
            far.settimeout(0.15)
            frames, messages = FrameDecoder(masked=False), MessageAssembler()
            while True:
                try:
                    if not (data := far.recv(65536)):
                        break
                except TimeoutError:
                    yield PING
                    continue
                except OSError:
                    break
                for frame in frames.feed(data):
                    said = messages.feed(frame)
                    if said is not None and not isinstance(said, Frame):
                        yield message(str(said.data))
        yield CUT

    return answer
