"""What refutes a claim whatever it is about: each fault alone in a run that has no other, and where it is no fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from labkit.claims import checking, faults
from labkit.claims.claim import DECLARED, Claim
from labkit.claims.finding import Finding
from labkit.client.ledger import Ledger
from labkit.course.claims import CLAIMS
from labkit.measuring.run import Run
from labkit.techniques import TECHNIQUES
from labkit.theory import Silent

START_NS, D_MS, EVENTS = 10**12, 50.0, 12


@dataclass
class World:
    """Deliveries of one technique, as (event id, ms since the start), and what else a run says."""

    technique: str = "sse"
    client: str = "kernel"
    requests: int = EVENTS
    held_back: int = 0

    def __post_init__(self) -> None:
        self.due_ms = {number: 100.0 * number for number in range(1, EVENTS + 1)}
        self.published_ms = dict(self.due_ms)
        self.arrived = [(number, due_ms + D_MS + 1) for number, due_ms in self.due_ms.items()]
        self.settings: dict[str, Any] = {"one_way_s": D_MS / 1e3, "duration_s": 5.0}
        self.more: dict[str, Any] = {}

    def run(self) -> Run:
        ledger = Ledger()
        if self.client == "kernel":
            ends: dict[str, Any] = {"local": ("127.0.0.1", 1), "remote": ("127.0.0.1", 2)}
            record = ledger.opened(self.technique, 0, **ends, t_ns=START_NS)
            record.requests, record.duplicates = self.requests, self.held_back
        rows = [self._row(*one) for one in self.arrived]
        published = {("", n): [START_NS + round(ms * 1e6) for ms in (self.due_ms[n], self.published_ms[n])]
                     for n in self.due_ms}  # fmt: skip
        told = {
            "techniques": [self.technique],
            "started_ns": START_NS,
            "natures": {one.name: one.nature(Silent("here")).plain() for one in TECHNIQUES},
            **self.settings,
        }
        return Run(rows, published, ledger, told, **self.more)

    def _row(self, number: int, at_ms: float) -> dict[str, Any]:
        due_ms, published_ms = self.due_ms.get(number), self.published_ms.get(number)
        row = {"technique": self.technique, "client": self.client, "event_id": number, "subscriber": 0}
        row |= {"received_ns": START_NS + round(at_ms * 1e6), "clock_error_ms": 0.5, "scheduled": due_ms is not None}
        if due_ms is not None and published_ms is not None:
            times_ms = {"due_ns": due_ms, "published_ns": published_ms}
            row |= {name: START_NS + round(ms * 1e6) for name, ms in times_ms.items()}
        return row


def doubled(world: World) -> None:
    world.arrived.insert(5, world.arrived[4])


def held_back(world: World) -> None:
    world.held_back = 2


def swapped(world: World) -> None:
    (a, a_ms), (b, b_ms) = world.arrived[4], world.arrived[5]
    world.arrived[4:6] = [(b, a_ms + 150), (a, b_ms + 150)]


def lost(world: World) -> None:
    del world.arrived[4]


def failed(world: World) -> None:
    world.more["failures"] = {world.technique: "the connection was reset"}


def too_early(world: World) -> None:
    world.arrived[4] = (5, world.due_ms[5] + D_MS - 2)


def before_due(world: World) -> None:
    world.published_ms[5] -= 30


def after_the_end(world: World) -> None:
    world.client, world.settings["techniques"] = "browser", []
    world.arrived[-1] = (EVENTS, 9000.0)


def unasked(world: World) -> None:
    world.technique, world.requests = "polling", 1


FAULTS: dict[Callable[[World], None], tuple[str, str]] = {
    doubled: (faults.DUPLICATED, "1 event came twice"),
    held_back: (faults.DUPLICATED, "2 events came twice"),
    swapped: (faults.OUT_OF_ORDER, "1 event out of order"),
    lost: (faults.LOST, "1 event lost, and no gap told"),
    failed: (faults.FAILED, "sse failed: the connection was reset"),
    too_early: (faults.IMPOSSIBLE, "1 event that came too early to be true"),
    before_due: (faults.IMPOSSIBLE, "1 event published before being due"),
    after_the_end: (faults.IMPOSSIBLE, "1 event that came after the run was over"),
    unasked: (faults.IMPOSSIBLE, "12 answers with events to 1 request"),
}
"""What is planted; of which kind it is, and what is said of it."""


@dataclass(frozen=True)
class Deep:
    """A result that has its runs deep inside."""

    parts: tuple[dict[str, Run], ...]


def told(world: World, provoked: frozenset[str] = frozenset()) -> list[str]:
    return [part.text for part in faults.faults(Deep(({"run": world.run()},)), provoked)]


def test_a_sound_run_has_no_fault() -> None:
    assert told(World()) == [] and told(World("polling")) == []


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_each_fault_is_found_and_no_other_but_where_it_is_provoked(plant: Callable[[World], None]) -> None:
    world, (kind, says) = World(), FAULTS[plant]
    plant(world)
    assert len(told(world)) == 1 and says in told(world)[0]
    assert told(world, frozenset({kind})) == []
    assert told(world, frozenset(faults.KINDS) - {kind}) == told(world)


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_every_claim_is_refuted_by_every_fault_of_its_run(
    plant: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    plant(world)
    run, (first, *_) = world.run(), told(world)
    for claim in CLAIMS.values():
        assert judged(claim.id, "confirmed", run, monkeypatch).verdict == "refuted" or plant_is_provoked(plant, claim)
    for verdict in ("refined", "illustrated", "undecided", "not run", "refuted"):
        found = judged("S1", verdict, run, monkeypatch)
        assert (found.verdict, found.reason.split("\n")[0]) == ("refuted", first)
        assert "as it looks" in found.reason.split("\n") + list(found.holds)


def judged(id: str, verdict: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What becomes of that verdict of the claim's own judge."""
    found = Finding(None, None, None, 1, verdict, "as it looks", holds=("and more",))
    monkeypatch.setitem(DECLARED, id, replace(CLAIMS[id], judge=lambda _: found))
    return checking.judge(id, run)


