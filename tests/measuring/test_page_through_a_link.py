"""A run tells of a page what the relay saw that it comes through; the page is played by a thread with a bare socket."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest

import labkit
from labkit.client.ledger import Ledger
from labkit.lab.attached import Part
from labkit.measuring.endless import LiveRun
from labkit.measuring.explain.trace import story_of
from labkit.measuring.run import Run
from labkit.measuring.schedules import periodic
from labkit.measuring.settings import Settings
from labkit.network.link import Link
from labkit.techniques import find
from labkit.theory import Nature, Silent
from labkit.wire.events import now_ns
from wait import until

SIZE = 40
SCHEDULE = periodic(rate_per_s=50, duration_s=0.4, payload_bytes=SIZE)


class Page:
    """Subscribed over SSE by a socket of its own, from before the run."""

    settle_s = 5.0

    def __init__(self, link: Link, number: int = 0, topic: str = "") -> None:
        self.relay, self.number, self.topic = link, number, topic
        self.arrived: list[tuple[int, int]] = []
        self.sock = socket.create_connection(link.address)
        self.sock.sendall(f"GET /sse?topic={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        rest = b""
        while data := self.sock.recv(1 << 16):
            rest += data
            for found in list(re.finditer(rb"id: (\d+)@\w+\ndata: [^\n]*\n\n", rest)):
                self.arrived.append((int(found[1]), now_ns()))
            rest = rest[rest.rfind(b"\n\n") + 2 :] if b"\n\n" in rest else rest

    @property
    def natures(self) -> Mapping[str, Nature]:
        return {"sse": find("sse").nature(Silent("a page"))}

    def wait(self, timeout_s: float, *, progress: bool) -> bool:
        return True

    def keep(self) -> None:
        pass

    def settled(self, newest: Mapping[str, int]) -> bool:
        return bool(self.arrived) and self.arrived[-1][0] >= newest.get(self.topic, 0)

    def part(self, published: Any, since_ns: int) -> Part:
        return Part([self._row(published, *one) for one in self.arrived if one[1] >= since_ns], [], [], [])

    def _row(self, published: Any, event_id: int, received_ns: int) -> dict[str, Any]:
        due_ns, published_ns = published[self.topic, event_id]
        return {
            "technique": "sse", "client": "browser", "http_version": "1.1", "topic": self.topic,
            "subscriber": self.number, "event_id": event_id, "wire_id": str(event_id), "due_ns": due_ns,
            "published_ns": published_ns, "received_ns": received_ns, "latency_ms": (received_ns - due_ns) / 1e6,
            "transit_ms": (received_ns - published_ns) / 1e6, "clock_error_ms": 0.0, "bytes": None,
            "payload_bytes": SIZE, "scheduled": True, "conflated": 0,
        }  # fmt: skip

    def lab_closes(self) -> None:
        pass


@contextmanager
def pages(lab: labkit.Lab, link: Link, count: int = 1) -> Iterator[list[Page]]:
    found = [Page(link, number) for number in range(count)]
    lab.attached.extend(found)
    try:
        until(lambda: lab.stats()["subscribers"] == count)
        yield found
    finally:
        for page in found:
            lab.attached.remove(page)
            page.sock.shutdown(socket.SHUT_RDWR)
            page.thread.join()
            page.sock.close()


@pytest.mark.parametrize("on_path", [False, True])
def test_the_summary_has_a_pages_requests_connections_and_bytes(on_path: bool) -> None:
    with labkit.Lab("page") as lab, Link(lab, one_way_s=0.001) as link, pages(lab, link):
        run = labkit.measure(lab, ["sse"], SCHEDULE, through=link if on_path else None, progress=False)
        again = labkit.measure(lab, ["sse"], SCHEDULE, through=link if on_path else None, progress=False)
    for one in (run, again):
        page, kernel = one.summary().loc["sse (browser)"], one.summary().loc["sse"]
        assert page["events"] == kernel["events"] == len(one.published) == 20
        assert page["connections"] == 1 and page["payload_per_event"] == SIZE
        assert page["framing_per_event"] == pytest.approx(kernel["framing_per_event"], abs=3)
        assert page["envelope_per_event"] == pytest.approx(kernel["envelope_per_event"], abs=3)
        assert page["requests"] == 0, "it had asked before the run"
        assert kernel["requests"] == 1
    assert not link.skips_own, "only during a run"
    kept = [r for r in run.ledger.connections if r.hop == "link.near" and not r.by_route]
    assert all(not record.marks for record in kept), "a client of ours has its own ledger"


def test_each_event_of_a_page_is_found_in_the_relays_bytes(tmp_path: Any) -> None:
    with labkit.Lab("page") as lab, Link(lab, one_way_s=0.001) as link, pages(lab, link):
        run = labkit.measure(lab, ["websocket"], SCHEDULE, progress=False)
    for one in (run, labkit.load(run.save(tmp_path / "run.parquet"))):
        rows = one.deliveries.query("client == 'browser'").to_dict("records")
        assert len(rows) == 20
        for row in rows:
            story = story_of(one, row)
            came = [passage for passage in story.passages if passage.direction == "in"]
            assert not story.notes and len(came) == 2, story
            assert all([step.hop for step in passage.steps] == ["link.far", "link.near"] for passage in came), story
        pd.testing.assert_frame_equal(one.summary(), run.summary())


def test_two_subscribers_of_one_topic_are_one_row_marked_shared() -> None:
    with labkit.Lab("page") as lab, Link(lab, one_way_s=0.001) as link, pages(lab, link, 2):
        run = labkit.measure(lab, ["websocket"], SCHEDULE, progress=False)
    whole = run.summary().loc["sse (browser)"]
    assert (whole["events"], whole["connections"], whole["payload_per_event"]) == (40, 2, SIZE)
    by = run.summary(by="subscriber")
    assert by.index.tolist() == [("websocket", 0), ("sse (browser)", "0, 1 (shared)")]
    pd.testing.assert_series_equal(by.loc["sse (browser)", "0, 1 (shared)"], whole, check_names=False)


def test_subscribers_of_a_page_without_a_relay_share_no_row() -> None:
    rows = [row for number in (0, 1) for row in arrived("a", number)]
    by = Run(rows, {("a", 1): (0, 0)}, Ledger(), {}).summary(by="subscriber")
    assert by.index.tolist() == [("sse (browser)", 0), ("sse (browser)", 1)]
    assert by["events"].tolist() == [1, 1] and by["bytes_per_event"].isna().all()


def test_topics_on_one_connection_of_a_page_are_counted_once_and_told_apart() -> None:
    """A browser asks again on a connection that it has kept, whatever it asked there before."""
    ledger = Ledger()
    record = ledger.opened("", 0, local=("", 1), remote=("", 2), t_ns=0, hop="link.near")
    record.by_route = {
        f"/sse {topic}": {"requests": 1, "payload": size, "headers": 100} for topic, size in (("a", 10), ("b", 30))
    }
    rows = [*arrived("a", 0), *arrived("b", 1)]
    run = Run(rows, {("a", 1): (0, 0), ("b", 1): (0, 0)}, ledger, {})
    whole, by = run.summary().loc["sse (browser)"], run.summary(by="subscriber").loc["sse (browser)"]
    assert (whole["requests"], whole["connections"], whole["payload_per_event"]) == (2, 1, 20)
    assert by["requests"].tolist() == [1, 1] and by["payload_per_event"].tolist() == [10, 30]


def arrived(topic: str, number: int) -> list[dict[str, Any]]:
    """One event at one subscriber of a page, as a run has it."""
    page = Page.__new__(Page)
    page.topic, page.number = topic, number
    return [page._row({(topic, 1): (0, 0)}, 1, 1_000_000)]


def test_of_a_page_that_was_there_before_an_endless_run_its_bytes_are_in_it_and_stay_as_they_were() -> None:
    with labkit.Lab("page") as lab, Link(lab, one_way_s=0.001) as link, pages(lab, link) as (page,):

        def run_of_one(number: int) -> Run:
            live = LiveRun(lab, Settings(("sse",), source="none", one_way_s=0.001), link=link)
            live.start()
            try:
                until(lambda: now_ns() > live.started_ns)
                live.publish("x" * SIZE)
                until(lambda: live.caught_up and len(page.arrived) == number)
            finally:
                run = live.stop()
            return run

        for run in [run_of_one(1), run_of_one(2)]:
            row = run.summary().loc["sse (browser)"]
            assert (row["events"], row["connections"], row["requests"]) == (1, 1, 0)
            assert row["payload_per_event"] == SIZE
