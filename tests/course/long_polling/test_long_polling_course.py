"""The experiments of 02_long_polling once over real sockets, and its checks against wrong worlds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit.client.ledger import Ledger
from labkit.course import claims, long_polling
from labkit.course.long_polling import exchanges
from labkit.course.long_polling.bounded import Threads
from labkit.course.long_polling.event_rates import RATES as SWEPT
from labkit.course.long_polling.event_rates import Rates
from labkit.course.long_polling.exchanges import Pipelined, Sizes
from labkit.course.long_polling.hold_times import Holds
from labkit.course.long_polling.idle_limit import Valley
from labkit.course.long_polling.memory import Held
from labkit.course.long_polling.no_cursor import Unaware
from labkit.course.long_polling.tabs import Tabs, many_tabs, tabs_lab, watch_tabs
from labkit.measuring.run import Run
from simulations import poisson_times, simulate_long_polling

pytestmark = pytest.mark.timeout(90 * UNIT)
START_NS = 10**12
QUIET = [0.2, 0.3, 0.4, 1.5] * 25

D, H = 0.05, 30.0


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("long-polling-course") as lab:
        yield lab


def verdict(id: str, seen: Any) -> str:
    return claims.judge(id, seen).verdict


def asked(kept: tuple[int, int, int], fresh: int = 20) -> exchanges.Connections:
    """A run of no more than its ledger: (requests, answers, connections) of the kept one, connections of the other."""
    ledger = Ledger()
    requests, answers, opened = kept
    for name, count in ((exchanges.KEPT, opened), (exchanges.FRESH, fresh)):
        for _ in range(count):
            ledger.opened(name, 0, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=START_NS)
    first = ledger.connections[0]
    first.requests, first.responses = requests, answers
    return exchanges.Connections(Run([], {}, ledger, {"techniques": [exchanges.KEPT, exchanges.FRESH]}))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ((21, 20, 1), "refined"),
        ((20, 20, 1), "refined"),
        ((1, 20, 1), "refuted"),  # one request, answered again and again
        ((40, 20, 1), "refuted"),
        ((21, 20, 21), "refuted"),  # a connection for each
        ((2, 1, 1), "undecided"),
    ],
)
def test_after_an_answer_a_request_is_needed_again_and_no_connection(kept: tuple[int, int, int], expected: str) -> None:
    assert verdict("L5b", asked(kept)) == expected


def check_asking_again(seen: exchanges.Connections) -> None:
    found = claims.judge("L5b", seen)
    assert found.verdict == "refined" and "no new connection" in found.reason
    assert found.measured == pytest.approx(1, abs=0.3)


# A world in which theory holds, and worlds in which it does not


def world(rates: dict[str, float], *, add_s: float = 0.0, events: int = 150, stream_s: float = 0.0) -> Rates:
    """Simulated long polling at several rates, as rows.

    Args:
        add_s: what the server adds to each latency.
        stream_s: what each event takes over a stream; without it there is none.
    """
    rows, published, ledger, duration_s = [], {}, Ledger(), 0.0
    rate_of: dict[str, float] = {}
    for topic, rate in rates.items():
        due = poisson_times(rate, len(rows) + 1, events)
        found = simulate_long_polling(due, D, H, request_transits=1)
        latencies = found.latencies
        duration_s = max(duration_s, due[-1])
        rate_of[topic] = rate
        for number, (t, latency) in enumerate(zip(due, latencies, strict=True), 1):
            due_ns = START_NS + round(t * 1e9)
            received_ns = START_NS + round((t + latency + add_s) * 1e9)  # one number for those of one answer
            published[topic, number] = {"due_ns": due_ns, "published_ns": due_ns, "size": 20}
            rows.append({
                "technique": "long-polling", "subscriber": 0, "topic": topic, "event_id": number, "due_ns": due_ns,
                "published_ns": due_ns, "received_ns": received_ns, "bytes": 100,
                "latency_ms": (received_ns - due_ns) / 1e6,
            })  # fmt: skip
    received = {"technique": "http-streaming", "latency_ms": stream_s * 1e3}
    later = [row | received | {"received_ns": row["due_ns"] + round(stream_s * 1e9)} for row in rows]
    rows += later if stream_s else []
    settings = {
        "techniques": ["long-polling", *["http-streaming"][: bool(stream_s)]],
        "schedule": {"name": "several"},
        "one_way_s": D,
        "hold_s": H,
        "duration_s": 60,
    }
    return Rates(Run(rows, published, ledger, settings, QUIET), rate_of, dict.fromkeys(rates, 20), duration_s)


RATES = {"slow": 4.0, "fast": 30.0}


def test_the_closed_form_holds_where_it_should() -> None:
    assert verdict("L1", world(RATES)) == "confirmed"


def test_what_an_interrupt_left_empty_can_be_shown() -> None:
    connections = asked((6, 4, 2))
    connections.run.settings |= {"schedule": {"rate_per_s": 8.0}, "one_way_s": D}
    assert connections.chart().layout.title.text.count("?\N{NO-BREAK SPACE}ms") == 2
    table = Pipelined(Run([], {}, Ledger(), {"one_way_s": D}, interrupted=True), 1.0, 0.1, 1.0).table()
    assert list(table.index) == ["a GET beside the poll", "a GET behind the poll"]


@pytest.mark.parametrize("id", ["L5", "L5b"])
def test_clients_whose_topics_an_interrupt_left_without_an_event_are_not_taken_for_one_that_connects_again(
    id: str,
) -> None:
    seen = asked((6, 4, 2))
    seen.run.interrupted, seen.run.published = True, {("first", 1): [0, 0]}
    assert verdict(id, seen) == "undecided"


def test_an_interrupted_run_decides_nothing_about_rates_at_which_nothing_came() -> None:
    seen = world({"rare": 4.0, "often": 30.0})
    rows = seen.run.deliveries[seen.run.deliveries["topic"] == "often"]
    published = {key: times for key, times in seen.run.published.items() if key[0] == "often"}
    short = Run(rows, published, seen.run.ledger, seen.run.settings, QUIET, interrupted=True)
    assert verdict("L3", replace(seen, run=short)) == "undecided"


def test_an_interrupted_run_without_an_answer_of_some_size_decides_nothing_about_headers() -> None:
    seen = Sizes(Run([], {("", 1): [0, 0]}, Ledger(), {}, interrupted=True), {"small": 20, "big": 2000})
    assert verdict("L4", seen) == "undecided"


def test_an_interrupted_run_refutes_no_rate_of_requests() -> None:
    """What was counted in 2 s is no count of 10."""
    seen = world(RATES)
    seen.run.interrupted, seen.run.settings["duration_s"] = True, 2.0
    seen = replace(seen, duration_s=10.0)
    assert verdict("L2", seen) == "undecided"
    whole = replace(seen, duration_s=2.0)
    assert seen.table()["requests_per_s"].equals(whole.table()["requests_per_s"])


def test_a_server_that_adds_a_transit_is_refuted() -> None:
    assert verdict("L1", world(RATES, add_s=D)) == "refuted"


def held(*, ask_s: tuple[float, ...] = (0.05, 0.5), obeys: bool = True, drop: bool = False) -> Holds:
    """Simulated long polls that ask to be held for different times, by a server that obeys or holds for H."""
    rows, published, variants = [], {}, {f"held {hold_s:g} s": hold_s for hold_s in ask_s}
    for name, hold_s in variants.items():
        due = poisson_times(4.0, 7, 400)
        found = simulate_long_polling(due, D, hold_s if obeys else H, request_transits=1)
        for number, (t, latency) in enumerate(zip(due, found.latencies, strict=True), 1):
            due_ns = START_NS + round(t * 1e9)
            published["", number] = {"due_ns": due_ns, "published_ns": due_ns, "size": 20}
            if drop and number % 50 == 0:
                continue
            rows.append({
                "technique": name, "subscriber": 0, "topic": "", "event_id": number, "due_ns": due_ns,
                "published_ns": due_ns, "received_ns": START_NS + round((t + latency) * 1e9), "bytes": 100,
                "latency_ms": latency * 1e3,
            })  # fmt: skip
    settings = {"techniques": list(variants), "schedule": {"name": "several"}, "one_way_s": D, "duration_s": 100}
    return Holds(Run(rows, published, Ledger(), settings, QUIET), variants, 4.0, 100.0)


def test_the_closed_form_holds_for_short_holds_too() -> None:
    assert verdict("L1", held()) == "confirmed"


def test_a_server_that_ignores_the_hold_is_refuted() -> None:
    assert verdict("L1", held(obeys=False)) == "refuted"


def test_a_client_that_drops_one_id_in_fifty_is_refuted() -> None:
    assert verdict("L1", held(drop=True)) == "refuted"


def rated(requests: dict[float, int], duration_s: float = 10.0, slope: float = 200.0, stream_s: float = 0.0) -> Any:
    """What the checks of L2 and L3 look at: so many requests at each rate, bytes on a line or off it."""
    import pandas as pd

    base = world({f"{rate:g}": rate for rate in requests}, events=60, stream_s=stream_s)
    d, rows = base.one_way_s, []
    for rate, asked in requests.items():
        n = round(rate * duration_s)
        rows.append({
            "rate_per_s": rate, "events": n, "requests": asked, "events_per_answer": n / asked,
            "theory_events_per_answer": labkit.theory.long_polling_events_per_answer(rate, 30.0, 2 * d),
            "requests_per_s": asked / duration_s,
            "theory_requests_per_s": labkit.theory.long_polling_requests_per_s(rate, d, 30.0),
            "bytes_per_event": 50 + slope * asked / n,
        })  # fmt: skip
    table = pd.DataFrame(rows).set_index("rate_per_s")

    class Given(Rates):
        def table(self, size: int = 20) -> Any:
            return table

    return Given(base.run, base.rates, base.sizes, duration_s)


def as_theory(*rates: float) -> dict[float, int]:
    return {rate: round(10 * labkit.theory.long_polling_requests_per_s(rate, D, 30.0)) for rate in rates}


def test_requests_that_level_off_refine_the_sentence() -> None:
    assert verdict("L2", rated(as_theory(2, 10, 50))) == "refined"
    assert verdict("L3", rated(as_theory(2, 10, 50))) == "confirmed"


def test_a_client_that_asks_once_for_each_event_is_refuted() -> None:
    once = {rate: round(rate * 10) for rate in (2.0, 10.0, 50.0)}
    assert verdict("L2", rated(once)) == "refuted"
    assert verdict("L3", rated(once)) == "refuted"


def test_bytes_that_do_not_fall_are_refuted() -> None:
    assert verdict("L3", rated(as_theory(2, 10, 50), slope=-10.0)) == "refuted"


def beside_a_stream(stream_s: float, asked: int = 1) -> Any:
    """As theory has it at three rates, beside a stream whose events take so long and that asked so often."""
    seen = rated(as_theory(2, 10, 50), stream_s=stream_s)
    for topic in seen.rates:
        record = seen.run.ledger.opened("http-streaming", 0, local=("", 0), remote=("", 0), t_ns=START_NS)
        record.transferred("out", f"GET /http-streaming?topic={topic} HTTP/1.1\r\n\r\n".encode(), START_NS)
        record.requests = asked
    return seen


def test_a_stream_is_sooner_and_asks_once() -> None:
    assert verdict("L2", beside_a_stream(D)) == "refined"


def test_a_stream_that_is_later_or_asks_again_is_refuted() -> None:
    assert verdict("L2", beside_a_stream(6 * D)) == "refuted"
    assert verdict("L2", beside_a_stream(D, asked=3)) == "refuted"


@pytest.mark.parametrize(
    ("headers", "heads", "envelope", "expected"),
    [
        ([295.0, 296.0], [295.0, 296.0], [51.0, 52.5], "confirmed"),
        ([300.0, 900.0], [300.0, 900.0], [51.0, 52.5], "refuted"),  # they grow with the payload
        ([181.0, 181.0], [295.0, 296.0], [51.0, 52.5], "refuted"),  # not all are counted
        ([295.0, 296.0], [295.0, 296.0], [51.0, 2052.0], "refuted"),  # the text is escaped
    ],
)
def test_headers_are_the_heads_of_both_messages(
    headers: list[float], heads: list[float], envelope: list[float], expected: str
) -> None:
    import pandas as pd

    class Given(Sizes):
        def table(self) -> Any:
            return pd.DataFrame({
                "payload_bytes": [1, 2000], "answers": [9, 9], "headers": headers, "heads": heads, "segments": [1, 3],
                "share_of_headers": [0.9, 0.3], "envelope": envelope,
            }).set_index("payload_bytes")  # fmt: skip

    assert verdict("L4", Given(world(RATES, events=12).run, {})) == expected


# L8


def ids(stop: int, start: int = 1) -> tuple[tuple[int, int], ...]:
    return tuple((0, event_id) for event_id in range(start, stop + 1))


def unaware(**changes: Any) -> Unaware:
    """At lambda = 10/s and d = 50 ms half of the events fall into a gap."""
    every = ids(300)
    return replace(Unaware(every, every[::2], every, 10.0, D), **changes)


def test_half_is_lost_without_a_cursor_and_nothing_with_one() -> None:
    assert verdict("L8", unaware()) == "confirmed"


@pytest.mark.parametrize(
    "changes",
    [
        {"without": ids(300)},  # nothing lost without one
        {"with_cursor": ids(299)},  # one dropped with one
        {"with_cursor": ((0, 1), *ids(300))},  # one twice
        {"without": ids(300)[:100]},  # two of three lost: a gap twice as long
        {"without": ids(300)[:200]},  # one of three lost: a gap half as long
    ],
)
def test_a_cursor_that_makes_no_difference_or_loses_is_refuted(changes: dict[str, Any]) -> None:
    assert verdict("L8", unaware(**changes)) == "refuted"


@pytest.mark.parametrize(("each_s", "expected"), [(0.2, "confirmed"), (0.1, "refuted")])
def test_what_is_lost_is_told_by_the_rate_that_was_published(each_s: float, expected: str) -> None:
    """A third is what falls into a gap at five a second, whatever rate was asked for, and not at ten."""
    kept = tuple(event for event in ids(300) if event[1] % 3)
    at_s = tuple(each_s * event_id for _, event_id in ids(300))
    assert verdict("L8", unaware(without=kept, at_s=at_s)) == expected


def test_too_few_events_do_not_tell_one_gap_from_another() -> None:
    assert verdict("L8", unaware(published=ids(40), without=ids(20), with_cursor=ids(40))) == "undecided"


# L6, L7, L11, L12


def rows(*cells: tuple[float, float, float, float]) -> tuple[dict[str, float], ...]:
    names = ("hold_s", "requests_per_min", "broken_per_min", "deaf_share")
    return tuple(dict(zip(names, row, strict=True)) for row in cells)


def test_a_valley_is_illustrated_and_a_plain_is_not() -> None:
    good = Valley(0.6, rows((0.2, 300, 0, 0), (0.4, 150, 0, 0), (0.9, 48, 48, 0.9)))
    assert verdict("L6", good) == "illustrated"
    stalled = rows((0.2, 300, 30, 0), (0.4, 150, 0, 0), (0.9, 48, 48, 0.9))
    assert verdict("L6", replace(good, rows=stalled)) == "undecided"
    assert verdict("L6", replace(good, rows=rows((0.2, 300, 0, 0), (0.4, 150, 0, 0), (0.9, 48, 0, 0)))) == "refuted"


def test_held_clients_without_a_descriptor_are_refuted() -> None:
    kib, one = {"sse": (14.0, 15.0, 16.0, 15.0) * 3}, {"sse": (1.0, 1.0, 1.0, 1.0)}
    assert verdict("L7", Held(kib, one)) == "confirmed"
    assert verdict("L7", Held(kib, {"sse": (0.0, 0.0, 0.0, 0.0)})) == "refuted"
    assert verdict("L7", Held({"sse": (-14.0, -15.0, -16.0, -15.0) * 3}, one)) == "refuted"
    assert verdict("L7", Held(why="no /proc here")) == "not run"


def test_a_seventh_request_that_does_not_wait_is_refuted() -> None:
    ids = tuple(range(1, 21))
    shared = {"a tab that stayed": ids, "another": ids, "the leader, until it closed": ids[-10:]}
    good = Tabs((2.0,) * 6 + (4.0,) * 2, 2.0, ids, {k: v for k, v in shared.items() if k[0] == "a"}, "Chrome/1")
    assert verdict("L11", good) == "confirmed"
    assert verdict("L11", replace(good, answered_s=(2.0,) * 8)) == "refuted"
    assert verdict("L11", replace(good, shared={"a tab that stayed": ids[:5] + ids[6:]})) == "refuted"
    assert verdict("L11", Tabs(why="no page attached")) == "not run"


def test_threads_that_hold_nobody_up_are_refuted() -> None:
    quick = {"16 threads": 0.01, "lab": 0.01}
    good = Threads(16, 1.0, {"16 threads": 0.9, "lab": 0.01}, {"16 threads": 0.9, "lab": 0.01}, quick)
    assert verdict("L12", good) == "confirmed"
    assert verdict("L12", replace(good, poll_s={"16 threads": 0.01, "lab": 0.01})) == "refuted"
    assert verdict("L12", replace(good, short_s={"16 threads": 0.9, "lab": 0.01})) == "refuted"
    assert verdict("L12", replace(good, get_s={"16 threads": 0.9, "lab": 0.5})) == "undecided"


# Over real sockets, small; where the machine is busy a verdict may be open, and never another one


def test_the_rates_are_swept(lab: labkit.Lab) -> None:
    seen = long_polling.rates(lab, duration_s=2.0)
    assert list(seen.table().index) == list(SWEPT)
    assert (seen.table()["events_per_answer"] >= 1).all()
    assert verdict("L1", seen) in ("confirmed", "undecided")


def test_the_holds_are_swept(lab: labkit.Lab) -> None:
    seen = long_polling.holds(lab, holds_s=(0.05, 30.0), duration_s=2.0)
    assert verdict("L1", seen) in ("confirmed", "undecided")
    assert seen.table()["requests_per_s"].is_monotonic_decreasing
    assert seen.chart().layout.title.text.startswith("Held 0.05 s")


def test_headers_do_not_depend_on_the_payload(lab: labkit.Lab) -> None:
    seen = long_polling.payloads(lab, sizes=(1, 500, 3000), duration_s=1.6)
    assert isinstance(seen, Sizes)
    assert list(seen.table()["segments"]) == [1, 1, 3]
    assert verdict("L4", seen) in ("confirmed", "undecided")


def test_equal_requests_are_equal(lab: labkit.Lab) -> None:
    seen = long_polling.equal_requests(lab, duration_s=3.0)
    assert verdict("L1b", seen) in ("refined", "undecided")
    assert len(seen.table()) == 4
    drawn = seen.chart()
    measured = [trace.name for trace in drawn.data if "measured" in trace.name]
    assert len(measured) == 2
    shown = {step.label: step.args[0]["visible"][-2:] for step in drawn.layout.sliders[0].steps}
    assert {label for label, visible in shown.items() if any(visible)} == {"50"}


def test_each_poll_on_a_connection_of_its_own(lab: labkit.Lab) -> None:
    run = long_polling.connections(lab, duration_s=2.5)
    check_asking_again(run)
    assert verdict("L5", run) in ("confirmed", "undecided")
    assert [*run.chart().layout.yaxis.ticktext] == [
        "kept alive",
        "opened anew",
    ]


def test_a_client_that_keeps_nothing_alive_is_refuted(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "KEPT", "opened anew")
    monkeypatch.setattr(exchanges, "FRESH", "kept alive")
    assert verdict("L5", long_polling.connections(lab, duration_s=2.0)) in ("refuted", "undecided")


def test_events_between_two_polls_are_lost(lab: labkit.Lab) -> None:
    seen = long_polling.unaware(lab, events=20, topics=2)
    assert seen.with_cursor == seen.published
    drawn = seen.chart()
    assert sum(len(trace.x) for trace in drawn.data) == 2 * sum(number == 0 for number, _ in seen.published)
    assert verdict("L8", seen) in ("confirmed", "undecided")


def test_a_get_waits_behind_a_pipelined_poll(lab: labkit.Lab) -> None:
    seen = long_polling.pipelined(lab, duration_s=1.6, hold_s=0.5 * UNIT)
    assert isinstance(seen, Pipelined)
    assert verdict("L10", seen) in ("confirmed", "undecided")
    assert verdict("L10", replace(seen, behind_s=0.1 * seen.hold_s)) in ("refuted", "undecided")


def test_a_client_that_does_not_pipeline_is_refuted(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = exchanges.measure
    monkeypatch.setattr(exchanges, "measure", lambda *a, options, **more: measure(*a, **more))
    seen = long_polling.pipelined(lab, duration_s=2.8, hold_s=0.3 * UNIT)
    assert verdict("L10", seen) in ("refuted", "undecided")


def test_a_bounded_server_holds_up_one_client_too_many(lab: labkit.Lab) -> None:
    assert verdict("L12", long_polling.threads(lab, threads=4, hold_s=0.6 * UNIT)) in ("confirmed", "undecided")


def test_a_silent_limit_breaks_longer_holds(lab: labkit.Lab) -> None:
    seen = long_polling.valley(lab, holds_s=(0.2, 0.9), duration_s=2.0)
    assert list(seen.table()["broken_per_min"] > 0) == [False, True]
    assert "idle limit" in str(seen.chart().layout.annotations)


def test_a_run_too_short_to_see_a_hold_end_is_refused(lab: labkit.Lab) -> None:
    with pytest.raises(ValueError, match="duration_s must be 6 or more"):
        long_polling.valley(lab, holds_s=(4.0,), duration_s=2.0)


def test_without_a_page_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert many_tabs().why == "no page attached"


def test_a_page_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with tabs_lab() as lab:
        assert "no page answered" in watch_tabs(lab, wait_s=0.1).why
