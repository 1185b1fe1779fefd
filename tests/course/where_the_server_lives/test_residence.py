"""Servers in several homes through a busy cell: what is kept, drawn and judged. In kernels: test_kernel.py."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from typing import Any

import pytest

from conftest import UNIT
from labkit.course import claims
from labkit.course.where_the_server_lives import residence
from labkit.course.where_the_server_lives.homes import Home, Seen, Span
from labkit.course.where_the_server_lives.judges import what_the_proxy_holds_back
from labkit.errors import LabkitError

MS = 1_000_000
START_NS, STOP_NS = 1_000 * MS, 4_000 * MS


def home(name: str, busy_ms: float = 1.0, *, stands_still: bool = False, honest: bool = False, lost: int = 0) -> Home:
    """Events every 25 ms for 5 s; those due in the cell are *busy_ms* late, or wait for its end."""
    made = Home(name, spans=[Span(START_NS, STOP_NS, "cell")])
    for event_id in range(1, 201):
        due_ns = event_id * 25 * MS
        during = START_NS <= due_ns < STOP_NS
        sent_ns = STOP_NS if during and stands_still else due_ns
        made.published[event_id] = (due_ns, due_ns if honest else sent_ns)
        if event_id > lost:
            made.received[event_id] = sent_ns + int((busy_ms if during else 1.0) * MS)
    return made


def seen(*homes: Home) -> Seen:
    return Seen(list(homes), {"technique": "sse", "rate_per_s": 40.0, "started": "2026-01-01"})


STILL = home("kernel-loop", stands_still=True)


def test_what_was_seen_crosses_between_processes_and_is_summed_up() -> None:
    kept = pickle.loads(pickle.dumps(STILL))
    assert kept == STILL
    table = seen(kept, home("thread", lost=3)).summary()
    still = table.loc["on the kernel's own loop"]
    assert still["busy_p50_ms"] == pytest.approx(1513, abs=15)
    assert (still["quiet_p95_ms"], still["busy_p95_from_published_ms"]) == (1.0, 1.0)
    assert table["lost"].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("homes", "verdict", "said"),
    [
        ([STILL, home("thread"), home("process")], "confirmed", "waits for what is left of the cell, 3 s at most"),
        ([STILL, home("thread", 200.0)], "refuted", "on the lab's thread: 95 % within 200 ms"),
        ([STILL, home("thread", lost=1)], "refuted", "1 event lost"),
        ([STILL, dataclasses.replace(home("thread"), twice=1)], "refuted", "1 event twice"),
        ([home("kernel-loop"), home("thread")], "refuted", "waits for what is left of the cell"),
        ([home("kernel-loop", stands_still=True, honest=True), home("thread")], "refuted", "counted from when they"),
        ([home("thread")], "not run", "needs a busy cell"),
        ([STILL], "not run", "one elsewhere"),
    ],
)
def test_the_verdict_on_a8(homes: list[Home], verdict: str, said: str) -> None:
    found = claims.judge("A8", seen(*homes))  # type: ignore[arg-type]
    assert (found.verdict, said in found.whole) == (verdict, True), found.reason


def test_a_slow_tail_alone_leaves_a8_undecided() -> None:
    stalled = home("thread")
    for event_id in range(100, 120):  # a twelfth of a second's worth of one stall
        stalled.received[event_id] += 100 * MS
    assert claims.judge("A8", seen(STILL, stalled)).verdict == "undecided"  # type: ignore[arg-type]


def test_the_chart_shows_both_latencies_the_span_and_theory() -> None:
    figure = seen(STILL, home("thread")).chart()
    assert figure.layout.title.text.replace("\u00a0", " ") == (
        "While the cell is busy, 95 % arrive within 2.9 s on the kernel's own loop, 1 ms elsewhere"
    )
    names = {trace.name for trace in figure.data}
    assert names == {"from due", "from published", "theory: what is left of the cell"}
    spans = [(shape.x0, shape.x1) for shape in figure.layout.shapes]
    assert spans == [(1.0, 4.0)] * 2
    assert seen(Home("thread")).chart().layout.title.text == "Latency along time, while no cell was busy"


def test_every_home_is_watched_and_nothing_is_lost() -> None:
    async def look() -> Seen:
        async with residence.watch(*residence.HOMES, rate_per_s=50) as found:
            with found.busy():
                await asyncio.sleep(0.3 * UNIT)
        return found

    found = asyncio.run(look())
    assert [home.name for home in found.homes] == list(residence.HOMES)
    for one in found.homes:
        assert len(one.published) >= 10, one.name
        assert one.lost == 0
    assert set(found.deliveries["home"]) == set(residence.HOMES)


def test_a_block_that_fails_still_closes_every_server() -> None:
    async def fail() -> None:
        async with residence.watch(*residence.HOMES):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(fail())


def test_an_unknown_home_is_named_with_those_there_are() -> None:
    async def look() -> None:
        async with residence.watch("attic"):
            pass

    with pytest.raises(LabkitError, match=r"'attic' \(there are: kernel-loop, thread, process, apart\)"):
        asyncio.run(look())


class Page:
    """Stands for a page's subscriber that has received these events."""

    def __init__(self, *event_ids: int, attached: bool = True) -> None:
        import pandas as pd

        self.deliveries = pd.DataFrame({"event_id": list(event_ids)})
        self._attached = attached

    def pages(self) -> list[dict[str, Any]]:
        return [{}] if self._attached else []


class Published:
    """Stands for the run that published events 1 to 30."""

    def __init__(self) -> None:
        self.published = {("", n): (0, 0) for n in range(1, 31)}
        self.interrupted = False


@pytest.mark.parametrize(
    ("streamed", "held", "verdict"),
    [
        (Page(*range(1, 31)), Page(), "confirmed"),
        (Page(*range(1, 31)), Page(1), "refuted"),
        (Page(*range(1, 30)), Page(), "refuted"),
        (Page(attached=False), Page(), "not run"),
    ],
)
def test_the_verdict_on_a7(streamed: Page, held: Page, verdict: str) -> None:
    found = what_the_proxy_holds_back(streamed, held, Published())  # type: ignore[arg-type]
    assert found.verdict == verdict
    assert "no page attached" in found.whole or "jupyter-server-proxy" in found.reason


@pytest.mark.parametrize(("front_end", "said"), [(False, "open the notebook"), (True, "through jupyter-server-proxy")])
def test_a7_without_a_page_says_what_is_lacking(front_end: bool, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    if front_end:
        monkeypatch.setenv("JPY_SESSION_NAME", "12.ipynb")
    found = what_the_proxy_holds_back(Page(attached=False), Page(), Published())  # type: ignore[arg-type]
    assert found.verdict == "not run" and said in found.whole
