"""WebSocket servers of a few lines, each with one cause planted in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planted_streams import CUT, Answer, Silence, Step

from labkit.wire.frames import Frame, Opcode, encode_frame
from labkit.wire.handshake import accept_key

PING = encode_frame(Frame(Opcode.PING, b"x"))


def opened(asked: str) -> bytes:
    key = re.search(r"Sec-WebSocket-Key: (\S+)", asked, re.I)
    assert key is not None
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept_key(key[1])}", "", ""]).encode()


def message(text: str) -> bytes:
    return encode_frame(Frame(Opcode.TEXT, text.encode()))


def closing(code: int, reason: str = "") -> bytes:
    return encode_frame(Frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode()))


def healthy_socket(asked: str) -> Iterator[Step]:
    if "\r\nupgrade: websocket\r\n" not in asked.lower():
        yield from not_upgraded(asked)
        return
    yield opened(asked)
    for number in range(1000):
        yield message(f"message {number}") + (PING if not number % 5 else b"")
        yield 0.1


def recycled_socket(asked: str) -> Iterator[Step]:
    yield opened(asked)
    yield message("one") + closing(1001, "deployed")


def data_alone_counts(counts: Iterator[int]) -> Answer:
    """Row 12: cut a second after the last message, though pings flow."""

    def answer(asked: str) -> Iterator[Step]:
        yield opened(asked)
        for number in range(next(counts)):
            yield 0.2
            yield message(f"message {number}")
        for number in range(4):
            yield Silence(0.2) if not number else 0.2
            yield PING
        yield 0.2
        yield CUT

    return answer


def cut_when_idle_socket(counts: Iterator[int]) -> Answer:
    def answer(asked: str) -> Iterator[Step]:
        yield opened(asked)
        for number in range(next(counts)):
            yield 0.2
            yield message(f"message {number}")
        yield Silence(1.0)
        yield CUT

    return answer


def too_large(asked: str) -> Iterator[Step]:
    yield opened(asked)
    yield message("x" * 70_000) + closing(1009, "message too big")


def masked(asked: str) -> Iterator[Step]:
    yield opened(asked)
    yield message("one") + encode_frame(Frame(Opcode.TEXT, b"two", mask=b"abcd"))
    yield 5.0


def not_upgraded(_: str) -> Iterator[Step]:
    said = b"Upgrade Required"
    yield b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


def silent_socket(counts: Iterator[int]) -> Answer:
    """So many messages, and nothing behind them."""

    def answer(asked: str) -> Iterator[Step]:
        yield opened(asked)
        for number in range(next(counts)):
            yield 0.2
            yield message(f"message {number}")
        yield 60.0

    return answer


def pinging_socket(counts: Iterator[int], each_s: float) -> Answer:
    """So many messages, and pings behind them."""

    def answer(asked: str) -> Iterator[Step]:
        yield opened(asked)
        for number in range(next(counts)):
            yield 0.2
            yield message(f"message {number}")
        for _ in range(400):
            yield each_s
            yield PING

    return answer
