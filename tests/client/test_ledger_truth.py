"""What the ledger says of each connection is, to the byte, what an independent relay between client and server saw."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import UNIT
from labkit.lab.lab import Lab
from labkit.subscribing.contract.receiver import Receiver, bytes_of, check_marks
from labkit.subscribing.contract.relay import CountingRelay
from labkit.techniques import TECHNIQUES, find
from wait import until

DATA: list[str | bytes] = ["plain", "", "한국어 𝄞", "a\nb", "a\rb", "nul \0", b"\0\xff", b"", "x" * 70_000, "last"]
EVENTS = 40

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((technique.name, {}) for technique in TECHNIQUES),
    ("polling", {"etag": True}),
    ("polling", {"keep_alive": False}),
    ("polling", {"http_version": "1.0"}),
    ("long-polling", {"pipelined": True}),
    ("long-polling", {"keep_alive": False}),
    ("long-polling", {"http_version": "1.0"}),
    ("http-streaming", {"http_version": "1.0"}),
    ("http-streaming", {"framing": "eof"}),
    ("http-streaming", {"format": "multipart"}),
    ("http-streaming", {"format": "multipart", "boundary": "leading"}),
    ("sse", {"http_version": "1.0"}),
    ("websocket", {"binary": True}),
    ("websocket", {"deflate": True}),
    *((technique.name, {"http": 2}) for technique in TECHNIQUES if technique.http_version),
    ("polling", {"keep_alive": False, "http": 2}),
    ("http-streaming", {"format": "multipart", "http": 2}),
    ("websocket", {"binary": True, "http": 2}),
    ("websocket", {"deflate": True, "http": 2}),
]


@pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(v) or "plain"
)
def test_the_ledger_has_exactly_what_went_over_the_wire(name: str, options: dict[str, Any]) -> None:
    technique = find(name)
    expected = [DATA[n % len(DATA)] for n in range(EVENTS)]
    lag = 1 if options.get("boundary") == "leading" else 0  # the last part has not been seen to end
    with Lab("truth", http=(1, 2)) as lab, CountingRelay(lab.ports[technique.port]) as relay:
        url = technique.url("127.0.0.1", {technique.port: relay.port})
        options = {**technique.taken_of({"interval_s": 0.01 * UNIT}), **options}
        with Receiver(technique, url, after=lab.cursor(), stop_after=EVENTS - lag, **options) as receiver:
            for data in expected[: EVENTS // 2]:
                lab.publish(data)
            receiver.wait_for(EVENTS // 2 - lag)
            for data in expected[EVENTS // 2 :]:
                lab.publish(data)
            receiver.wait_end()
            assert receiver.ids == list(range(1, EVENTS + 1 - lag)) and receiver.error is None
        records = receiver.ledger.connections
        until(lambda: all(relay.ended(record.local[1]) for record in records))
        until(lambda: lab.stats()["connections"] == 0)
        assert len(relay.up) == len(records)
        for record in records:
            check_marks(record)
            assert bytes_of(record, "out") == relay.up[record.local[1]]
            assert bytes_of(record, "in") == relay.down[record.local[1]]
            assert (record.bytes_out, record.bytes_in) == tuple(
                len(seen[record.local[1]]) for seen in (relay.up, relay.down)
            )
        if "deflate" not in options:
            sizes = [len(data if isinstance(data, bytes) else data.encode()) for data in expected]
            payload = sum(record.by_category["payload"] for record in records)
            assert payload == sum(sizes[: EVENTS - lag])


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
def test_the_bytes_marked_as_an_events_payload_are_its_data(technique: Any) -> None:
    with (
        Lab("truth") as lab,
        Receiver(
            technique,
            lab.url_of(technique.name),
            after=lab.cursor(),
            stop_after=20,
            **technique.taken_of({"interval_s": 0.01 * UNIT}),
        ) as receiver,
    ):
        for n in range(20):
            lab.publish(f"data of event {n + 1}, 한")
        receiver.wait_end()
    found = {}
    for record in receiver.ledger.connections:
        stream = bytes_of(record, "in")
        for mark in record.marks:
            if mark.category == "payload":
                found[mark.event.id] = stream[mark.start : mark.stop].decode()
    assert found == {n: f"data of event {n}, 한" for n in range(1, 21)}
