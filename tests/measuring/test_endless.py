"""An endless run by itself: what it holds is bounded, and what is set while it goes on is heeded."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable

import pytest

import labkit
from conftest import UNIT
from labkit.measuring.endless import LiveRun
from labkit.measuring.settings import Settings

KEEP_EVENTS = 200
PAGE = KEEP_EVENTS // 2


def until(holds: Callable[[], object], timeout_s: float = 10 * UNIT) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    """Server, link, subscribers and window; what the charts hold is counted in ``test_panel.py``."""
    settings = Settings(("sse", "websocket"), source="none", one_way_s=0)
    with labkit.Lab(history_events=PAGE) as lab:
        live = LiveRun(lab, settings, keep_events=KEEP_EVENTS, keep_bytes=2048)
        live.start()

        def pages(count: int) -> int:
            for number in range(count * PAGE):
                live.publish(f"{number:020}")
                if number % 50 == 49:
                    until(lambda: live.caught_up)
                    live.sample()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            early = pages(10)
            late = pages(20)
        finally:
            tracemalloc.stop()
            run = live.stop()
    # a tuple of three numbers is 160
    grown_per_event = (late - early) / (20 * PAGE)
    assert grown_per_event < 60, f"{grown_per_event:.0f} bytes for each event"
    assert run.settings["first_event_id"] is not None and len(run.published) <= KEEP_EVENTS
    assert (run.summary()["lost"] == 0).all()


def test_what_comes_when_its_page_is_gone_is_counted_and_not_kept() -> None:
    """A subscriber that is two pages behind, as behind a link that was stalled."""
    settings = Settings(("sse",), source="none", one_way_s=0)
    with labkit.Lab() as lab:
        live = LiveRun(lab, settings, keep_events=20)
        live.start()
        live.stall()
        for number in range(100):
            live.publish(f"{number:020}")
        live.heal()
        until(lambda: live.caught_up)
        held = len(live._subscriptions["sse"].items)
        run = live.stop()
    assert live.arrived["sse"] == 100 and held == len(run.published) <= 20
    assert run.summary().loc["sse", ["lost", "payload_per_event"]].tolist() == [0, 20]


def test_a_source_that_fails_says_why_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.measuring.source.sampler", lambda: lambda: 1 / 0)
    with labkit.Lab() as lab:
        live = LiveRun(lab, Settings(("sse",), source="machine", rate_per_s=1000, one_way_s=0))
        live.start()
        until(live.publisher.ended.done)
        lab.publish("somebody else's")
        until(lambda: live.arrived["sse"] == 1)
        run = live.stop()
    assert run.failures == {"publisher": "ZeroDivisionError: division by zero"} and not run.interrupted
    assert run.deliveries["scheduled"].tolist() == [False]


def test_its_link_leaves_the_kits_own_clients_to_their_ledgers() -> None:
    """As the relays of ``measure`` do: nothing is dissected twice."""
    with labkit.Lab() as lab:
        live = LiveRun(lab, Settings(("sse",), source="none", one_way_s=0))
        live.start()
        try:
            live.publish("x")
            until(lambda: live.caught_up)
        finally:
            run = live.stop()
    (near,) = run.ledger.of(hop="link.near")
    assert near.bytes_in and not near.marks and not near.by_route
    assert not live.link.skips_own, "only during a run"
