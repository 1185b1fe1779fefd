"""Each check against a world that is right and against worlds that are wrong: the verdict must change.

The worlds are simulated (the techniques' rules as in tests/theory) and handed over as a real ``Run``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import labkit
from labkit.claims import checking, confidence, judging, recording, seen
from labkit.client.ledger import Ledger
from labkit.course.claims import CLAIMS
from labkit.errors import LabkitError
from labkit.measuring.run import Run
from simulations import poisson_times, simulate_long_polling, simulate_polling, simulate_streaming

D, T, H, RATE = 0.05, 1.0, 30.0, 5.0
START_NS = 10**12


@dataclass
class Fake:
    """A run to be: latencies by subscriber as theory has them, before the apparatus adds its noise."""

    technique: str
    due: list[float]
    latencies: list[list[float]]
    settings: dict[str, Any] = field(default_factory=dict)
    floor_ms: list[float] = field(default_factory=lambda: [0.2, 0.3, 0.4, 1.5] * 25)
    late_publisher: Callable[[float], float] | None = None
    dropped: set[int] = field(default_factory=set)
    connections: int = 1
    noise: bool = True

    def run(self, **more: Any) -> Run:
        rng = np.random.default_rng(7)
        rows, published = [], {}
        newest_ns = [0] * len(self.latencies)
        for i, due in enumerate(self.due):
            late = self.late_publisher(due) if self.late_publisher else 0.0
            due_ns, published_ns = (START_NS + round(t * 1e9) for t in (due, due + late))
            published["", i + 1] = {"due_ns": due_ns, "published_ns": published_ns, "size": 20}
            for subscriber, latencies in enumerate(self.latencies):
                if i + 1 in self.dropped and subscriber == 0:
                    continue
                noise = rng.exponential(0.001) if self.noise else 0.0
                newest_ns[subscriber] = max(newest_ns[subscriber], published_ns + round((latencies[i] + noise) * 1e9))
                received_ns = newest_ns[subscriber]  # none overtakes another
                rows.append(
                    {"technique": self.technique, "subscriber": subscriber, "event_id": i + 1, "due_ns": due_ns}
                    | {
                        "published_ns": published_ns,
                        "received_ns": received_ns,
                        "latency_ms": (received_ns - due_ns) / 1e6,
                    }
                )
        ledger = Ledger()
        for subscriber in range(len(self.latencies)):
            for _ in range(self.connections):
                ledger.opened(
                    self.technique, subscriber, local=("127.0.0.1", 1), remote=("127.0.0.1", 2), t_ns=START_NS
                )
        settings = {
            "techniques": [self.technique],
            "schedule": {"name": "poisson", "rate_per_s": RATE, "duration_s": self.due[-1]},
            "one_way_s": D,
            "poll_interval_s": T,
            "hold_s": H,
            "started": "2026-01-01T00:00:00+00:00",
        }
        return Run(rows, published, ledger, {**settings, **self.settings}, self.floor_ms, **more)


def polled(events: int = 96, *, seed: int = 1, interval: float = T, **rules: Any) -> Fake:
    due = poisson_times(RATE, seed, events)
    rules = {"waiting": False} | rules
    return Fake("polling", due, [simulate_polling(due, D, interval, **rules).latencies])


def long_polled(events: int = 100, *, seed: int = 2, rate: float = RATE, hold: float = H, transits: int = 1) -> Fake:
    due = poisson_times(rate, seed, events)
    world = simulate_long_polling(due, D, hold, request_transits=transits)
    settings = {"schedule": {"name": "poisson", "rate_per_s": rate}, "hold_s": hold}
    return Fake("long-polling", due, [world.latencies], settings)


def streamed(events: int = 40, *, seed: int = 3) -> Fake:
    due = poisson_times(RATE, seed, events)
    return Fake("http-streaming", due, [simulate_streaming(due, D).latencies])


WORLDS = {"P1": polled, "L1": long_polled, "S3": streamed}


def added(fake: Fake, *seconds: float) -> Fake:
    """The same world with something added to its latencies, in turn."""
    fake.latencies = [[s + seconds[i % len(seconds)] for i, s in enumerate(mine)] for mine in fake.latencies]
    return fake


def falling_behind(fake: Fake) -> Fake:
    """A publisher that is 2 % too slow from some moment on: latencies count from when events were due."""
    fake.late_publisher = lambda due: 0.02 * due + (0.4 if due > 6 else 0.0)
    return fake


def dropping(fake: Fake, event_id: int = 17) -> Fake:
    fake.dropped = {event_id}
    return fake


def with_settings(fake: Fake, **settings: Any) -> Fake:
    fake.settings |= settings
    return fake


@pytest.mark.parametrize("id", WORLDS)
@pytest.mark.parametrize("seed", range(25))
def test_a_right_world_is_confirmed_whatever_the_seed(id, seed):
    found = checking.judge(id, WORLDS[id](seed=seed).run())
    assert found.verdict == "confirmed", found.reason
    assert found.interval.low <= found.measured <= found.interval.high


WRONG = [
    ("P1", "the server adds T/2", lambda: added(polled(), T / 2)),
    ("P1", "the publisher falls behind", lambda: falling_behind(polled())),
    ("P1", "an id is dropped", lambda: dropping(polled())),
    ("P1", "it is a push in disguise", lambda: Fake("polling", streamed(96).due, streamed(96).latencies)),
    ("P1", "the interval is another", lambda: polled(interval=2 * T)),
    ("P1", "events arrive before they can", lambda: added(polled(), -0.04)),
    (
        "P1",
        "the client waits after each answer",
        lambda: with_settings(polled(3000, interval=0.2, waiting=True), poll_interval_s=0.2),
    ),
    ("L1", "the server holds answers back", lambda: added(long_polled(), D / 2)),
    ("L1", "the publisher falls behind", lambda: falling_behind(long_polled())),
    ("L1", "an id is dropped", lambda: dropping(long_polled())),
    ("L1", "each poll opens a connection", lambda: long_polled(transits=3)),
    ("L1", "it is polling", lambda: Fake("long-polling", polled().due, polled().latencies)),
    ("L1", "it is a stream", lambda: Fake("long-polling", streamed(600).due, streamed(600).latencies)),
    ("S3", "a transit too many", lambda: added(streamed(), D)),
    ("S3", "the publisher falls behind", lambda: falling_behind(streamed())),
    ("S3", "an id is dropped", lambda: dropping(streamed())),
    ("S3", "every fourth event waits for a new stream", lambda: added(streamed(120), 2 * D, *[0.0] * 3)),
]


@pytest.mark.parametrize(
    ("id", "world"), [(id, world) for id, _, world in WRONG], ids=[f"{id}: {name}" for id, name, _ in WRONG]
)
def test_a_wrong_world_is_refuted(id, world):
    found = checking.judge(id, world().run())
    assert found.verdict == "refuted", found.reason


@pytest.mark.parametrize("id", WORLDS)
@pytest.mark.parametrize("events", [1, 5, 9])
def test_too_few_events_decide_nothing(id, events):
    found = checking.judge(id, WORLDS[id](events).run())
    assert found.verdict == "undecided", found.reason
    assert "few" in found.reason or "would decide" in found.reason


def test_undecided_gives_the_number_of_events_that_does_decide():
    found = checking.judge("P1", polled(15).run())
    assert found.verdict == "undecided"
    needed = int(found.reason.split("about ")[1].split()[0])
    assert 16 <= needed <= 96
    assert checking.judge("P1", polled(2 * needed).run()).verdict == "confirmed"


# What the apparatus is allowed


@pytest.mark.parametrize("id", WORLDS)
def test_one_late_delivery_is_named_and_not_held_against_the_claim(id):
    fake = WORLDS[id]()
    fake.latencies[0][-1] = {"P1": 1.2, "L1": 0.3, "S3": 1.2}[id]
    found = checking.judge(id, fake.run())
    assert found.verdict == "confirmed", found.reason
    assert "0 earlier, 1 later" in "\n".join(found.holds)


@pytest.mark.parametrize(("stalls_ms", "verdict"), [(900.0, "undecided"), (20.0, "refuted")])
def test_stalls_that_the_loop_saw_too_leave_the_claim_undecided(stalls_ms, verdict):
    fake = streamed(60)
    for i in range(3, 60, 3):
        fake.latencies[0][i] += 0.3
    fake.settings |= {"duration_s": 10.0, "held_up_ms": {"total": stalls_ms, "max": 100.0}}
    found = checking.judge("S3", fake.run())
    assert found.verdict == verdict, found.reason


STOOD_STILL = {"duration_s": 10.0, "held_up_ms": {"total": 2000.0, "max": 300.0, "times": 9}}


@pytest.mark.parametrize("id", WORLDS)
def test_what_a_machine_that_stood_still_explains_is_undecided_and_it_is_said_once(id):
    late = with_settings(added(WORLDS[id](), 0.3), **STOOD_STILL)
    found = checking.judge(id, late.run())
    assert found.verdict == "undecided", found.reason
    assert found.reason.startswith("this machine is too busy: the receiving loop stood still for 2 s in 9 stalls")
    assert found.reason.count("busy") == 1


@pytest.mark.parametrize("id", WORLDS)
def test_no_machine_excuses_what_comes_too_early_or_never(id):
    early = with_settings(added(WORLDS[id](), -0.04), **STOOD_STILL)
    assert checking.judge(id, early.run()).verdict == "refuted"
    never = checking.judge(id, with_settings(dropping(WORLDS[id](), 3), **STOOD_STILL).run())
    assert never.verdict == "refuted" and "lost" in never.reason


def test_what_was_found_leads_the_reason_of_a_claim_that_stands_and_of_no_other():
    holds, fails = judging.Part("confirmed", "a part"), judging.Part("refuted", "not so: another")
    stands = judging.finding([holds], 9, lead="in the claim's own words")
    assert (stands.reason, stands.holds) == ("in the claim's own words", ("a part",))
    falls = judging.finding([holds, fails], 9, lead="in the claim's own words")
    assert (falls.reason, falls.holds) == ("not so: another", ("a part",))


@pytest.mark.parametrize("id", WORLDS)
def test_a_loss_is_told_once(id):
    found = checking.judge(id, dropping(WORLDS[id](), 3).run())
    assert found.verdict == "refuted" and found.whole.count("lost") == 1, found.whole


def test_what_one_stall_held_up_counts_once_and_a_few_stalls_decide_nothing():
    due = [0.2 * i for i in range(40)] + [3.01, 3.02, 3.03, 3.04]
    held_up = Fake(
        "http-streaming", sorted(due), [[max(D, 3.2 - t) if t > 2.9 and t < 3.2 else D for t in sorted(due)]]
    )
    found = checking.judge("S3", held_up.run())
    assert found.verdict == "confirmed" and "5 later" in "\n".join(found.holds), found
    few = streamed(40)
    for i in (10, 20, 30):
        few.latencies[0][i] += 2 * D
    found = checking.judge("S3", few.run())
    assert found.verdict == "undecided" and "too few to tell 2% from 25%" in found.reason


@pytest.mark.parametrize("id", WORLDS)
def test_a_machine_that_is_too_busy_decides_nothing(id):
    fake = added(WORLDS[id](), 0.12)
    fake.floor_ms = [120.0] * 40
    found = checking.judge(id, fake.run())
    assert found.verdict == "undecided"
    assert "busy" in found.reason


@pytest.mark.parametrize("id", WORLDS)
def test_a_run_without_its_technique_or_without_a_delay_is_not_run(id):
    other = Fake("sse", streamed().due, streamed().latencies).run()
    assert (checking.judge(id, other).verdict, checking.judge(id, other).n) == ("not run", 0)
    undelayed = checking.judge(id, with_settings(WORLDS[id](), one_way_s=0).run())
    assert undelayed.verdict == "not run" and "one_way_s" in undelayed.reason
    name = WORLDS[id]().technique
    failed = checking.judge(id, WORLDS[id]().run(failures={name: "the connection was reset"}))
    assert failed.verdict == "refuted" and "reset" in failed.reason


@pytest.mark.parametrize("id", WORLDS)
def test_what_an_interrupt_left_undelivered_is_not_lost(id):
    found = checking.judge(id, dropping(WORLDS[id](), len(WORLDS[id]().due)).run(interrupted=True))
    assert found.verdict == "confirmed", found.reason


# Schedules, subscribers, clients


@pytest.mark.parametrize(("dither_s", "verdict"), [(0.0, "undecided"), (1.0, "confirmed")])
def test_the_mean_of_polling_asks_for_a_source_that_does_not_keep_step(dither_s, verdict):
    schedule = {"schedule": {"name": "periodic", "rate_per_s": 5.0, "dither_s": dither_s}}
    found = checking.judge("P1", with_settings(polled(), **schedule).run())
    assert found.verdict == verdict, found.reason


def test_the_mean_of_long_polling_asks_for_poisson_events():
    found = checking.judge("L1", with_settings(long_polled(), schedule={"name": "machine", "rate_per_s": 2.0}).run())
    assert found.verdict == "undecided" and "machine" in found.reason


def test_subscribers_that_poll_in_step_do_not_multiply_the_evidence():
    fake = polled(15)
    fake.latencies = fake.latencies * 20
    found = checking.judge("P1", fake.run())
    assert (found.verdict, found.n) == ("undecided", 15)


def test_pollers_spread_over_the_interval_decide_with_fewer_events():
    due = poisson_times(RATE, 5, 30)
    spread = [simulate_polling([t + k * T / 8 for t in due], D, T, waiting=False).latencies for k in range(8)]
    found = checking.judge("P1", Fake("polling", due, spread).run())
    assert found.verdict == "confirmed"
    assert found.interval.half_width < 0.05 * T


def test_a_connection_for_each_poll_refines_l1():
    fake = with_settings(long_polled(200, transits=3), options={"long-polling": {"keep_alive": False}})
    found = checking.judge("L1", fake.run())
    assert found.verdict == "refined", found.reason
    assert "five transits" in found.reason


def test_pipelined_polls_have_no_gap_and_leave_l1_alone():
    fake = with_settings(long_polled(), options={"long-polling": {"pipelined": True}})
    found = checking.judge("L1", fake.run())
    assert found.verdict == "not run" and "pipelined" in found.reason


def test_p1_allows_for_the_client_that_waits_when_the_run_says_so():
    fake = with_settings(
        polled(3000, interval=0.2, waiting=True), poll_interval_s=0.2, options={"polling": {"wait_after_answer": True}}
    )
    found = checking.judge("P1", fake.run())
    assert found.verdict == "confirmed", found.reason
    assert found.expected == pytest.approx(0.2)


def test_a_stream_that_was_opened_again_leaves_s3_to_another_experiment():
    fake = added(streamed(), 2 * D, *[0.0] * 9)
    fake.connections = 4
    found = checking.judge("S3", fake.run())
    assert found.verdict == "undecided" and "opened 4 times" in found.reason


@pytest.mark.parametrize(
    ("rate", "hold", "events"), [(5.0, 30.0, 4000), (1.0, 0.8, 3000), (10.0, 30.0, 4000), (0.3, 2.0, 2000)]
)
@pytest.mark.parametrize("transits", [1, 3])
def test_which_events_found_a_parked_poll_is_told_from_the_rows(rate, hold, events, transits):
    due = poisson_times(rate, 9, events)
    world = simulate_long_polling(due, D, hold, request_transits=transits)
    gap = (1 + transits) * D
    fake = Fake("long-polling", due, [world.latencies[:events]], noise=False)
    told = seen.parked(fake.run().deliveries.sort_values("event_id"), D, gap, hold, slack_s=1e-6)
    mistaken = Counter((bool(a), bool(b)) for a, b in zip(told, world.parked, strict=True) if a != b)
    assert mistaken[True, False] == 0
    assert mistaken[False, True] <= 1 + 0.002 * events  # before the first answer, and at a hold's very end
    assert min(sum(world.parked), events - sum(world.parked)) > 50  # or nothing was tried


@pytest.mark.parametrize(
    ("after_s", "is_parked"),  # from the moment the poll was there; holds last 1 s, the gap is 0.1 s
    [
        (-0.01, False),
        (0.01, True),
        (0.9, True),
        (0.98, False),
        (1.05, False),
        (1.11, False),
        (1.5, True),
        (2.07, False),
    ],
)
def test_near_the_ends_of_holds_an_event_does_not_count_as_parked(after_s, is_parked):
    fake = Fake("long-polling", [1.0, 1.0 + 2 * D + after_s], [[D, D]], noise=False)
    told = seen.parked(fake.run().deliveries, D, 2 * D, 1.0, slack_s=0.03)
    assert told.tolist() == [False, is_parked]


def test_rare_waits_that_the_sample_missed_decide_nothing_about_l1():
    due = [5.0 * i for i in range(1, 41)]
    fake = Fake("long-polling", due, [[D] * 40], {"schedule": {"name": "poisson", "rate_per_s": 0.2}}, noise=False)
    found = checking.judge("L1", fake.run())
    assert found.expected > 1.01 * D
    assert found.verdict == "undecided", found.reason


# Recording


def test_a_check_records_its_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    kept = checking.check("P1", polled().run(), notebook="01_polling")
    assert recording.records()["P1"] == kept
    assert (kept.verdict, kept.notebook, kept.run) == ("confirmed", "01_polling", "2026-01-01T00:00:00+00:00")
    assert (kept.expected, kept.unit, kept.n) == (0.55, "s", 96)
    assert kept.interval[0] < kept.measured < kept.interval[1]
    assert "RFC 6202 section 2.1" in str(kept)


def test_an_unknown_claim_is_an_error_that_lists_the_known_ones():
    with pytest.raises(LabkitError, match="P1, P2, P3"):
        checking.check("Q7", polled().run())


def test_each_claim_has_a_judge_but_for_those_that_a_notebook_decides_by_itself():
    assert {c.id for c in CLAIMS.values() if c.judge is None and not c.not_run} == {"A7", "B1"}


def test_the_ends_of_too_few_values_are_told_in_words() -> None:
    few = confidence.median_interval([0.1, 0.2])
    assert judging.ends(few) == "any value" and "inf" not in judging.ends(few)
    assert judging.ends(confidence.Interval(0.15, 0.1, 0.2, 9)) == "100 ms to 200 ms"


@pytest.mark.parametrize(("id", "seen", "lacks"), [("P1", None, "settings"), ("W3", {}, "frames"), ("L5", 3, "run")])
def test_what_no_experiment_gave_is_said(id: str, seen: Any, lacks: str) -> None:
    with pytest.raises(LabkitError, match=f"^{id} is not judged by {seen!r}, which has no '{lacks}'"):
        labkit.check(id, seen)


def test_a_fault_of_a_judge_is_none_of_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = dataclasses.replace(CLAIMS["P1"], judge=lambda seen: None.nothing)  # type: ignore[attr-defined]
    monkeypatch.setitem(CLAIMS, "P1", broken)
    with pytest.raises(AttributeError, match="nothing"):
        labkit.check("P1", 3)
