"""What a relay's own capture says of a client that keeps no ledger: curl, ``websockets``, and bare sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
from json_seq import JSON_SEQ
from websockets.asyncio.client import connect

from labkit.client.connection import own_addresses
from labkit.client.ledger import ConnectionRecord
from labkit.lab.lab import Lab
from labkit.loop import run
from labkit.network.link import Link
from labkit.subscribing.contract.receiver import Receiver, bytes_of, check_marks
from labkit.subscribing.contract.relay import CountingRelay
from labkit.techniques import TECHNIQUES, find
from wait import TIMEOUT_S, until

DATA = ["plain", "", "한국어 𝄞", "a\nb", "a\rb", "x" * 70_000, "last"]


def near(link: Link) -> ConnectionRecord:
    link.catch_up()
    (record,) = link.ledger.of(hop=f"{link.name}.near", technique="")
    return record


def ids(record: ConnectionRecord) -> list[str]:
    """Of the events that came in, in order, without the epoch; of those without an id, their place."""
    events = {id(m.event): m.event for m in record.marks if m.direction == "in" and m.event is not None}
    return [(event.wire_id or f"#{event.number}").partition("@")[0] for event in events.values()]


def as_seen(record: ConnectionRecord, relay: CountingRelay) -> None:
    """The capture is equal to what an independent relay saw, to the byte, and each byte is marked once."""
    check_marks(record)
    (port,) = relay.up
    assert bytes_of(record, "out") == relay.up[port] and bytes_of(record, "in") == relay.down[port]


@pytest.mark.parametrize("http", [(), ("--http2-prior-knowledge",)], ids=["http1", "http2"])
@pytest.mark.parametrize("name", ["sse", "http-streaming", "polling"])
def test_curl_through_a_link_has_requests_bytes_and_events(name: str, http: tuple[str, ...]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    with (
        Lab("seen", http=(1, 2)) as lab,
        CountingRelay(lab.port) as relay,
        Link(("127.0.0.1", relay.port), one_way_s=0) as link,
    ):
        for data in DATA:
            lab.publish(data, "a")
        url = f"http://127.0.0.1:{link.ports['http']}/{name}?topic=a&after=0"
        with subprocess.Popen(["curl", "-sSN", "-m", str(TIMEOUT_S), *http, url], stdout=subprocess.PIPE) as curl:
            assert curl.stdout is not None
            assert any(b"last" in line for line in curl.stdout)
            if name != "polling":
                curl.terminate()
        until(lambda: near(link).closed_ns)
        record = near(link)
        until(lambda: relay.ended(next(iter(relay.up))))
        as_seen(record, relay)
    assert ids(record) == [str(n) for n in range(1, len(DATA) + 1)]
    assert (record.requests, record.responses) == (1, 1)
    assert record.by_category["payload"] == sum(len(data.encode()) for data in DATA)
    (route,) = record.by_route
    assert route == f"/{name} a" and record.by_route[route]["requests"] == 1


@pytest.mark.parametrize("how", ["", "binary=1", "deflate=1"])
def test_the_websockets_library_through_a_link_has_them_too(how: str) -> None:
    async def listen(url: str) -> list[str | bytes]:
        async with connect(url, proxy=None, compression="deflate" if "deflate" in how else None) as socket:
            return [await socket.recv() for _ in range(len(DATA) + 1)]

    with Lab("seen") as lab, CountingRelay(lab.port) as relay, Link(("127.0.0.1", relay.port), one_way_s=0) as link:
        for data in DATA:
            lab.publish(data)
        asyncio.run(listen(f"ws://127.0.0.1:{link.ports['http']}/websocket?after=0&{how}"))
        until(lambda: near(link).closed_ns)
        record = near(link)
        until(lambda: relay.ended(next(iter(relay.up))))
        as_seen(record, relay)
    assert ids(record) == [str(n) for n in range(1, len(DATA) + 1)]
    payload = sum(len(data.encode()) for data in DATA)
    assert record.by_category["payload"] == payload if "deflate" not in how else record.by_category["payload"] > 0


def test_what_is_let_go_was_told_before() -> None:
    """A capture that keeps nothing counts all the same, from the first byte."""
    with Lab("seen") as lab, Link(lab, one_way_s=0) as link:
        link.ledger.keep_bytes = 0
        for data in DATA:
            lab.publish(data)
        with socket.create_connection(link.address) as sock:
            sock.sendall(b"GET /polling?after=0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while sock.recv(1 << 16):
                pass
        until(lambda: near(link).closed_ns)
    record = near(link)
    assert not record.marks and record.by_category["payload"] == sum(len(data.encode()) for data in DATA)
    assert sum(record.by_category.values()) == record.bytes_total


def test_a_learners_own_reading_is_used_on_its_route() -> None:
    with Lab("seen", techniques=(*TECHNIQUES, JSON_SEQ)) as lab, Link(lab, one_way_s=0) as link:
        for data in DATA:
            lab.publish(data)
        with Receiver(JSON_SEQ, f"http://127.0.0.1:{link.ports['http']}/json-seq", after="0", stop_after=7) as receiver:
            receiver.wait_end()
        until(lambda: near(link).closed_ns)
        theirs, ours = near(link), receiver.ledger.connections[0]
    check_marks(theirs)
    assert ids(theirs) == ids(ours)
    assert [(*m[:4], m.label) for m in theirs.marks if m.event] == [(*m[:4], m.label) for m in ours.marks if m.event]


def test_a_reading_that_raises_costs_its_marks_and_nothing_else() -> None:
    class Bad:
        def items(self, data: bytes) -> list[object]:
            raise ZeroDivisionError

    bad = replace(JSON_SEQ, body=Bad)
    with Lab("seen", techniques=(bad,)) as lab, Link(lab, one_way_s=0) as link:
        lab.publish("x")
        with socket.create_connection(link.address) as sock:
            sock.sendall(b"GET /json-seq?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while b'"x"' not in got:
                got += (piece := sock.recv(1 << 16))
                assert piece, got
        until(lambda: near(link).closed_ns)
        check_marks(near(link))
    assert Counter(m.category for m in near(link).marks)["payload"] == 0


def test_a_client_with_a_ledger_of_its_own_can_be_left_alone() -> None:
    with Lab("seen") as lab, Link(lab, one_way_s=0) as link:
        link.skips_own = True
        lab.publish("x")
        url = f"http://127.0.0.1:{link.ports['http']}/sse"
        with Receiver(find("sse"), url, after="0", stop_after=1) as receiver:
            receiver.wait_end()
        until(lambda: near(link).closed_ns)
        assert near(link).bytes_total and not near(link).marks and not near(link).requests
        assert receiver.ledger.connections[0].local not in own_addresses


def test_of_two_relays_in_a_row_the_first_tells() -> None:
    with Lab("seen") as lab, Link(lab, one_way_s=0, name="far") as far, Link(far, one_way_s=0) as link:
        far.skips_own = link.skips_own = True
        lab.publish("x")
        with socket.create_connection(link.address) as sock:
            sock.sendall(b"GET /polling?after=0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while sock.recv(1 << 16):
                pass
        until(lambda: near(link).closed_ns and near(far).closed_ns)
    assert near(link).requests == 1 and not near(far).requests and near(far).bytes_total == near(link).bytes_total
    assert not own_addresses & {record.local for record in (*link.ledger.connections, *far.ledger.connections)}


def test_the_marks_come_after_the_bytes() -> None:
    """At the moment a client holds an event, its relay has not begun to say what its bytes were."""
    with Lab("seen") as lab, Link(lab, one_way_s=0) as link:
        lab.publish("x")

        async def ask() -> tuple[bytes, int]:
            reader, writer = await asyncio.open_connection(*link.address)
            writer.write(b"GET /sse?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = await reader.readuntil(b"data: x")
            record = next(link.ledger.of(hop="link.near", technique=""))
            marked = len(record.marks)
            writer.close()
            return got, marked

        got, marked = run(ask())
        assert b"data: x" in got and marked == 0
