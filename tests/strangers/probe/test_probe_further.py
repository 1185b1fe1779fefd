"""What is asked beyond one answer: a return, many at once, a used connection, HTTP/2."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_streams import STEP_S, Step, chunk, endless, event, head, planted, resuming
from planted_wire import in_two_writes, over_http2
from steady import probed, rows

from labkit.lab.lab import Lab
from labkit.strangers.probe.probing import probe
from tls import Authority
from wait import serving


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


@pytest.mark.timing
def test_steps_of_40_ms_on_a_used_connection_are_named() -> None:
    with serving(in_two_writes) as url:
        for _ in range(8):  # the 40 ms are the kernel's, and no pace makes them longer
            report = probe(url, seconds=2, say=None)
            if rows(report):
                break
    assert rows(report) in ([(23, "seen")], [(23, "consistent with")]), str(report)


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
