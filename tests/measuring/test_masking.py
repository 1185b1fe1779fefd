"""Files of a run, without what lets somebody in: nothing of it stands in them, and all else as it was."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import labkit
from feeding import assert_cost_is_linear
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.measuring.listening import listen
from labkit.measuring.masking import placeholder, without_secrets
from labkit.measuring.run import Run
from labkit.wire.spans import Mark

SECRET = b"c2VjcmV0LW9mLW1pbmU"
BODY = b"Cookie: is no field here\r\n"


def carried(record: ConnectionRecord, direction: str) -> bytes:
    return b"".join(t.data for t in record.transfers if t.direction == direction)


def run_of(record: ConnectionRecord) -> Run:
    ledger = Ledger()
    ledger.connections = [record]
    return Run([], {}, ledger, {"headers": ["X-Key"]})


def masked(
    sent: bytes, *, cut: int = 10_000, head: int | None = None, direction: str = "out", let_go: int = 0
) -> bytes:
    """What is left of *sent*, written *cut* bytes at a time; the first *head* bytes of it are one, if that is told."""
    record = Ledger().opened("sse", 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=0)
    for at in range(0, len(sent), cut):
        record.transferred(direction, sent[at : at + cut], at)  # type: ignore[arg-type]
    if head is not None:
        record.marks.append(Mark(direction, 0, head, "headers", "GET /"))  # type: ignore[arg-type]
    for _ in range(let_go):
        record.transfers.popleft()
    (found,) = without_secrets(run_of(record)).connections
    left, before = carried(found, direction), carried(record, direction)
    assert len(left) == len(before) and [t.start for t in found.transfers] == [t.start for t in record.transfers]
    return left


@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("field", "left"),
    [
        (b"Authorization: Bearer %b", b"Authorization: Bearer %b"),
        (b"authorization:%b", b"authorization:%b"),
        (b"PROXY-AUTHORIZATION : Basic %b", b"PROXY-AUTHORIZATION : Basic %b"),
        (b"Cookie: \t%b; b=1", b"Cookie: \t%b"),
        (b"Set-Cookie: id=%b; Path=/", b"Set-Cookie: %b"),
        (b"x-key: %b", b"x-key: %b"),
    ],
)
def test_what_lets_somebody_in_is_written_over_in_heads_alone(field: bytes, left: bytes, cut: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\nAccept: Cookie\r\n\r\n" % (field % SECRET)
    found = masked(head + BODY, cut=cut, head=len(head))
    assert SECRET not in found and found.endswith(b"\r\nAccept: Cookie\r\n\r\n" + BODY)
    begin = left.partition(b"%b")[0]
    assert b"\r\n" + begin + b"(left out)*" in found


def test_a_folded_value_goes_as_a_whole() -> None:
    head = b"GET / HTTP/1.1\r\nCookie: a=1;\r\n  %b\r\nHost: a\r\n\r\n" % SECRET
    found = masked(head, head=len(head))
    assert SECRET not in found and found.endswith(b"*\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize("value", [b"\r\n %b", b" \r\n\t\r\n %b", b" a\r%b", b" a\r\n b\r%b"])
def test_a_value_goes_to_the_end_of_its_last_line(value: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nCookie:%b\r\nHost: a\r\n\r\n" % (value % SECRET)
    found = masked(head, head=len(head))
    assert SECRET not in found and found.endswith(b"*\r\nHost: a\r\n\r\n")
    bare = head.replace(b"\r\n", b"\n")
    assert SECRET not in (found := masked(bare, head=len(bare))) and found.endswith(b"*\nHost: a\n\n")


def test_a_name_that_never_ends_costs_what_its_length_does() -> None:
    def prepared(size: int) -> Callable[[], object]:
        record = Ledger().opened("", 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=0, hop="link.near")
        record.transferred("in", b"?" + b"token" * size, 0)
        return partial(without_secrets, run_of(record))

    assert_cost_is_linear(prepared, 500)


def test_many_requests_with_a_secret_cost_what_their_number_does() -> None:
    def prepared(size: int) -> Callable[[], object]:
        record = Ledger().opened("polling", 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=0)
        asked = b"GET / HTTP/1.1\r\nCookie: %b\r\n\r\n" % SECRET
        for at in range(size):
            record.transferred("out", asked, at)
            record.marks.append(Mark("out", at * len(asked), (at + 1) * len(asked), "headers", "GET /"))
        return partial(without_secrets, run_of(record))

    assert_cost_is_linear(prepared, 300)


def test_a_short_one_is_gone_too() -> None:
    assert masked(b"GET / HTTP/1.1\r\nCookie: a=1\r\n\r\n", head=33).endswith(b"Cookie: ***\r\n\r\n")


def test_where_nothing_is_told_of_its_bytes_all_are_read_as_heads() -> None:
    assert SECRET not in masked(b"GET / HTTP/1.1\r\nCookie: %b\r\n\r\n" % SECRET)


def test_of_a_head_whose_beginning_was_let_go_the_rest_of_a_line_goes() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nServer: a\r\n\r\n" % SECRET
    found = masked(head, cut=33, head=len(head), direction="in", let_go=1)
    assert SECRET[5:] not in found and found.endswith(b"\r\nServer: a\r\n\r\n".removeprefix(b"\r"))


def test_the_token_of_a_plugin_socket_goes() -> None:
    first = b'{"subscribe": {"topic": "", "token": "%b", "after": null}}\0'
    assert masked(first % SECRET) == first % placeholder(len(SECRET))


def test_no_file_has_it_unless_it_is_asked_for(tmp_path: Path) -> None:
    with labkit.Lab("secrets") as lab:
        url = lab.url_of("sse").replace("//", "//somebody:geheim@")
        run = listen(url, "sse", seconds=0.3, progress=False, headers={"x-key": "of-the-house"})
    login = base64.b64encode(b"somebody:geheim")
    assert b"X-Key: of-the-house\r\n" in carried(run.ledger.connections[0], "out")
    for name, write in (("a.har", run.to_har), ("a.pcapng", run.to_pcapng)):
        written = write(tmp_path / name).read_bytes()
        assert login not in written and b"of-the-house" not in written
        assert login in write(tmp_path / name, with_secrets=True).read_bytes()
    entry = json.loads(run.to_har(tmp_path / "a.har").read_text())["log"]["entries"][0]
    assert {"name": "Authorization", "value": "Basic (left out)**********"} in entry["request"]["headers"]
    loaded, whole = (labkit.load(run.save(tmp_path / f"{w}", with_secrets=w)) for w in (False, True))
    (mine,), (left,), (kept,) = (r.ledger.connections for r in (run, loaded, whole))
    assert login not in carried(left, "out") and login in carried(kept, "out") and login in carried(mine, "out")
    assert (left.bytes_out, left.by_category) == (mine.bytes_out, mine.by_category)


@pytest.mark.parametrize("relayed", [False, True])
def test_over_http2_it_is_gone_and_the_field_blocks_still_decode(tmp_path: Path, relayed: bool) -> None:
    hpack = pytest.importorskip("hpack")
    with labkit.Lab("secrets", http=(1, 2)) as lab:
        url = lab.url_of("sse").replace("//", "//somebody:geheim@")
        run = listen(url, "sse", seconds=0.3, progress=False, http=2, headers={"x-key": "of-the-house"})
    (record,) = run.ledger.connections
    if relayed:  # as a relay has it, which leaves the kit's own clients to their own ledgers
        run.ledger.connections.append(replace(record, hop="link.near", marks=deque()))
    coded = [record_bytes(record, name) for name in ("authorization", "x-key")]
    for one in without_secrets(run).connections:
        left = carried(one, "out")
        assert len(left) == len(carried(record, "out"))
        assert not any(value[-10:] in left for value in coded)
    block = b"".join(
        carried(without_secrets(run).connections[0], "out")[mark.start : mark.stop]
        for mark in record.marks
        if (mark.category, mark.direction) == ("headers", "out") and not mark.label.startswith("HTTP")
    )
    fields = dict(hpack.Decoder().decode(block))
    assert set(fields["authorization"]) == set(fields["x-key"]) == {"*"} and fields["accept"] == "text/event-stream"
    har = json.loads(run.to_har(tmp_path / "a.har").read_text())["log"]["entries"][0]
    assert {h["name"]: set(h["value"]) for h in har["request"]["headers"]}["authorization"] == {"*"}


def record_bytes(record: ConnectionRecord, name: str) -> bytes:
    (mark,) = (m for m in record.marks if (m.category, m.label) == ("headers", name))
    return carried(record, "out")[mark.start : mark.stop]
