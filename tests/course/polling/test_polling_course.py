"""01_polling: its checks against a right world and wrong ones, its experiments once and small over real sockets."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

import labkit
from labkit import theory
from labkit.client.ledger import Ledger
from labkit.course import claims, polling
from labkit.course.polling import jobs
from labkit.course.polling.burden import Burden
from labkit.course.polling.claims import CLAIMS
from labkit.course.polling.intervals import Sweep
from labkit.course.polling.per_message import PUBLISHED, Overheads
from labkit.course.polling.pollers import Poller
from labkit.course.polling.price import Costs
from labkit.course.polling.revalidation import Revalidated
from labkit.course.polling.waiting import Waited
from labkit.errors import LabClosed
from labkit.measuring.run import Run
from simulations import poisson_times, simulate_polling

D, RATE, PHASES, START_NS = 0.05, 24.0, 10, 10**12
KINDS = (Poller("every 0.3 s", 0.3), Poller("every 1.2 s", 1.2), Poller("every 0.3 s after the answer", 0.3, True))


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("polling-test") as lab:
        yield lab


# P1


def swept(
    *, add: Callable[[Poller, int], float] = lambda _poller, _event: 0.0, careless: bool = False, dropped: int = 0
) -> Sweep:
    """A simulated sweep. ``careless``: the pollers wait after each answer and nobody says so."""
    due, rows, rng = poisson_times(RATE, 1, 96), [], random.Random(1)
    for poller in KINDS:
        for n in range(PHASES):
            waiting = poller.waiting or careless
            period_s = poller.interval_s + 2 * D * waiting
            shifted = [t + period_s * n / PHASES for t in due]
            world = simulate_polling(shifted, D, poller.interval_s, waiting=waiting)
            newest_ns = 0
            for event, latency_s in enumerate(world.latencies, 1):
                if event == dropped and n == 0:
                    continue
                late_s = latency_s + rng.expovariate(1000) + add(poller, event)
                due_ns = START_NS + round(due[event - 1] * 1e9)
                row = {"technique": poller.name, "subscriber": n, "event_id": event, "due_ns": due_ns}
                newest_ns = max(newest_ns, due_ns + round(late_s * 1e9))  # none overtakes another
                times = {"received_ns": newest_ns, "latency_ms": (newest_ns - due_ns) / 1e6}
                rows.append({**row, "published_ns": due_ns, **times})
    settings = {
        "techniques": [poller.name for poller in KINDS],
        "schedule": {"name": "poisson", "rate_per_s": RATE},
        "one_way_s": D,
        "subscribers": PHASES,
        "started": "2026-01-01T00:00:00+00:00",
        "duration_s": due[-1],
    }
    published = {("", event): [0, 0] for event in range(1, len(due) + 1)}
    return Sweep(Run(rows, published, Ledger(), settings, [0.2, 0.3, 0.4] * 30), KINDS)


def test_intervals_swept_confirm_p1() -> None:
    found = claims.judge("P1", swept())
    assert found.verdict == "confirmed" and found.expected == pytest.approx(0.65)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"add": lambda poller, _: poller.interval_s / 2}, id="a server that adds T/2"),
        pytest.param({"add": lambda *_: -0.03}, id="earlier than a transit"),
        pytest.param({"careless": True}, id="clients that wait after each answer"),
        pytest.param({"dropped": 17}, id="a client that drops one id"),
    ],
)
def test_a_wrong_world_refutes_p1(wrong: dict[str, Any]) -> None:
    assert claims.judge("P1", swept(**wrong)).verdict == "refuted"


def test_a_sweep_on_a_machine_that_stood_still_is_undecided() -> None:
    world = swept(add=lambda *_: 0.2)
    world.run.settings["held_up_ms"] = {"total": 900.0, "max": 200.0}
    assert claims.judge("P1", world).verdict == "undecided"


# P2


def priced(
    *, h: float = 300.0, b: float = 38.0, times: float = 1.0, history: bool = False, never_empty: bool = False
) -> Costs:
    """Simulated costs. ``times`` as many polls as are said; ``history``: each poll fetches everything again."""
    rows = []
    for number in range(16):
        due = poisson_times(2.5, number, 200)
        for interval_s in (0.2, 0.4, 0.8, 1.6):
            polls = round(3.2 / interval_s)
            counts = [sum(i * interval_s <= t < (i + 1) * interval_s for t in due) for i in range(polls)]
            fetched = sum(sum(counts[: i + 1]) for i in range(polls)) if history else sum(counts)
            row = {"interval_s": interval_s, "topic": f"t{number}", "polls": polls, "span_s": 3.2, "latency_ms": 100.0}
            empty = 0 if never_empty else counts.count(0)
            rows.append({**row, "empty": empty, "events": sum(counts), "bytes": h * times * polls + b * fetched})
    return Costs(pd.DataFrame(rows), 2.5, D, 300.0, 38.0, {"started": "2026-01-01T00:00:00+00:00"})


def test_bytes_linear_in_the_polls_confirm_p2() -> None:
    found = claims.judge("P2", priced())
    assert found.verdict == "confirmed" and found.measured == pytest.approx(300)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"times": 2.0}, "h = 600"),
        ({"history": True}, ""),
        ({"b": 120.0}, "b = 120"),
        ({"b": 44.0}, "b = 44"),
        ({"never_empty": True}, "0% of the shortest interval's polls empty"),
    ],
)
def test_a_wrong_world_refutes_p2(wrong: dict[str, Any], named: str) -> None:
    found = claims.judge("P2", priced(**wrong))
    assert found.verdict == "refuted" and named in found.whole


@pytest.mark.parametrize("intervals_s", [{1.6}, {0.2, 0.4, 0.8, 1.6}])
def test_pollers_that_an_interrupt_left_without_a_poll_decide_nothing(intervals_s: set[float]) -> None:
    seen = priced()
    none = seen.frame["interval_s"].isin(intervals_s)
    seen.frame.loc[none, ["polls", "span_s", "empty", "events", "bytes"]] = 0
    assert claims.judge("P2", seen).verdict in ("confirmed", "undecided")


def test_pollers_that_fell_behind_decide_nothing() -> None:
    for slower, verdict in ((1.1, "undecided"), (1.5, "refuted")):
        slow = priced()
        slow.frame["span_s"] *= slower
        assert claims.judge("P2", slow).verdict == verdict
    slow.settings["held_up_ms"] = {"total": 2000.0, "max": 300.0}
    slow.settings["duration_s"] = 5.0
    assert claims.judge("P2", slow).verdict == "undecided"  # the machine stood still


# P3


def weighed(**changes: Any) -> Burden:
    memory = {"kept alive": (8.0, 8.4) * 6, "closed each time": (0.0, 0.1) * 6, "websocket": (16.0, 17.0) * 6}
    held = {"kept alive": (1.0, 1.0), "closed each time": (0.0, 0.0), "websocket": (1.0, 1.0)}
    cpu = {"kept alive": (180.0,) * 8, "closed each time": (270.0, 280.0, 260.0, 275.0) * 2, "websocket": (80.0,) * 8}
    return dataclasses.replace(Burden(memory, held, cpu, 15.0, 400, 400, 2368), **changes)


def test_lightness_is_refined_by_the_interval_below_which_it_ends() -> None:
    found = claims.judge("P3", weighed())
    assert found.verdict == "refined" and found.measured == pytest.approx(15 * 271.25 / 80)


def test_a_server_that_keeps_what_was_closed_refutes_p3() -> None:
    leaking = weighed(memory_kib={**weighed().memory_kib, "closed each time": (30.0, 31.0) * 6})
    open_still = weighed(descriptors={**weighed().descriptors, "closed each time": (1.0, 1.0)})
    for seen in (leaking, open_still):
        assert claims.judge("P3", seen).verdict == "refuted"


def test_polls_that_cost_next_to_nothing_confirm_p3_and_noise_decides_nothing() -> None:
    cheap = weighed(cpu_us={**weighed().cpu_us, "closed each time": (0.1, 0.11, 0.1, 0.1) * 2})
    assert claims.judge("P3", cheap).verdict == "confirmed"
    noisy = weighed(cpu_us={**weighed().cpu_us, "closed each time": (1.0, 900.0, 2.0, 800.0) * 2})
    assert claims.judge("P3", noisy).verdict == "undecided"
    assert claims.judge("P3", Burden(why="no /proc")).verdict == "not run"


# P4


@pytest.fixture(scope="module")
def asked(lab: labkit.Lab) -> Revalidated:
    return polling.revalidate(lab, (0, 1, 4, 32))


def test_304_is_refined_by_what_is_polled(asked: Revalidated) -> None:
    found = claims.judge("P4", asked)
    assert found.verdict == "refined" and 0.5 < float(found.measured) < 0.9  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "value"), [("status", 200), ("changed_status", 304)], ids=["never 304", "304 in spite of news"]
)
def test_a_server_that_revalidates_wrongly_refutes_p4(asked: Revalidated, column: str, value: int) -> None:
    frame = asked.frame.copy()
    frame.loc[frame["conditional"], column] = value
    assert claims.judge("P4", Revalidated(frame)).verdict == "refuted"


def test_a_304_that_brings_the_whole_body_refutes_p4(asked: Revalidated) -> None:
    frame = asked.frame.copy()
    frame.loc[frame["conditional"], "bytes"] += frame["resource_bytes"]
    assert claims.judge("P4", Revalidated(frame)).verdict == "refuted"


# P5


def overheads(poll: tuple[float, float] = (260.0, 210.0), frame: tuple[float, float] = (2.0, 140.0)) -> Overheads:
    return Overheads((poll,) * 4, (frame,) * 4, 12)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (overheads(), "refined"),
        (overheads(poll=(871.0, 0.0), frame=(2.0, 0.0)), "confirmed"),
        (overheads(frame=(250.0, 140.0)), "refuted"),
        (overheads(frame=(2.0, math.nan)), "not run"),
    ],
)
def test_the_published_ratio_is_judged_by_this_wire(seen: Overheads, verdict: str) -> None:
    assert claims.judge("P5", seen).verdict == verdict


def test_every_published_figure_follows_from_its_inputs_in_one_unit() -> None:
    assert [row.prints(row.mibit_per_s) for row in PUBLISHED] == [True] * 6 + [False]
    assert [row.prints(row.mbit_per_s) for row in PUBLISHED] == [False] * 6 + [True]


def test_a_figure_that_does_not_follow_refutes_p5(monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.course.polling import judges_load as polling_load

    wrong = dataclasses.replace(PUBLISHED[0], printed_mbps=6.1)
    monkeypatch.setattr(polling_load, "PUBLISHED", (wrong, *PUBLISHED[1:]))
    assert claims.judge("P5", overheads()).verdict == "refuted"


# N1


def jobs_waited(*, late_s: float = 0.0, asked_times: int = 1, count: int = 30) -> Waited:
    rng, rows = random.Random(2), []
    for number in range(count):
        took_s = rng.expovariate(1 / jobs.MEAN_S)
        for way in jobs.WAYS:
            expected_s, requests, margin_s = jobs.expected_wait(way.name, took_s, D)
            waited_s = expected_s + 0.003 + late_s * (way.name == "SSE")
            rows.append(
                {"job": f"j{number}", "durations": "exponential", "how": way.name, "duration_s": took_s}
                | {"waited_s": waited_s, "requests": requests * asked_times, "expected_s": expected_s}
                | {"expected_requests": requests, "margin_s": margin_s}
            )
    return Waited(pd.DataFrame(rows), D, {"duration_s": 9.0})


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        ({}, "confirmed"),
        ({"late_s": 0.2}, "refuted"),
        ({"asked_times": 2}, "refuted"),
        ({"count": 4}, "undecided"),
    ],
)
def test_each_client_is_held_to_its_rule(world: dict[str, Any], verdict: str) -> None:
    assert claims.judge("N1", jobs_waited(**world)).verdict == verdict


@pytest.mark.parametrize(
    ("world", "verdict"),
    [({"late_s": 0.2}, "undecided"), ({"late_s": -0.2}, "refuted"), ({"asked_times": 2}, "refuted")],
)
def test_a_machine_that_stood_still_excuses_a_client_that_is_late_and_no_other(
    world: dict[str, Any], verdict: str
) -> None:
    seen = jobs_waited(**world)
    seen.settings["held_up_ms"] = {"total": 2000.0, "max": 300.0, "times": 9}
    assert claims.judge("N1", seen).verdict == verdict


@pytest.mark.parametrize("way", [way.name for way in jobs.WAYS])
def test_a_way_of_waiting_of_which_nothing_was_seen_is_not_taken_for_one_that_keeps_its_rule(way: str) -> None:
    seen = jobs_waited()
    found = claims.judge("N1", dataclasses.replace(seen, frame=seen.frame[seen.frame["how"] != way]))
    assert (found.verdict, found.reason) == ("undecided", f"too few jobs: {way}")


@pytest.mark.parametrize(
    ("way", "took_s", "wait_s", "requests"),
    [
        ("SSE", 1.0, D, 1),
        ("long poll", 0.0, 4 * D, 1),  # done before the first request is there: handshake, request, answer
        ("fixed poll", 0.6, 0.5, 2),  # asked at 0.5 and 1.0, there a transit later
        ("backoff", 0.5, 0.3, 3),  # asked at 0.2 (the answer to the submission), 0.3, 0.7
        ("Retry-After", 0.1, 2.2, 1),  # two seconds after the answer at 0.2
    ],
)
def test_what_a_clients_rule_gives(way: str, took_s: float, wait_s: float, requests: int) -> None:
    expected = jobs.expected_wait(way, took_s, D)
    assert expected[:2] == (pytest.approx(wait_s), requests)


def test_retry_after_is_whole_seconds_and_never_none() -> None:
    assert [jobs.retry_after_s(waited_s, 1.3) for waited_s in (0.0, 0.3, 0.5, 9.0)] == [2, 1, 1, 1]


# The experiments, small, over real sockets; what they give is judged, and drawn


def drawn(figure: Any) -> str:
    assert figure.data
    return str(figure.layout.title.text)


def test_a_small_sweep_is_judged_and_drawn(lab: labkit.Lab) -> None:
    seen = polling.sweep(lab, (0.2, 0.4), each=4, duration_s=1.5)
    assert len(seen.table()) == 3 and seen.run.summary()["lost"].sum() == 0
    assert claims.judge("P1", seen).verdict in ("confirmed", "undecided")
    assert "mean latency" in drawn(seen.chart()) and "every 0.2 s" in repr(seen)


def test_small_costs_are_judged_and_drawn(lab: labkit.Lab) -> None:
    seen = polling.costs(lab, (0.1, 0.2, 0.4), topics=6, span_s=0.8, rate_per_s=6)
    spans_s = (seen.frame["polls"] * seen.frame["interval_s"]).round(6)
    assert spans_s.gt(0).all() and spans_s.le(0.8).all()  # a machine that stands still leaves polls out
    assert 200 < seen.empty_bytes < 500
    assert claims.judge("P2", seen).verdict in ("confirmed", "undecided")
    assert "An event costs" in drawn(seen.chart())
    surface = seen.surface()
    assert "Requests buy latency" in drawn(surface) and len(surface.layout.sliders[0].steps) == 10


def test_clients_in_step_ask_at_once_and_others_do_not() -> None:
    seen = polling.herd(12, 0.2, duration_s=0.6)
    together, spread = seen.table()["most within 10 ms"]
    assert together > spread and "In step" in drawn(seen.chart())


def test_a_poller_in_step_keeps_its_latency(lab: labkit.Lab) -> None:
    seen = polling.aliasing(lab, 0.3, each=3, duration_s=0.9)
    means = seen.table()["in step"]
    assert means.max() - means.min() > 100 and "In step" in drawn(seen.chart())


def test_a_short_history_is_a_gap_and_not_a_silence() -> None:
    run = polling.forgetful(4)
    assert run.summary()["lost"].sum() > 0 and len(run.missing) > 0


@pytest.mark.alone
def test_the_server_is_weighed() -> None:
    seen = polling.weigh(batch=30, batches=2, rounds=3, heartbeat_s=0.4)
    if not seen.why:
        assert seen.descriptors["kept alive"] == (1.0, 1.0) and seen.time_wait > 0
    assert claims.judge("P3", seen).verdict in ("refined", "undecided", "not run") and seen.table().size
    assert drawn(weighed().chart()) and Burden(why="no /proc").chart().layout.title.text


def test_revalidation_is_drawn(asked: Revalidated) -> None:
    assert "304 saves" in drawn(asked.chart())


def test_the_bytes_of_messages_are_counted(lab: labkit.Lab) -> None:
    seen = polling.overheads(lab, each=4, duration_s=1.0)
    assert all(frame[0] == 2 for frame in seen.websocket)
    assert all(250 < poll[0] < 270 for poll in seen.polling)
    assert claims.judge("P5", seen).verdict in ("refined", "not run")
    assert len(polling.published(seen).table()) == len(PUBLISHED)


def test_jobs_are_waited_for() -> None:
    seen = polling.wait_for_jobs(rate_per_s=3, duration_s=1.0)
    held = seen.frame[seen.frame["how"].isin(["long poll", "SSE"])]
    assert (held["requests"] == 1).all()
    assert "After a job's end" in drawn(seen.chart())


def test_each_claim_has_an_experiment() -> None:
    assert [claim.id for claim in CLAIMS if claim.experiment] == ["P1", "P2", "P3", "P4", "P5", "N1"]


# Bad input


@pytest.mark.parametrize("interval_s", [0, -1, math.nan])
def test_an_interval_is_above_zero(interval_s: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        polling.poller(interval_s)


@pytest.mark.parametrize("experiment", [polling.sweep, polling.costs, polling.aliasing, polling.overheads])
def test_a_closed_lab_says_so(experiment: Callable[[labkit.Lab], Any]) -> None:
    closed = labkit.Lab("polling-closed")
    closed.close()
    with pytest.raises(LabClosed):
        experiment(closed)


# Exercises


@pytest.mark.parametrize(
    ("id", "right", "wrong"),
    [
        ("01.1", 1.9, 2.0),
        ("01.2", theory.empty_answer_fraction(1 / 20, 10), 61),
        ("01.3", 0.366, 0.69),
    ],
)
def test_the_exercises_tell_right_from_wrong(id: str, right: float, wrong: float) -> None:
    assert labkit.answer(id, right).right is True
    assert labkit.answer(id, wrong).right is False
    assert labkit.answer(id, -1).right is False
    assert labkit.answer(id, None).right is None
