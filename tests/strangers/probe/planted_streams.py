"""Servers of a few lines, each with one cause planted in it, and some with none.

An answer is written down as a generator: bytes are sent, a number of seconds passes at the pace of ``steady.py``,
:data:`CUT` and :data:`RESET` end the connection as they say. What it is asked is its argument.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator

from steady import Pace

from wait import read_until, reset, serving

CUT, RESET = "cut", "reset"
Step = bytes | float | str


class Silence(float):
    """Seconds from now, whenever that is; a plain number counts from when the one before was over."""


Answer = Callable[[str], Iterator[Step]]
STREAM = "text/event-stream"
STEP_S = 0.12
"""Between two events of a planted stream."""


def head(status: str = "200 OK", kind: str = STREAM, *fields: str) -> bytes:
    named = [f"HTTP/1.1 {status}", *([f"Content-Type: {kind}"] if kind else []), "Transfer-Encoding: chunked", *fields]
    return "\r\n".join([*named, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""


LAST = b"0\r\n\r\n"


def event(number: int, size: int = 0) -> bytes:
    return f"id: {number}\ndata: event {number}{'.' * size}\n\n".encode()


def events(count: int = 8) -> list[bytes]:
    return [event(number) for number in range(1, count + 1)]


@contextlib.contextmanager
def planted(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that answers each request on a connection so, until it says otherwise, over TLS with a *context*.

    Yields its URL.
    """
    leaving = threading.Event()

    def script(sock: socket.socket) -> None:
        asked, due_s = read_until(sock, b"\r\n\r\n").decode("latin-1"), time.monotonic()
        for step in answer(asked) if asked else ():
            if leaving.is_set():
                return
            if isinstance(step, bytes):
                sock.sendall(step)
            elif isinstance(step, (int, float)):
                due_s = (time.monotonic() if isinstance(step, Silence) else due_s) + step * Pace.factor
                leaving.wait(max(0.0, due_s - time.monotonic()))
            elif step == RESET:
                reset(sock)
                return
            else:
                return
        sock.shutdown(socket.SHUT_WR)

    def secured(sock: socket.socket) -> None:
        assert context is not None
        with contextlib.suppress(ssl.SSLError, OSError), context.wrap_socket(sock, server_side=True) as shaken:
            script(shaken)

    with serving(secured if context is not None else script) as url:
        try:
            yield url.replace("http://", "https://") if context is not None else url
        finally:
            leaving.set()


def flowing(count: int = 8, *fields: str, kind: str = STREAM, pause_s: float = STEP_S) -> Iterator[Step]:
    """A stream as it should be."""
    yield head("200 OK", kind, *fields)
    for one in events(count):
        yield pause_s
        yield chunk(one)


def healthy(_: str) -> Iterator[Step]:
    yield from flowing()
    yield LAST


def endless(_: str) -> Iterator[Step]:
    yield from flowing(1000)


def held_whole(_: str) -> Iterator[Step]:
    """Rows 1: head, all events in one chunk, and the end, at once and late."""
    yield 1.0
    yield head() + chunk(b"".join(events())) + LAST


def replayed(_: str) -> Iterator[Step]:
    """Row 24: generated first, then written event by event."""
    yield 1.0
    yield head()
    for one in events():
        yield chunk(one)
    yield LAST


def never(_: str) -> Iterator[Step]:
    yield 60.0


def compressed(flush_after: bool, flush_before: bool, fields: tuple[str, ...] = ()) -> Answer:
    """An application behind a compressor."""

    def answer(asked: str) -> Iterator[Step]:
        if "gzip" not in asked:
            yield from flowing(1000)
            return
        deflate = zlib.compressobj(wbits=31)
        yield head("200 OK", STREAM, "Content-Encoding: gzip", *fields)
        yield chunk(deflate.compress(b"") + b"" or b"\x1f\x8b\x08\0\0\0\0\0\0\x03")
        began = True
        for one in events(1000):
            yield STEP_S
            out = deflate.flush(zlib.Z_SYNC_FLUSH) if flush_before else b""
            out += deflate.compress(one)
            out += deflate.flush(zlib.Z_SYNC_FLUSH) if flush_after else b""
            yield chunk(out)
            began = False
        assert not began

    return answer


def going_on(after: int, skipped: tuple[int, ...] = ()) -> Iterator[Step]:
    yield head()
    for number in range(after + 1, after + 40):
        if number not in skipped:
            yield chunk(event(number))
            yield STEP_S / 2


