"""What is asked beyond one answer: a return, many at once, a used connection, HTTP/2."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_streams import LAST, STEP_S, Step, chunk, endless, event, head, planted
from steady import probed, rows

from labkit.lab.lab import Lab
from labkit.strangers.probe.probing import probe
from tls import Authority
from wait import read_until, serving


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


def with_names(asked: str) -> Iterator[Step]:
    """Ids in another alphabet, which come back in UTF-8."""
    last = re.search(r"Last-Event-ID: 사건(\d+)", asked.encode("latin-1").decode())
    begin = int(last[1]) if last else 0
    yield head()
    for number in range(begin + 1, begin + 40):
        yield chunk(f"id: 사건{number}\ndata: {number}\n\n".encode())
        yield STEP_S / 2


RETURNS = {
    "row 13, begins anew": (endless, (13, "seen")),
    "row 13, goes on at what is new": (resuming(4), (13, "seen")),
    "row 14, one is missing": (resuming(0, 2), (14, "seen")),
    "row 14, the last one again": (resuming(-1), (14, "seen")),
    "as it should be": (resuming(0), None),
    "the same, with ids in another alphabet": (with_names, None),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", RETURNS)
def test_a_return_is_asked_for_and_compared(name: str) -> None:
    answer, found = RETURNS[name]
    with planted(answer) as url:
        report = probed(url, [found] if found else [], 1, cut=True)
    assert rows(report) == ([found] if found else []), str(report)


@pytest.mark.timing
def test_a_lab_goes_on_where_it_was() -> None:
    over = threading.Event()
    with Lab("resumed") as lab:

        def publish() -> None:
            while not over.wait(0.05):
                lab.publish("one")

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            report = probed(f"{lab.url.rstrip('/')}/sse", [], 1, cut=True)
        finally:
            over.set()
            thread.join()
    assert report.status == 0, str(report)


@pytest.mark.timing
@pytest.mark.parametrize("workers", [3, 50], ids=["three workers", "as many as asked"])
def test_many_at_once_are_all_served_or_it_is_said_how_many(workers: int) -> None:
    free = threading.Semaphore(workers)

    def answer(_: str) -> Iterator[Step]:
        while not free.acquire(blocking=False):
            yield 0.05
        try:
            for number in range(40):
                yield chunk(event(number)) if number else head()
                yield 0.05
        finally:
            free.release()

    with planted(answer) as url:
        wanted = [(25, "seen")] if workers == 3 else []
        report = probed(url, wanted, 1.2, parallel=6)
    assert rows(report) == wanted, str(report)


def in_two_writes(sock: socket.socket) -> None:
    """Row 23: a server that keeps connections and writes head and body apart, so that the body waits."""
    while asked := read_until(sock, b"\r\n\r\n"):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")
        if not asked.startswith(b"HEAD"):
            sock.sendall(b'{"n":')
            sock.sendall(b" 12345}")


@pytest.mark.timing
def test_steps_of_40_ms_on_a_used_connection_are_named() -> None:
    with serving(in_two_writes) as url:
        for _ in range(8):  # the 40 ms are the kernel's, and no pace makes them longer
            report = probe(url, seconds=2, say=None)
            if rows(report):
                break
    assert rows(report) in ([(23, "seen")], [(23, "consistent with")]), str(report)


def field(name: bytes, value: bytes) -> bytes:
    """A literal without indexing (RFC 7541 section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@contextlib.contextmanager
def over_http2(context: ssl.SSLContext, *fields: tuple[bytes, bytes]) -> Iterator[str]:
    """Row 19: answers HTTP/2 with these fields, HTTP/1.1 as it should."""

    def script(sock: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock, server_side=True) as secure:
            if secure.selected_alpn_protocol() != "h2":
                read_until(secure, b"\r\n\r\n")
                secure.sendall(head() + chunk(event(1)) + LAST)
                return
            secure.sendall(frame(4, 0, 0))
            seen = b""
            while b"\x01" not in [seen[at + 3 : at + 4] for at in _frames(seen)]:
                if not (more := secure.recv(4096)):
                    return
                seen += more
            block = b"".join(field(*each) for each in ((b":status", b"200"), *fields))
            secure.sendall(frame(1, 4, 1, block) + frame(0, 1, 1, event(1)))
            while secure.recv(4096):
                pass

    with serving(script) as url:
        yield url.replace("http://", "https://")


def _frames(seen: bytes) -> Iterator[int]:
    at = 24  # the preface
    while at + 9 <= len(seen):
        yield at
        at += 9 + int.from_bytes(seen[at : at + 3], "big")


@pytest.mark.timing
def test_a_field_of_the_connection_in_http_2_is_named(tmp_path: Path) -> None:
    pytest.importorskip("h2")
    authority, kind = Authority(tmp_path), (b"content-type", b"text/event-stream")
    with over_http2(authority.context(alpn=("h2", "http/1.1")), kind, (b"connection", b"keep-alive")) as url:
        report = probed(url, [(19, "seen")], 1, cafile=authority.cafile)
    assert rows(report) == [(19, "seen")], str(report)
    with over_http2(authority.context(alpn=("h2", "http/1.1")), kind) as url:
        report = probed(url, [], 1, cafile=authority.cafile)
    assert report.status == 0 and report.seen.first.http_version == "2", str(report)
