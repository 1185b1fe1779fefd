"""The experiments of 08 at small size, and their checks in right and in wrong worlds."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit import choosing
from labkit.client.ledger import Ledger
from labkit.course import claims, side_by_side
from labkit.course.side_by_side.comparison import Comparison
from labkit.course.side_by_side.messages import A_CONNECTION_EACH, A_PREFLIGHT_EACH, ON_A_SOCKET, Upstream
from labkit.course.side_by_side.newest_value import AgePoint, Ages
from labkit.course.side_by_side.sending import Leg
from labkit.course.side_by_side.servers import ServerCosts
from labkit.errors import LabkitError
from labkit.theory.age import age_blocks, queued_age_s

NAMES = ("polling", "long-polling", "http-streaming", "sse", "websocket")
S = 1_000_000_000


# Age of information


@pytest.mark.parametrize(
    ("arrivals", "ages_s"),
    [
        ([], (0.5, 1.5)),
        ([(1 * S, 1 * S)], (0.5, 0.5)),
        ([(1 * S, 0)], (0.5, 1.5)),
        ([(S // 2, S // 2), (3 * S // 2, 3 * S // 2)], (0.25, 0.5)),
        ([(S // 2, S // 2), (S // 2 + 1, 0)], (0.25, 1.0)),
    ],
    ids=["nothing comes", "one, fresh", "one, as old as the start", "two, fresh", "an older one after a newer"],
)
def test_the_age_is_the_time_since_the_newest_was_due(
    arrivals: list[tuple[int, int]], ages_s: tuple[float, ...]
) -> None:
    assert age_blocks(arrivals, 0, 2 * S, 2) == pytest.approx(ages_s, abs=1e-6)


def test_the_age_agrees_with_looking_often() -> None:
    rng = random.Random(4)
    due = sorted(rng.randrange(3 * S) for _ in range(40))
    arrivals = [(t + rng.randrange(S // 2), t) for t in due]
    looks = [(k + 0.5) * 3 * S / 20_000 for k in range(20_000)]
    newest = [max((d for r, d in arrivals if r <= at), default=0) for at in looks]
    brute = sum(at - d for at, d in zip(looks, newest, strict=True)) / len(looks) / S
    assert age_blocks(arrivals, 0, 3 * S, 1)[0] == pytest.approx(brute, rel=1e-3)


def test_theory_knows_a_queue() -> None:
    """Twice what fits: after t seconds what arrives was due t/2 ago, so the age grows to half the length."""
    due = [k * S // 80 for k in range(1, 800)]
    assert queued_age_s(due, 40.0, 0.0, 0, 10 * S) == pytest.approx(2.5, rel=0.02)
    slow = [k * S // 10 for k in range(1, 100)]
    assert queued_age_s(slow, 40.0, 0.05, 0, 10 * S) == pytest.approx(0.05 + 0.025 + 0.05, rel=0.05)


# A1


def run_of(latency_ms: dict[str, float], size: dict[str, int]) -> labkit.Run:
    """A run in which each technique has about that latency and those bytes an event."""
    rng = random.Random(1)
    rows = [
        {
            "technique": name,
            "event_id": number,
            "due_ns": number * S,
            "published_ns": number * S,
            "received_ns": number * S + int(1e6 * latency_ms[name]),
            "latency_ms": latency_ms[name] * rng.uniform(0.95, 1.05),
            "bytes": size[name] + rng.randrange(3),
        }
        for number in range(1, 41)
        for name in NAMES
    ]
    settings = {
        "techniques": NAMES,
        "started_ns": 0,
        "one_way_s": 0.05,
        "poll_interval_s": 1.0,
        "hold_s": 30.0,
        "schedule": {"name": "poisson", "settings": {"payload_bytes": 20}, "rate_per_s": 8.0, "poisson": True},
    }
    return labkit.Run(rows, {("", n): [n * S, n * S] for n in range(1, 41)}, Ledger(0), settings)


def comparison(**memory_kib: float) -> Comparison:
    run = run_of(
        {"polling": 550, "long-polling": 80, "http-streaming": 50, "sse": 50, "websocket": 50},
        {"polling": 90, "long-polling": 280, "http-streaming": 51, "sse": 53, "websocket": 48},
    )
    kib = {"polling": 6.5, "long-polling": 12.5, "http-streaming": 13.4, "sse": 13.3, "websocket": 16.2, **memory_kib}
    cpu = {"polling": 400, "long-polling": 1300, "http-streaming": 90, "sse": 90, "websocket": 90}
    near = (0.98, 1.0, 1.02, 1.0) * 3
    server = ServerCosts(
        {name: tuple(value * k for k in near) for name, value in kib.items()},
        {name: tuple(value * k for k in near) for name, value in cpu.items()},
        {},
        {"clients": 60, "rate_per_s": 8.0, "poll_interval_s": 1.0},
    )
    return Comparison(run, run, 10.0, server, messages())


def test_who_lost_something_in_a_cut_is_never_whole_and_not_the_best_at_it() -> None:
    seen, run = comparison(), comparison().run
    kept = run.deliveries[(run.deliveries["technique"] != "polling") | (run.deliveries["event_id"] < 5)]
    seen = dataclasses.replace(seen, cut=labkit.Run(kept, run.published, run.ledger, run.settings), healed_s=39.0)
    assert math.isnan(seen.whole_s("polling")) and seen.whole_s("sse") > 0
    framed = [trace for trace in seen.chart().data if trace.marker.line.width == 2.5]
    assert "polling" not in framed[-1].hovertemplate.split(":")


def leg(mode: str, size: int, order: tuple[int, ...] = tuple(range(30)), connections: int = 5) -> Leg:
    return Leg(mode, 60.0, 30, order, (0.05,) * len(order), (size,) * 30, connections)


SWAPPED = (1, 0, *range(2, 30))


def messages(**changes: Leg) -> Upstream:
    legs = {"websocket": leg("websocket", 78, connections=1), "post": leg("post", 338, SWAPPED), **changes}
    return Upstream(tuple(legs.values()), 0.05, {"payload_bytes": 20, "jitter_s": 0.02, "duration_s": 1.0})


def test_each_technique_loses_somewhere() -> None:
    found = claims.judge("A1", comparison())
    assert found.verdict == "confirmed"
    assert "websocket is beaten in server memory" in found.whole and "polling is beaten in mean latency" in found.whole


def test_interrupted_runs_of_ages_decide_nothing() -> None:
    short = labkit.Run([], {}, Ledger(0), {}, interrupted=True)
    found = claims.judge("A9", dataclasses.replace(ages_of(0.5, 0.1), runs=(short,)))
    assert (found.verdict, found.reason) == ("undecided", "the run was interrupted")


def test_a_technique_that_wins_everywhere_refutes() -> None:
    """A WebSocket that needs no memory, no CPU and half the latency and bytes."""
    seen = comparison()
    latency = {"polling": 550.0, "long-polling": 180.0, "http-streaming": 150.0, "sse": 150.0, "websocket": 60.0}
    size = {"polling": 90, "long-polling": 280, "http-streaming": 51, "sse": 53, "websocket": 20}
    none = (0.0, 0.1, 0.0, 0.1) * 3
    server = dataclasses.replace(
        seen.server,
        memory_kib={**seen.server.memory_kib, "websocket": none},
        cpu_us={**seen.server.cpu_us, "websocket": none},
    )
    found = claims.judge("A1", dataclasses.replace(seen, run=run_of(latency, size), server=server))
    assert found.verdict == "refuted" and "websocket is the best in every column" in found.whole


def test_a_technique_that_is_only_as_good_is_undecided() -> None:
    found = claims.judge("A1", comparison(websocket=6.5))
    assert found.verdict == "undecided" and "websocket: in no column" in found.whole


def test_noise_that_swallows_a_difference_is_undecided_and_never_refuted() -> None:
    seen = comparison()
    noisy = dataclasses.replace(seen.server, memory_kib={**seen.server.memory_kib, "websocket": (0.0, 60.0, 5.0, 1.0)})
    assert claims.judge("A1", dataclasses.replace(seen, server=noisy)).verdict == "undecided"


def test_without_the_servers_columns_it_is_not_run() -> None:
    found = claims.judge("A1", dataclasses.replace(comparison(), server=ServerCosts(why="one process only")))
    assert found.verdict == "not run" and "one process only" in found.whole


def test_the_comparison_is_one_table_and_one_chart() -> None:
    seen = comparison()
    assert "latency" in seen._repr_html_() or "p50_ms" in seen._repr_html_()
    figure = seen.chart()
    assert "none of them has all 6" in figure.layout.title.text
    assert any(trace.name == "theory" for trace in figure.data)
    assert labkit.choose(rate_per_s=8, staleness_s=1.5, run=seen).figures["polling"].memory_kib.value == pytest.approx(
        6.5
    )


# A9


def ages_of(plain: float, newest: float, *, plain_bytes: float = 2e6, newest_bytes: float = 1e6, lost: int = 0) -> Ages:
    def point(conflate: bool, rate: float, age: float, sent: float) -> AgePoint:
        blocks = tuple(age * (0.3 + k / 18) for k in range(36))
        return AgePoint("sse", conflate, rate, blocks, age, sent, 100, 50 * conflate, lost)

    points = [point(False, 20.0, 0.1, 5e5), point(True, 20.0, 0.1, 5e5)]
    points += [point(False, 80.0, plain, plain_bytes), point(True, 80.0, newest, newest_bytes)]
    return Ages(tuple(points), 1e6, 25e3, 0.05, {})


def test_conflation_pays_above_the_links_rate() -> None:
    found = claims.judge("A9", ages_of(0.7, 0.25))
    assert found.verdict == "confirmed" and found.measured == pytest.approx(ages_of(0.7, 0.25).points[3].mean_s)


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (ages_of(0.3, 0.6), "refuted"),
        (ages_of(0.7, 0.25, newest_bytes=3e6), "refuted"),
        (ages_of(0.5, 0.5), "refuted"),
        (ages_of(0.7, 0.25, lost=3), "undecided"),
    ],
    ids=["older with conflation", "more bytes with conflation", "no conflation at all", "events lost"],
)
def test_a_wrong_world_is_told_from_it(world: Ages, verdict: str) -> None:
    assert claims.judge("A9", world).verdict == verdict


def test_below_the_links_rate_nothing_is_decided() -> None:
    seen = ages_of(0.7, 0.25)
    assert claims.judge("A9", dataclasses.replace(seen, points=seen.points[:2])).verdict == "not run"


@pytest.fixture(scope="module")
def ages() -> Ages:
    return side_by_side.ages((0.5, 2.0), duration_s=1.2, progress=False)


def test_the_sweep_shows_it(ages: Ages) -> None:
    assert claims.judge("A9", ages).verdict in ("confirmed", "undecided")
    assert sum(point.conflated for point in ages.points) > 0
    assert all(not point.lost for point in ages.points)
    assert "times the link's rate" in ages.chart().layout.title.text


def test_a_server_that_does_not_conflate_is_not_confirmed(ages: Ages) -> None:
    """The stream that gets everything stands in for the one that asked for the newest only."""
    plain = {(p.technique, p.rate_per_s): p for p in ages.points if not p.conflate}
    points = tuple(
        dataclasses.replace(plain[p.technique, p.rate_per_s], conflate=True) if p.conflate else p for p in ages.points
    )
    assert claims.judge("A9", dataclasses.replace(ages, points=points)).verdict in ("refuted", "undecided")


# A10


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    with labkit.Lab("upstream-test") as lab:
        return side_by_side.upstream(lab, rates_per_s=(10.0, 60.0), duration_s=1.0, most=40, progress=False)


def test_messages_upstream_arrive_once(upstream: Upstream) -> None:
    assert claims.judge("A10", upstream).verdict in ("confirmed", "undecided")
    assert all(leg.lost == leg.twice == 0 for leg in upstream.legs)
    assert all(leg.swapped == 0 for leg in upstream.legs if leg.mode == "websocket")
    assert {leg.connections for leg in upstream.legs if leg.mode == "websocket"} == {1}


def test_messages_upstream_take_at_least_a_transit(upstream: Upstream) -> None:
    for each in upstream.legs:
        transits = 3 if "connection each" in each.mode else 1
        assert min(each.latency_s) >= 0.98 * transits * upstream.one_way_s, each.mode


def test_a_message_has_the_bytes_of_its_frame(upstream: Upstream) -> None:
    """{"publish":"...","ref":1} in a masked frame of 6 bytes more, and {"published": 1, "ref": 1} in one of 2."""
    sent = len('{"publish":"","ref":1}') + 20 + 6
    answered = len('{"published": 1, "ref": 1}') + 2
    first = next(leg.bytes[1] for leg in upstream.legs if leg.mode == "websocket")
    assert first == sent + answered


@pytest.mark.timing
def test_messages_up_take_a_transit_a_handshake_or_a_question_more() -> None:
    d = 0.1 * UNIT
    with labkit.Lab("upstream-theory") as lab:
        seen = side_by_side.upstream(
            lab, rates_per_s=(0.4 / d,), duration_s=50 * d, one_way_s=d, jitter_s=d, progress=False
        )
    middle = {leg.mode: sorted(leg.latency_s)[leg.sent // 2] for leg in seen.legs}
    late_s = max(0.0, middle["websocket"] - seen.expected(ON_A_SOCKET)[0])
    for mode, theory in (
        ("websocket", ON_A_SOCKET),
        ("post, connection each", A_CONNECTION_EACH),
        ("post, preflight each", A_PREFLIGHT_EACH),
    ):
        off_s = middle[mode] - seen.expected(theory)[0]
        assert -0.5 * d < off_s < 0.5 * d + 3 * late_s, f"{mode}: {off_s / d:+.2f} d"


def test_the_chart_of_messages_has_its_theory(upstream: Upstream) -> None:
    figure = upstream.chart()
    lines = [trace for trace in figure.data if "theory" in (trace.name or "")]
    assert [line.y[0] for line in lines] == pytest.approx([60, 150, 180])  # d + j/2, 3d, 3(d + j/2)
    # each as far as five connections are enough, busy for 4d + j/2 or 4d + 2j
    assert [line.x[-1] for line in lines] == pytest.approx([60, 5 / 0.21, 5 / 0.24])


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "confirmed", "0 swapped on the WebSocket"),
        ({"post": leg("post", 40, SWAPPED)}, "refuted", "40 by post"),
        ({"websocket": leg("websocket", 78, SWAPPED, 1)}, "refuted", "1 swapped on the WebSocket"),
        ({"post": leg("post", 338)}, "undecided", "no POST overtook another"),
        ({"websocket": leg("websocket", 78, tuple(range(29)), 1)}, "refuted", "1 lost"),
        ({"websocket": leg("websocket", 78, (*range(30), 29), 1)}, "refuted", "1 twice"),
    ],
    ids=["right", "POST costs less", "the WebSocket swaps", "POSTs in order", "one is lost", "one comes twice"],
)
def test_worlds_of_messages_are_told_apart(changes: dict[str, Leg], verdict: str, said: str) -> None:
    found = claims.judge("A10", messages(**changes))
    assert found.verdict == verdict and said in found.whole


# The other experiments, small


@pytest.mark.alone
def test_each_technique_has_a_server_of_its_own_and_its_clients_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    costs = side_by_side.server_costs(["polling", "websocket"], clients=17, rounds=2, round_s=0.3, progress=False)
    assert capfd.readouterr().err == ""  # a cell would show what a child process says
    assert costs.missed == {"polling": 0, "websocket": 0}
    assert costs.cpu("polling").value > costs.cpu("websocket").value > 0
    assert {len(values) for values in costs.memory_kib.values()} == {8}
    assert math.isfinite(costs.memory("websocket").half_width)
    assert "17 clients of each technique" in costs._repr_html_()  # no batch is rounded away


def test_a_cut_link_loses_nothing() -> None:
    with labkit.Lab("cut-test") as lab:
        run = side_by_side.cut_link(lab, cut_at_s=0.3, healed_s=0.6, duration_s=1.2)
    seen = dataclasses.replace(comparison(), cut=run, healed_s=0.6)
    assert (run.summary()["lost"] == 0).all()
    # an attempt during the cut, at a random moment, is a connection too, but carries no answer
    assert [sum(r.bytes_in > 0 for r in run.ledger.of(name)) for name in run.settings["techniques"]] == [2] * 5
    assert seen.whole_s("sse") > seen.whole_s("websocket")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda lab: side_by_side.server_costs(clients=4), "clients=4"),
        (lambda lab: side_by_side.server_costs(["gopher"]), "gopher"),
        (lambda lab: side_by_side.upstream(lab, rates_per_s=(0.0,)), "rates_per_s"),
        (lambda lab: side_by_side.ages(()), "loads"),
        (lambda lab: side_by_side.ages((1.0, -1.0)), "loads"),
        (lambda lab: side_by_side.cut_link(lab, cut_at_s=2, healed_s=1), "cut_at_s=2"),
    ],
)
def test_bad_input_is_named(call: Any, named: str) -> None:
    with labkit.Lab("bad-input") as lab, pytest.raises(LabkitError, match=named):
        call(lab)


# The exercises


def test_the_right_answers_are_right() -> None:
    assert labkit.answer("08.1", "long-polling").right
    minute = labkit.choose(rate_per_s=1 / 60, staleness_s=1)
    border = next(f.at for f in minute.flips() if f.parameter == "staleness_s" and f.after == "polling")
    assert labkit.answer("08.2", border).right


@pytest.mark.parametrize(
    ("id", "value"), [("08.1", "sse"), ("08.1", "gopher"), ("08.2", 5), ("08.2", 3600), ("08.2", -1)]
)
def test_a_wrong_answer_gets_a_reason_and_a_hint(id: str, value: Any) -> None:
    report = labkit.answer(id, value)
    assert report.right is False and "Hint:" in report.text


def test_the_chooser_takes_a_comparison() -> None:
    choice = labkit.choose(rate_per_s=8, staleness_s=1.5, run=comparison())
    assert choice.figures["sse"].event_us.value == pytest.approx(90 / 8)
    assert choice.figures["sse"].event_us != choosing.MEASURED["sse"].event_us


def test_a_run_without_its_page_is_the_kernels() -> None:
    run = run_of(dict.fromkeys(NAMES, 50.0), dict.fromkeys(NAMES, 50))
    rows = [{**row, "client": "browser"} for row in run.deliveries.to_dict("records")]
    both = labkit.Run([*run.deliveries.to_dict("records"), *rows], run.published, Ledger(0), run.settings)
    assert "sse (browser)" in both.summary().index
    assert list(side_by_side.without_page(both).summary().index) == list(NAMES)