def resuming(shift: int, skipped: int = 0):  # type: ignore[no-untyped-def]
    """A server that goes on so many events behind Last-Event-ID, and may leave one out."""

    def answer(asked: str) -> Iterator[Step]:
        last = re.search(r"Last-Event-ID: (\d+)", asked)
        begin = int(last[1]) if last else 0
        return going_on(begin + shift if last else 0, (begin + skipped,) if last and skipped else ())

    return answer


def late_blank_line(_: str) -> Iterator[Step]:
    """Row 4 without a compressor."""
    yield head()
    for number in range(1, 1000):
        yield STEP_S
        yield chunk((b"\n" if number > 1 else b"") + event(number)[:-1])


def cut_when_idle(counts: Iterator[int]) -> Answer:
    """Row 8: a limit of one second, each time after another number of events."""

    def answer(_: str) -> Iterator[Step]:
        yield from flowing(next(counts))
        yield Silence(1.0)
        yield CUT

    return answer


def cut_by_age(pauses: Iterator[float]) -> Answer:
    """Row 9: a lifetime of 1.3 s, whatever flows."""

    def answer(_: str) -> Iterator[Step]:
        began, pause_s = time.monotonic(), next(pauses)
        yield head()
        for one in events(1000):
            left = 1.3 - (time.monotonic() - began) / Pace.factor
            if left < pause_s:
                yield Silence(max(left, 0.0))
                yield CUT
            yield pause_s
            yield chunk(one)

    return answer


def cut_at_random(lasts: Iterator[float]) -> Answer:
    """An application that dies now and then: no limit."""

    def answer(_: str) -> Iterator[Step]:
        yield from flowing(1 + int(next(lasts) / STEP_S))
        yield CUT

    return answer


def copied(_: str) -> Iterator[Step]:
    """Row 28: a buffer of 4 096 bytes, flushed for the head only."""
    yield head()
    held = b""
    for number in range(1, 1000):
        yield 0.05
        held += event(number, 900)
        if len(held) >= 4096:
            yield chunk(held[:4096])
            held = held[4096:]


def recorded(_: str) -> Iterator[Step]:
    """Row 26."""
    yield head("200 OK", STREAM, "Age: 41", "X-Cache: HIT") + chunk(b"".join(events())) + LAST


def refusing(status: str, body: bytes = b"no", kind: str = "text/plain") -> Answer:
    def answer(_: str) -> Iterator[Step]:
        yield head(status, kind) + chunk(body) + LAST

    return answer


def no_content(_: str) -> Iterator[Step]:
    yield b"HTTP/1.1 204 No Content\r\n\r\n"


def saying(*blocks: bytes, kind: str = STREAM, ends: bool = False) -> Answer:
    """A stream of these bytes, in pieces."""

    def answer(_: str) -> Iterator[Step]:
        yield head("200 OK", kind)
        for block in blocks:
            yield STEP_S
            yield chunk(block)
        yield LAST if ends else 60.0

    return answer


def ndjson(asked: str, *, held_for_any: bool) -> Iterator[Step]:
    lines = [b'{"n": %d}\n' % number for number in range(8)]
    if held_for_any and "Accept: */*" in asked:
        yield len(lines) * STEP_S
        yield head("200 OK", "application/x-ndjson") + chunk(b"".join(lines)) + LAST
        return
    yield head("200 OK", "application/x-ndjson")
    for line in lines:
        yield STEP_S
        yield chunk(line)
    yield LAST


def tool_run(_: str) -> Iterator[Step]:
    """A stream that a POST began, silent while a tool runs, and cut by a hop meanwhile."""
    yield from flowing(5)
    yield Silence(1.5)
    yield CUT


def alternating(*values: float) -> Iterator[float]:
    return itertools.cycle(values)


def one_late_with_its_head(asked: str) -> Iterator[Step]:
    """Row 4 as node's ``compression`` has it, flushed before each event: the head waits as well."""
    if "gzip" not in asked:
        yield STEP_S
        yield from flowing(1000)
        return
    yield STEP_S
    deflate = zlib.compressobj(wbits=31)
    yield head("200 OK", STREAM, "Content-Encoding: gzip")
    held = b""
    for one in events(1000):
        yield STEP_S
        yield chunk(held)
        held = deflate.compress(one) + deflate.flush(zlib.Z_SYNC_FLUSH)
