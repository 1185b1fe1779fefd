"""Rules over recorded observations: what would take minutes on a wire."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import LabkitError
from labkit.strangers.probe import rules
from labkit.strangers.probe.body_reader import BodyReader, kind_of
from labkit.strangers.probe.expecting import Expected
from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Event, Observation, Piece, Seen
from labkit.strangers.probe.rules import RULES, all_notes, findings
from labkit.strangers.probe.watch import Watch

DOCS = Path(__file__).parents[3] / "docs"


def stream(times: list[float], **said: object) -> Observation:
    """An event of 20 bytes at each of these times, in a read of its own."""
    values: dict[str, object] = {
        "http_version": "1.1",
        "status": 200,
        "headers": {"content-type": "text/event-stream", "server": "nginx"},
        "head_s": 0.01,
        "kind": "event-stream",
        "pieces": tuple(Piece(t, 20 * n, 20) for n, t in enumerate(times)),
        "events": tuple(Event(t, t, 20 * n + 20, 20, f"id {n}", str(n)) for n, t in enumerate(times)),
        "last_s": times[-1],
        "end_s": times[-1] + 1,
        **said,
    }
    return Observation("first", "http://x/", **values)  # type: ignore[arg-type]


def cut(times: list[float], after_s: float) -> Observation:
    return stream(times, end="cut", end_s=times[-1] + after_s)


def rows_of(first: Observation, **others: Observation) -> list[tuple[int, str]]:
    return [(found.row, found.grade) for found in findings(Seen(first, others))]


def one(first: Observation, **others: Observation) -> Finding:
    (found,) = findings(Seen(first, others))
    return found


def test_sixty_seconds_after_the_last_byte_is_a_limit_that_is_known() -> None:
    found = one(cut([1, 5], 60.0), again=cut([1, 12, 30], 60.02))
    assert (found.row, found.grade) == (8, "seen")
    assert any("nginx, apache, varnish" in line for line in found.evidence)
    assert "heartbeat each 24 s" in found.remedy[0] and "proxy_read_timeout" in found.remedy[1]


def test_fifteen_seconds_after_the_start_is_a_lifetime() -> None:
    found = one(cut([1, 4, 9, 14], 1.0), again=cut([2, 6, 11, 12.5], 2.5))
    assert (found.row, found.grade) == (9, "seen") and any("envoy" in line for line in found.evidence)


def test_a_longer_silence_that_was_survived_is_no_idle_limit() -> None:
    found = one(cut([1, 40, 50], 20.0))
    assert found.row == 9 and not any("idle" in cause for cause in found.left)


@pytest.mark.parametrize(("beats", "row"), [([60.0, 120.0], 12), ([15.0, 30.0], 8)], ids=["at the limit", "well below"])
def test_heartbeats_are_held_against_the_usual_limits(beats: list[float], row: int) -> None:
    seen = Seen(stream([1.0, 2.0], heartbeats=tuple(beats), end_s=125.0))
    assert row in [note.row for note in all_notes(seen)] and not findings(seen)


def test_a_hop_that_adds_nothing_is_not_blamed() -> None:
    times = [0.25 * n for n in range(1, 9)]
    late = [t + 0.05 for t in times]
    assert rows_of(stream(late), also=replace(stream(times), name="also")) == []


def test_a_stream_in_batches_behind_a_hop_is_matched_by_id() -> None:
    times = [0.25 * n for n in range(1, 9)]
    found = one(stream([1.0] * 4 + [2.0] * 4), also=replace(stream(times), name="also", address="http://behind/"))
    assert (found.row, found.grade) == (1, "seen") and "0 to 750 ms later" in found.evidence[0]


@pytest.mark.parametrize("later_s", [-0.5, 0.5])
def test_two_answers_that_are_both_held_show_no_difference_of_accept(later_s: float) -> None:
    """However late the second one came: as on a busy machine."""
    held = stream([1.0] * 8, end="clean", end_s=1.0, head_s=1.0)
    second = stream([1.0 + later_s] * 8, end="clean", end_s=1.0 + later_s, head_s=1.0 + later_s)
    assert rows_of(held, accept=second) == [(1, "consistent with")]


def test_batches_from_one_address_are_a_note() -> None:
    seen = Seen(stream([1.0] * 4 + [2.0] * 4 + [3.0] * 4))
    assert not findings(seen) and any("--also" in note.says for note in all_notes(seen))


def test_a_missing_header_is_no_finding() -> None:
    assert "x-accel-buffering" not in stream([1.0, 2.0]).headers and rows_of(stream([1.0, 2.0])) == []


def test_every_rule_says_nothing_of_nothing() -> None:
    assert [rule(Seen(Observation("first", "http://x/"))) for rule in RULES] == [None] * len(RULES)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_body_is_read_the_same_in_any_pieces(size: int, end: bytes) -> None:
    body = end.join([b"\xef\xbb\xbf: hi", b"", b"id: 1", "data: 한국".encode(), b"", b"foo", b"data: b", b"", b""])
    reader = BodyReader("event-stream")
    for at in range(0, len(body), size):
        reader.feed(at / 1000, body[at : at + size])
    assert [event.said for event in reader.events] == ["한국", "b"]
    assert [each.offending for each in reader.violations] == ["'foo'"] and len(reader.heartbeats) == 1


@pytest.mark.parametrize("text", ["first-event", "pace=2s", "gap=-1s", "gap=2h"])
def test_what_cannot_be_expected_is_refused(text: str) -> None:
    with pytest.raises(LabkitError, match="expect"):
        Expected.of(text)


def test_each_row_that_a_rule_names_is_in_the_document() -> None:
    folder = Path(rules.__file__).parent
    named = {int(row) for file in folder.glob("*.py") for row in re.findall(r"[Rr]ows? (\d+)", file.read_text())}
    table = re.findall(r"^\| (\d+) \| .* \|$", (DOCS / "symptoms.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert named <= {*map(int, table)} and {*map(int, table)} == {*range(1, 29)}


@pytest.mark.parametrize("name", ["x-ndjson", "ndjson", "jsonl", "x-jsonlines", "jsonlines", "json-seq"])
def test_lines_are_known_by_all_that_servers_call_them(name: str) -> None:
    assert kind_of(f"application/{name}; charset=utf-8") == "lines"


def test_a_watch_that_is_ended_leaves_alone_what_is_over_already() -> None:
    async def ended() -> bool:
        watch, cleaned = Watch(), asyncio.Event()

        async def over() -> None:
            with contextlib.suppress(TimeoutError):
                async with watch.within(0.001):
                    try:
                        await asyncio.sleep(60)
                    finally:
                        await cleaned.wait()

        async def under_way() -> None:
            with contextlib.suppress(TimeoutError):
                async with watch.within(60):
                    await asyncio.sleep(60)

        tasks = [asyncio.create_task(over()), asyncio.create_task(under_way())]
        await asyncio.sleep(0.05)
        watch.end()
        cleaned.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        return watch.is_over

    assert asyncio.run(ended())