def plant_is_provoked(plant: Callable[[World], None], claim: Claim) -> bool:
    return FAULTS[plant][0] in claim.provokes


def test_what_a_gap_told_is_no_loss_and_what_another_told_is() -> None:
    world = World()
    lost(world)
    gap = {"technique": "sse", "subscriber": 0, "topic": "", "after": "4@abcd", "next": 6, "cursor": "5@abcd"}
    for one, expected in ((gap, 0), (gap | {"next": 5}, 1), (gap | {"subscriber": 1}, 1), (gap | {"topic": "b"}, 1),
                          (gap | {"after": "9@other"}, 0)):  # fmt: skip
        world.more["missing"] = [one]
        assert len(told(world)) == expected, one


def test_what_an_interrupt_or_conflation_left_out_is_not_lost() -> None:
    world = World()
    lost(world)
    world.more["interrupted"] = True
    assert told(world) == []


def test_a_technique_that_the_path_has_no_port_for_has_not_failed() -> None:
    world = World()
    world.more["failures"] = {"plugin-socket": "not run: the path has no port for it"}
    assert told(world) == []


def test_a_page_may_leave_but_what_it_tells_has_to_be_right() -> None:
    for plant, expected in ((lost, 0), (too_early, 0), (doubled, 1), (after_the_end, 1)):
        world = World(client="browser")
        world.settings["techniques"] = []
        plant(world)
        assert len([text for text in told(world) if text.startswith("sse (browser): 1 ")]) == expected, plant


def test_a_delay_that_was_changed_in_the_middle_says_nothing_of_what_came_early() -> None:
    world = World()
    too_early(world)
    world.settings["steady"] = False
    assert told(world) == []
